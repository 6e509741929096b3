//! `HYPERVISOR_memory_op`: memory of domains. All frame numbers are in pages of 4 KiB.

use bitflags::bitflags;

use crate::{DomId, Hypervisor, Result};

bitflags! {
    /// How memory is allocated (`XENMEMF_*`). The low byte limits the width of machine addresses, in bits; 0 does not.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MemoryFlags: u32 {
        /// Populate on demand (translated domains only).
        const POPULATE_ON_DEMAND = 1 << 16;
        /// From the given NUMA node or not at all.
        const EXACT_NODE = 1 << 17;
        /// The node is the guest's own numbering.
        const VIRTUAL_NODE = 1 << 18;
        const _ = !0;
    }
}

impl Hypervisor {
    /// Gives `domain` memory at the guest frames `gpfns`, each the first of 2^`order` frames. Returns the machine
    /// frames (PV: MFNs), as many as could be allocated: fewer than asked for means that memory ran out.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`] where none could be allocated.
    pub fn populate_physmap(
        &self,
        domain: DomId,
        order: u8,
        flags: MemoryFlags,
        gpfns: &[u64],
    ) -> Result<Vec<u64>> {
        super::later("populate_physmap")
    }

    /// Takes frames from `domain`. `frames` are GMFNs (MFNs of a PV domain), each the first of 2^`order`. Returns how
    /// many of them were freed.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn decrease_reservation(&self, domain: DomId, order: u8, frames: &[u64]) -> Result<usize> {
        super::later("decrease_reservation")
    }

    /// Sets aside `pages` free pages for `domain` (0 gives the rest of a claim back), so that populating cannot run
    /// out half-way.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`] with `ENOMEM` where there are not as many free.
    pub fn claim_pages(&self, domain: DomId, pages: u64) -> Result<()> {
        super::later("claim_pages")
    }

    /// Pages that `domain` has now.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn current_reservation(&self, domain: DomId) -> Result<u64> {
        super::later("current_reservation")
    }

    /// Pages that `domain` may have at most.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn maximum_reservation(&self, domain: DomId) -> Result<u64> {
        super::later("maximum_reservation")
    }

    /// The highest guest frame that `domain` uses.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn maximum_gpfn(&self, domain: DomId) -> Result<u64> {
        super::later("maximum_gpfn")
    }

    /// The highest machine frame of the host, plus one.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn maximum_ram_page(&self) -> Result<u64> {
        super::later("maximum_ram_page")
    }
}
