//! Page-table entries as the ABI and the processor have them (AMD64 APM vol. 2, 5.3; SDM vol. 3, 4.5).

use crate::types::Mfn;

/// Present.
pub const PRESENT: u64 = 1 << 0;
/// Writable.
pub const RW: u64 = 1 << 1;
/// Accessible from CPL 3.
pub const USER: u64 = 1 << 2;
/// Write-through.
pub const PWT: u64 = 1 << 3;
/// Cache disable.
pub const PCD: u64 = 1 << 4;
/// Accessed.
pub const ACCESSED: u64 = 1 << 5;
/// Dirty.
pub const DIRTY: u64 = 1 << 6;
/// Page size, in L2 and L3 entries (reserved in L4, PAT in L1).
pub const PSE: u64 = 1 << 7;
/// Global.
pub const GLOBAL: u64 = 1 << 8;
/// No execute.
pub const NX: u64 = 1 << 63;
/// The frame's address.
pub const ADDR: u64 = 0x000f_ffff_ffff_f000;

/// First L4 slot of the hypervisor's range.
pub const FIRST_HYPERVISOR_SLOT: usize = 256;
/// Last L4 slot of the hypervisor's range.
pub const LAST_HYPERVISOR_SLOT: usize = 271;

/// Whether an L4 slot belongs to the hypervisor.
pub const fn is_hypervisor_slot(index: usize) -> bool {
    index >= FIRST_HYPERVISOR_SLOT && index <= LAST_HYPERVISOR_SLOT
}

/// Whether the entry maps anything.
pub const fn present(entry: u64) -> bool {
    entry & PRESENT != 0
}

/// The frame that an entry points to.
pub const fn frame(entry: u64) -> Mfn {
    Mfn((entry & ADDR) >> crate::types::PAGE_SHIFT)
}

/// An entry for a frame.
pub const fn make(mfn: Mfn, flags: u64) -> u64 {
    (mfn.address() & ADDR) | flags
}

/// What the hypervisor makes of a guest's present entry: guest kernels run at CPL 3, so every
/// entry is accessible there; and nothing of a guest outlives a CR3 load in the TLB.
pub const fn adjust(entry: u64) -> u64 {
    (entry | USER) & !GLOBAL
}

/// Index into the table of `level` (1-4) for an address.
#[allow(clippy::cast_possible_truncation, reason = "nine bits remain")]
pub const fn index(addr: u64, level: u8) -> usize {
    ((addr >> (12 + 9 * (level as u32 - 1))) & 511) as usize
}
