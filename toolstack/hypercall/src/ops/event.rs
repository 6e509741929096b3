//! `EVTCHNOP_alloc_unbound` for another domain.

use oxen_abi::event_channel::{AllocUnbound, EVTCHNOP_ALLOC_UNBOUND};
use oxen_abi::hypercall::HYPERVISOR_EVENT_CHANNEL_OP;

use crate::{DomId, Hypervisor, Result};

impl Hypervisor {
    /// Makes a port in `domain` that `remote` may bind to, and returns its number in `domain`. The builder makes the
    /// console's and xenstore's ports so.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn alloc_unbound_port(&self, domain: DomId, remote: DomId) -> Result<u32> {
        let mut argument = AllocUnbound {
            dom: domain.0,
            remote_dom: remote.0,
            port: 0,
        };
        // SAFETY: the argument holds no handle.
        unsafe {
            self.call_with(
                "alloc_unbound",
                Some(domain),
                HYPERVISOR_EVENT_CHANNEL_OP,
                &mut argument,
                |at| [EVTCHNOP_ALLOC_UNBOUND.into(), at, 0, 0, 0],
            )?;
        }
        Ok(argument.port)
    }
}
