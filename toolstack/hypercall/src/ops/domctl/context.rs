//! Registers of virtual CPUs.

use oxen_abi::arch_x86::VcpuGuestContext;
use oxen_abi::domctl::{VcpuContext, XEN_DOMCTL_GETVCPUCONTEXT, XEN_DOMCTL_SETVCPUCONTEXT};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{DomId, Error, Hypervisor, Result};

impl Hypervisor {
    /// Sets the registers and tables with which a virtual CPU starts; the domain must be paused.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`] with `EINVAL` where the hypervisor does not accept
    /// them.
    pub fn set_vcpu_context(
        &self,
        domain: DomId,
        vcpu: u32,
        context: &VcpuGuestContext,
    ) -> Result<()> {
        let op = "setvcpucontext";
        let mut buffer = self.buffer(op, size_of::<VcpuGuestContext>())?;
        buffer.bytes_mut().copy_from_slice(context.as_bytes());
        let mut payload = VcpuContext {
            vcpu,
            ctxt: buffer.address(),
            ..Default::default()
        };
        // SAFETY: the handle is of a buffer that is held mutably and as long as a context.
        unsafe { self.domctl_with_handles(op, XEN_DOMCTL_SETVCPUCONTEXT, domain, &mut payload) }
            .map(drop)
    }

    /// Reads the registers and tables of a virtual CPU.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn vcpu_context(&self, domain: DomId, vcpu: u32) -> Result<Box<VcpuGuestContext>> {
        let op = "getvcpucontext";
        let mut buffer = self.buffer(op, size_of::<VcpuGuestContext>())?;
        let mut payload = VcpuContext {
            vcpu,
            ctxt: buffer.address(),
            ..Default::default()
        };
        // SAFETY: the handle is of a buffer that is held mutably and as long as a context.
        unsafe { self.domctl_with_handles(op, XEN_DOMCTL_GETVCPUCONTEXT, domain, &mut payload)? };
        VcpuGuestContext::read_from_bytes(buffer.bytes())
            .map(Box::new)
            .map_err(|_| Error::Invalid {
                op,
                what: "the answer has another size".into(),
            })
    }
}
