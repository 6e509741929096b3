//! The hypervisor's part of every address space: L4 slots 256 to 271, which the PV ABI reserves for it.
//!
//! The L3 tables behind these sixteen slots are all made at boot and never replaced, so a guest's L4 copies the
//! sixteen entries once and is never out of date.
//!
//! | slot | address | what |
//! |---|---|---|
//! | 256 | `0xffff800000000000` | machine-to-physical table as guests see it: user, read-only (ABI) |
//! | 257 | `0xffff808000000000` | frame table: count words |
//! | 257 | `0xffff80a000000000` | frame table: type words |
//! | 257 | `0xffff80c000000000` | machine-to-physical table, supervisor, read-write |
//! | 260 | `0xffff820000000000` | per-CPU areas, then device memory |
//! | 261 | `0xffff82d040000000` | the image |
//! | 262-271 | `0xffff830000000000` | direct map of RAM |

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes mapped by one L2 leaf.
pub const LARGE_PAGE: u64 = 2 << 20;
/// Bytes mapped by one L3 leaf.
pub const HUGE_PAGE: u64 = 1 << 30;

/// First L4 slot that belongs to the hypervisor.
pub const FIRST_SLOT: usize = 256;
/// Last L4 slot that belongs to the hypervisor.
pub const LAST_SLOT: usize = 271;
/// Number of L4 slots that belong to the hypervisor.
pub const SLOTS: usize = LAST_SLOT - FIRST_SLOT + 1;

/// Lowest address of the hypervisor's range, which is also that of the guests' view of the M2P (ABI).
pub const HYPERVISOR_START: u64 = 0xffff_8000_0000_0000;
/// First address past the hypervisor's range.
pub const HYPERVISOR_END: u64 = 0xffff_8800_0000_0000;

/// Machine-to-physical table, user read-only. The hypervisor itself uses [`M2P_RW_BASE`], for SMAP forbids this one.
pub const M2P_BASE: u64 = HYPERVISOR_START;
/// Frame table: the frames' count words, eight bytes each.
pub const FRAME_COUNTS_BASE: u64 = 0xffff_8080_0000_0000;
/// Frame table: the frames' type words, four bytes each.
pub const FRAME_TYPES_BASE: u64 = 0xffff_80a0_0000_0000;
/// Machine-to-physical table, supervisor read-write.
pub const M2P_RW_BASE: u64 = 0xffff_80c0_0000_0000;
/// Per-CPU areas, [`PERCPU_STRIDE`] apart.
pub const PERCPU_BASE: u64 = 0xffff_8200_0000_0000;
/// Window that `paging::map_mmio` hands out from.
pub const MMIO_BASE: u64 = 0xffff_8220_0000_0000;
/// Size of the device-memory window in bytes.
pub const MMIO_SIZE: u64 = 128 << 30;
/// Link address of the image; boot/oxen.ld has the same figure.
pub const IMAGE_BASE: u64 = 0xffff_82d0_4000_0000;
/// Physical address the image is loaded at; boot/oxen.ld has the same figure.
pub const IMAGE_PHYS: u64 = 0x20_0000;
/// Largest image in bytes: what one L2 table maps.
pub const IMAGE_MAX: u64 = 1 << 30;
/// Direct map of RAM: physical address 0 is here.
pub const DIRECT_MAP_BASE: u64 = 0xffff_8300_0000_0000;
/// Bytes that the direct map can cover.
pub const DIRECT_MAP_SIZE: u64 = HYPERVISOR_END - DIRECT_MAP_BASE;

/// Most CPUs that are brought up (row H5 of the feature list).
pub const MAX_CPUS: usize = 256;

/// Distance between two CPUs' areas. An area holds the stack block, the GDT window and the LDT window.
pub const PERCPU_STRIDE: u64 = 256 << 10;
/// Size and alignment of a CPU's stack block.
pub const STACK_BLOCK: u64 = 128 << 10;
/// Offset of the GDT window in a CPU's area: 14 pages for the guest's frames, then the hypervisor's own.
pub const GDT_WINDOW: u64 = 128 << 10;
/// Offset of the LDT window in a CPU's area: 16 pages, 8192 descriptors.
pub const LDT_WINDOW: u64 = 192 << 10;

/// L4 slot of a virtual address.
pub const fn l4_slot(va: u64) -> usize {
    ((va >> 39) & 511) as usize
}

const _: () = {
    assert!(l4_slot(M2P_BASE) == FIRST_SLOT);
    assert!(l4_slot(DIRECT_MAP_BASE) == 262);
    assert!(l4_slot(HYPERVISOR_END - 1) == LAST_SLOT);
    assert!(l4_slot(IMAGE_BASE) == 261);
    assert!(l4_slot(MMIO_BASE + MMIO_SIZE - 1) == 260);
    assert!(PERCPU_BASE + PERCPU_STRIDE * MAX_CPUS as u64 <= MMIO_BASE);
    assert!(STACK_BLOCK.is_power_of_two() && PERCPU_STRIDE.is_multiple_of(STACK_BLOCK));
    assert!(LDT_WINDOW + (64 << 10) <= PERCPU_STRIDE);
    assert!(IMAGE_BASE.is_multiple_of(HUGE_PAGE) && IMAGE_PHYS.is_multiple_of(LARGE_PAGE));
};
