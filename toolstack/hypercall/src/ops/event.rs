//! `EVTCHNOP_alloc_unbound` for another domain.

use crate::{DomId, Hypervisor, Result};

impl Hypervisor {
    /// Makes a port in `domain` that `remote` may bind to, and returns its number in `domain`. The builder makes the
    /// console's and xenstore's ports so.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn alloc_unbound_port(&self, domain: DomId, remote: DomId) -> Result<u32> {
        super::later("evtchn alloc_unbound")
    }
}
