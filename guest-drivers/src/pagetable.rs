//! The kernel's own page tables: looking entries up, and mapping frames at new addresses.

use oxen_abi::arch_x86::{
    PTE_ACCESSED, PTE_ADDR_MASK, PTE_DIRTY, PTE_PRESENT, PTE_PSE_PAT, PTE_RW, PTE_USER,
};
use oxen_abi::hypercall::{
    HYPERVISOR_MMU_UPDATE, HYPERVISOR_MMUEXT_OP, HYPERVISOR_UPDATE_VA_MAPPING,
};
use oxen_abi::mmu::{
    MMU_NORMAL_PT_UPDATE, MMUEXT_INVLPG_LOCAL, MMUEXT_TLB_FLUSH_LOCAL, MmuUpdate, MmuextOp,
    UVMF_INVLPG,
};
use oxen_abi::xen::DOMID_SELF;

use crate::sys::frame::{self, Frame};
use crate::sys::hypercall::{self, Result};
use crate::sys::probe;

/// Entry bits of an ordinary read-write page or of a table.
pub const RW: u64 = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY | PTE_USER;
/// Entry bits of a read-only page.
pub const RO: u64 = PTE_PRESENT | PTE_ACCESSED | PTE_USER;

/// An entry: where it is and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Machine address of the entry.
    pub machine: u64,
    /// Its value.
    pub value: u64,
}

/// Index in the table of a level (1 to 4).
#[must_use]
pub fn index(address: u64, level: u32) -> u64 {
    address >> (12 + 9 * (level - 1)) & 511
}

/// The entry that maps an address in the table of a level, if the tables reach so far.
#[must_use]
pub fn entry(address: u64, level: u32) -> Option<Entry> {
    let mut table = probe::read_cr3().ok()? & PTE_ADDR_MASK;
    let mut at = 4;
    loop {
        let machine = table + index(address, at) * 8;
        let pfn = frame::m2p(machine >> 12)?;
        let value = probe::read(frame::address_of_pfn(pfn) + machine % 4096).ok()?;
        if at == level {
            return Some(Entry { machine, value });
        }
        if value & PTE_PRESENT == 0 || value & PTE_PSE_PAT != 0 {
            return None;
        }
        table = value & PTE_ADDR_MASK;
        at -= 1;
    }
}

/// One mmu_update; `foreign` owns the frame that the value names.
pub fn update_foreign(machine: u64, value: u64, foreign: u16) -> Result {
    let mut request = MmuUpdate {
        ptr: machine | MMU_NORMAL_PT_UPDATE,
        val: value,
    };
    hypercall::call(
        HYPERVISOR_MMU_UPDATE,
        [hypercall::address(&mut request), 1, 0, u64::from(foreign)],
    )
}

/// One mmu_update of the caller's own frames.
pub fn update(machine: u64, value: u64) -> Result {
    update_foreign(machine, value, DOMID_SELF)
}

/// One update_va_mapping with a flush of the address.
pub fn update_va(address: u64, value: u64) -> Result {
    hypercall::call(HYPERVISOR_UPDATE_VA_MAPPING, [address, value, UVMF_INVLPG])
}

/// Flushes an address from this vCPU's TLB.
pub fn flush(address: u64) -> Result {
    let mut op = MmuextOp {
        cmd: MMUEXT_INVLPG_LOCAL,
        arg1: address,
        ..MmuextOp::default()
    };
    hypercall::call(
        HYPERVISOR_MMUEXT_OP,
        [hypercall::address(&mut op), 1, 0, u64::from(DOMID_SELF)],
    )
}

/// Flushes this vCPU's whole TLB.
pub fn flush_all() -> Result {
    let mut op = MmuextOp {
        cmd: MMUEXT_TLB_FLUSH_LOCAL,
        ..MmuextOp::default()
    };
    hypercall::call(
        HYPERVISOR_MMUEXT_OP,
        [hypercall::address(&mut op), 1, 0, u64::from(DOMID_SELF)],
    )
}

/// Makes a frame's own kernel mapping read-only, as a page table needs it.
pub fn make_read_only(frame: Frame) -> Result {
    update_va(frame.address(), frame.mfn() << 12 | RO)
}

/// Makes a frame's own kernel mapping read-write again.
pub fn make_writable(frame: Frame) -> Result {
    update_va(frame.address(), frame.mfn() << 12 | RW)
}

/// A new table, empty and read-only to the kernel.
pub fn new_table() -> Result<Frame> {
    let frame = Frame::new();
    make_read_only(frame)?;
    Ok(frame)
}

/// Builds the tables above an address down to its L1 table.
pub fn reach(address: u64) -> Result<()> {
    for level in [4, 3, 2] {
        let Some(entry) = entry(address, level) else {
            return Err(oxen_abi::Errno::EFAULT);
        };
        if entry.value & PTE_PRESENT == 0 {
            let table = new_table()?;
            update(entry.machine, table.mfn() << 12 | RW)?;
        }
    }
    Ok(())
}

/// Where tests map things: 1 GiB below the end of the address space, above the kernel.
pub const WINDOW: u64 = 0xffff_ffff_c000_0000;
