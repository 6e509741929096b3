//! Page-table updates of PV guests (xen.h): mmu_update, mmuext_op, update_va_mapping.

use zerocopy::{FromBytes, Immutable, IntoBytes};

// mmu_update: the command is in the low two bits of `ptr`.
/// Write a page-table entry.
pub const MMU_NORMAL_PT_UPDATE: u64 = 0;
/// Write a machine-to-physical entry: `ptr` is the frame's address, `val` the PFN.
pub const MMU_MACHPHYS_UPDATE: u64 = 1;
/// Write a page-table entry and keep accessed and dirty bits.
pub const MMU_PT_UPDATE_PRESERVE_AD: u64 = 2;
/// Write a page-table entry without translation (HVM guests).
pub const MMU_PT_UPDATE_NO_TRANSLATE: u64 = 3;

/// One update of a page-table entry.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MmuUpdate {
    /// Machine address of the entry (8-byte aligned) with the command in bits 0 and 1.
    pub ptr: u64,
    /// The new entry.
    pub val: u64,
}
crate::layout!(MmuUpdate, 16, {ptr @ 0, val @ 8});

// mmuext_op commands.
/// Pin the frame as L1 table.
pub const MMUEXT_PIN_L1_TABLE: u32 = 0;
/// Pin the frame as L2 table.
pub const MMUEXT_PIN_L2_TABLE: u32 = 1;
/// Pin the frame as L3 table.
pub const MMUEXT_PIN_L3_TABLE: u32 = 2;
/// Pin the frame as L4 table.
pub const MMUEXT_PIN_L4_TABLE: u32 = 3;
/// Unpin the frame.
pub const MMUEXT_UNPIN_TABLE: u32 = 4;
/// Load the kernel's L4 (CR3).
pub const MMUEXT_NEW_BASEPTR: u32 = 5;
/// Flush this vCPU's TLB.
pub const MMUEXT_TLB_FLUSH_LOCAL: u32 = 6;
/// Flush one address on this vCPU.
pub const MMUEXT_INVLPG_LOCAL: u32 = 7;
/// Flush the TLBs of the vCPUs in a mask.
pub const MMUEXT_TLB_FLUSH_MULTI: u32 = 8;
/// Flush one address on the vCPUs in a mask.
pub const MMUEXT_INVLPG_MULTI: u32 = 9;
/// Flush the TLBs of all vCPUs of the domain.
pub const MMUEXT_TLB_FLUSH_ALL: u32 = 10;
/// Flush one address on all vCPUs of the domain.
pub const MMUEXT_INVLPG_ALL: u32 = 11;
/// Write back and flush the caches (domains with hardware only).
pub const MMUEXT_FLUSH_CACHE: u32 = 12;
/// Install an LDT: address in `arg1`, entries in `arg2`.
pub const MMUEXT_SET_LDT: u32 = 13;
/// Load the L4 used in user mode.
pub const MMUEXT_NEW_USER_BASEPTR: u32 = 15;
/// Zero a frame.
pub const MMUEXT_CLEAR_PAGE: u32 = 16;
/// Copy a frame: to `arg1` from `arg2`.
pub const MMUEXT_COPY_PAGE: u32 = 17;
/// Flush the caches of all CPUs.
pub const MMUEXT_FLUSH_CACHE_GLOBAL: u32 = 18;
/// Mark a superpage (gone).
pub const MMUEXT_MARK_SUPER: u32 = 19;
/// Unmark a superpage (gone).
pub const MMUEXT_UNMARK_SUPER: u32 = 20;

/// One extended MMU operation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MmuextOp {
    /// `MMUEXT_*`.
    pub cmd: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Frame number or linear address, by command.
    pub arg1: u64,
    /// Entries (32 bits), handle of a vCPU mask, or source frame, by command.
    pub arg2: u64,
}
crate::layout!(MmuextOp, 24, {cmd @ 0, arg1 @ 8, arg2 @ 16});

// update_va_mapping flags.
/// No flush.
pub const UVMF_NONE: u64 = 0x0;
/// Flush the whole TLB.
pub const UVMF_TLB_FLUSH: u64 = 0x1;
/// Flush this address only.
pub const UVMF_INVLPG: u64 = 0x2;
/// The two bits of the kind of flush.
pub const UVMF_FLUSHTYPE_MASK: u64 = 0x3;
/// Flush the vCPUs of the mask whose address is in the other bits.
pub const UVMF_MULTI: u64 = 0x0;
/// Flush this vCPU.
pub const UVMF_LOCAL: u64 = 0x0;
/// Flush all vCPUs of the domain.
pub const UVMF_ALL: u64 = 0x4;
