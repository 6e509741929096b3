//! `HYPERVISOR_mmuext_op` and `HYPERVISOR_mmu_update` on behalf of another PV domain.

use crate::{DomId, Hypervisor, Result};

/// Which level of page table a frame is pinned as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageTableLevel {
    /// Holds entries of 4 KiB pages.
    L1,
    /// Page directory.
    L2,
    /// Page-directory pointers.
    L3,
    /// The root.
    L4,
}

impl Hypervisor {
    /// Pins frames of `domain` as page tables: the hypervisor validates each, and the ones below, and keeps their type.
    ///
    /// # Errors
    /// [`crate::Error::Partial`] or [`crate::Error::Hypercall`] where one is not a valid table.
    pub fn pin_tables(&self, domain: DomId, tables: &[(PageTableLevel, u64)]) -> Result<()> {
        super::later("mmuext_op pin")
    }

    /// Drops the pins of frames of `domain`.
    ///
    /// # Errors
    /// As [`Hypervisor::pin_tables`].
    pub fn unpin_tables(&self, domain: DomId, mfns: &[u64]) -> Result<()> {
        super::later("mmuext_op unpin")
    }

    /// Sets the machine-to-physical entries of frames of `domain`: `(mfn, pfn)` pairs.
    ///
    /// # Errors
    /// [`crate::Error::Partial`], [`crate::Error::Hypercall`].
    pub fn set_machine_to_phys(&self, domain: DomId, entries: &[(u64, u64)]) -> Result<()> {
        super::later("mmu_update machphys")
    }
}
