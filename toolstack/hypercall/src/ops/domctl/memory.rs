//! Limits and types of a domain's memory.

use crate::{DomId, Hypervisor, Result};

impl Hypervisor {
    /// Limits the memory of a domain, in KiB.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_max_memory(&self, domain: DomId, kib: u64) -> Result<()> {
        super::super::later("max_mem")
    }

    /// The types of frames of a PV domain (`XEN_DOMCTL_PFINFO_*`), in the order given.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn page_frame_types(&self, domain: DomId, frames: &[u64]) -> Result<Vec<u64>> {
        super::super::later("getpageframeinfo3")
    }

    /// Turns shadow paging and dirty logging off.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn disable_shadow(&self, domain: DomId) -> Result<()> {
        super::super::later("shadow_op")
    }
}
