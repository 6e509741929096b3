//! What of the hardware a domain may touch.

use crate::{DomId, Hypervisor, Result};

/// Whether access is given or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Given.
    Allow,
    /// Taken.
    Deny,
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
        super::super::later("iomem_permission")
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
        super::super::later("ioport_permission")
    }

    /// A physical interrupt.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_irq_permission(&self, domain: DomId, pirq: u32, access: Access) -> Result<()> {
        super::super::later("irq_permission")
    }
}
