//! `HYPERVISOR_mmuext_op` and `HYPERVISOR_mmu_update` on behalf of another PV domain.

use oxen_abi::hypercall::{HYPERVISOR_MMU_UPDATE, HYPERVISOR_MMUEXT_OP};
use oxen_abi::mmu::{
    MMU_MACHPHYS_UPDATE, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE, MMUEXT_PIN_L3_TABLE,
    MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate, MmuextOp,
};
use zerocopy::{Immutable, IntoBytes};

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

/// Most operations in one hypercall, which bounds its buffer.
const BATCH: usize = 1024;

impl Hypervisor {
    /// Pins frames of `domain` as page tables: the hypervisor validates each, and the ones below, and keeps their type.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`] where one is not a valid table.
    pub fn pin_tables(&self, domain: DomId, tables: &[(PageTableLevel, u64)]) -> Result<()> {
        let op = |&(level, mfn): &(PageTableLevel, u64)| MmuextOp {
            cmd: match level {
                PageTableLevel::L1 => MMUEXT_PIN_L1_TABLE,
                PageTableLevel::L2 => MMUEXT_PIN_L2_TABLE,
                PageTableLevel::L3 => MMUEXT_PIN_L3_TABLE,
                PageTableLevel::L4 => MMUEXT_PIN_L4_TABLE,
            },
            arg1: mfn,
            ..Default::default()
        };
        self.mmu_batch(
            "mmuext_op pin",
            domain,
            HYPERVISOR_MMUEXT_OP,
            &tables.iter().map(op).collect::<Vec<_>>(),
        )
    }

    /// Drops the pins of frames of `domain`.
    ///
    /// # Errors
    /// As [`Hypervisor::pin_tables`].
    pub fn unpin_tables(&self, domain: DomId, mfns: &[u64]) -> Result<()> {
        let op = |&mfn: &u64| MmuextOp {
            cmd: MMUEXT_UNPIN_TABLE,
            arg1: mfn,
            ..Default::default()
        };
        self.mmu_batch(
            "mmuext_op unpin",
            domain,
            HYPERVISOR_MMUEXT_OP,
            &mfns.iter().map(op).collect::<Vec<_>>(),
        )
    }

    /// Sets the machine-to-physical entries of frames of `domain`: `(mfn, pfn)` pairs.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`] where a frame is not the domain's.
    pub fn set_machine_to_phys(&self, domain: DomId, entries: &[(u64, u64)]) -> Result<()> {
        let update = |&(mfn, pfn): &(u64, u64)| MmuUpdate {
            ptr: mfn << 12 | MMU_MACHPHYS_UPDATE,
            val: pfn,
        };
        let updates: Vec<_> = entries.iter().map(update).collect();
        self.mmu_batch("mmu_update", domain, HYPERVISOR_MMU_UPDATE, &updates)
    }

    fn mmu_batch<T: IntoBytes + Immutable>(
        &self,
        op: &'static str,
        domain: DomId,
        number: u64,
        items: &[T],
    ) -> Result<()> {
        for batch in items.chunks(BATCH) {
            let mut buffer = self.buffer(op, size_of_val(batch))?;
            buffer.bytes_mut().copy_from_slice(batch.as_bytes());
            let args = [buffer.address(), batch.len() as u64, 0, domain.0.into(), 0];
            // SAFETY: both operations only read the batch, which is in a buffer that is held mutably; the count of
            // items done is not asked for; and the items made above hold frame numbers, no handles.
            unsafe { self.call(op, Some(domain), number, args)? };
        }
        Ok(())
    }
}
