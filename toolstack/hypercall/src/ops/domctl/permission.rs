//! What of the hardware a domain may touch.

use oxen_abi::domctl as abi;

use super::Plain;
use crate::{DomId, Hypervisor, Result};

// SAFETY: frame numbers of the machine.
unsafe impl Plain for abi::IomemPermission {}
// SAFETY: port numbers.
unsafe impl Plain for abi::IoportPermission {}
// SAFETY: an interrupt's number.
unsafe impl Plain for abi::IrqPermission {}

/// Whether access is given or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Given.
    Allow,
    /// Taken.
    Deny,
}

impl Access {
    fn flag(self) -> u8 {
        match self {
            Self::Allow => 1,
            Self::Deny => 0,
        }
    }
}

impl Hypervisor {
    /// Machine frames of a device: `count` from `first` on.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_iomem_permission(
        &self,
        domain: DomId,
        first: u64,
        count: u64,
        access: Access,
    ) -> Result<()> {
        let payload = abi::IomemPermission {
            first_mfn: first,
            nr_mfns: count,
            allow_access: access.flag(),
            ..Default::default()
        };
        self.domctl(
            "iomem_permission",
            abi::XEN_DOMCTL_IOMEM_PERMISSION,
            domain,
            payload,
        )
        .map(drop)
    }

    /// I/O ports: `count` from `first` on.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_ioport_permission(
        &self,
        domain: DomId,
        first: u32,
        count: u32,
        access: Access,
    ) -> Result<()> {
        let payload = abi::IoportPermission {
            first_port: first,
            nr_ports: count,
            allow_access: access.flag(),
            ..Default::default()
        };
        self.domctl(
            "ioport_permission",
            abi::XEN_DOMCTL_IOPORT_PERMISSION,
            domain,
            payload,
        )
        .map(drop)
    }

    /// A physical interrupt.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_irq_permission(&self, domain: DomId, pirq: u32, access: Access) -> Result<()> {
        let payload = abi::IrqPermission {
            pirq,
            allow_access: access.flag(),
            pad: [0; 3],
        };
        self.domctl(
            "irq_permission",
            abi::XEN_DOMCTL_IRQ_PERMISSION,
            domain,
            payload,
        )
        .map(drop)
    }
}
