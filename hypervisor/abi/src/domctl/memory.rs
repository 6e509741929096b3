//! Memory of a domain: limits, types of frames, log-dirty, NUMA.

use crate::xen::CtlBitmap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Arguments of `XEN_DOMCTL_MAX_MEM`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MaxMem {
    /// Limit in KiB.
    pub max_memkb: u64,
}
crate::layout!(MaxMem, 8, {max_memkb @ 0});

/// Arguments of the address size operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AddressSize {
    /// 32 or 64.
    pub size: u32,
}
crate::layout!(AddressSize, 4, {size @ 0});

/// Arguments of `XEN_DOMCTL_GETPAGEFRAMEINFO3`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetPageFrameInfo3 {
    /// Entries.
    pub num: u64,
    /// Handle: frames in, types out.
    pub array: u64,
}
crate::layout!(GetPageFrameInfo3, 16, {num @ 0, array @ 8});
/// An ordinary page.
pub const XEN_DOMCTL_PFINFO_NOTAB: u32 = 0x0;
/// L1 table.
pub const XEN_DOMCTL_PFINFO_L1TAB: u32 = 0x1000_0000;
/// L2 table.
pub const XEN_DOMCTL_PFINFO_L2TAB: u32 = 0x2000_0000;
/// L3 table.
pub const XEN_DOMCTL_PFINFO_L3TAB: u32 = 0x3000_0000;
/// L4 table.
pub const XEN_DOMCTL_PFINFO_L4TAB: u32 = 0x4000_0000;
/// Bits of the level.
pub const XEN_DOMCTL_PFINFO_LTABTYPE_MASK: u32 = 0x7000_0000;
/// Pinned.
pub const XEN_DOMCTL_PFINFO_LPINTAB: u32 = 0x8000_0000;
/// No such frame.
pub const XEN_DOMCTL_PFINFO_XTAB: u32 = 0xf000_0000;
/// Allocated only.
pub const XEN_DOMCTL_PFINFO_XALLOC: u32 = 0xe000_0000;
/// Broken.
pub const XEN_DOMCTL_PFINFO_BROKEN: u32 = 0xd000_0000;
/// All bits.
pub const XEN_DOMCTL_PFINFO_LTAB_MASK: u32 = 0xf000_0000;
/// Shift of the type.
pub const XEN_DOMCTL_PFINFO_LTAB_SHIFT: u32 = 28;

// Log-dirty and shadow.
/// Off.
pub const XEN_DOMCTL_SHADOW_OP_OFF: u32 = 0;
/// On, with `mode`.
pub const XEN_DOMCTL_SHADOW_OP_ENABLE: u32 = 32;
/// Read the bitmap and clear it.
pub const XEN_DOMCTL_SHADOW_OP_CLEAN: u32 = 11;
/// Read the bitmap.
pub const XEN_DOMCTL_SHADOW_OP_PEEK: u32 = 12;
/// Ask the pool.
pub const XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION: u32 = 30;
/// Set the pool.
pub const XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION: u32 = 31;
/// Test mode.
pub const XEN_DOMCTL_SHADOW_OP_ENABLE_TEST: u32 = 1;
/// Log-dirty mode.
pub const XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY: u32 = 2;
/// Mode: reference counts.
pub const XEN_DOMCTL_SHADOW_ENABLE_REFCOUNT: u32 = 0x2;
/// Mode: log-dirty.
pub const XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY: u32 = 0x4;
/// Mode: translated.
pub const XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE: u32 = 0x8;
/// Mode: external.
pub const XEN_DOMCTL_SHADOW_ENABLE_EXTERNAL: u32 = 0x10;
/// Clean: the last round.
pub const XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL: u32 = 0x1;

/// Counts of log-dirty.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ShadowOpStats {
    /// Faults.
    pub fault_count: u32,
    /// Dirty pages.
    pub dirty_count: u32,
}
crate::layout!(ShadowOpStats, 8, {fault_count @ 0, dirty_count @ 4});

/// Arguments of `XEN_DOMCTL_SHADOW_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ShadowOp {
    /// `XEN_DOMCTL_SHADOW_OP_*`.
    pub op: u32,
    /// `XEN_DOMCTL_SHADOW_ENABLE_*` or `_LOGDIRTY_FINAL`.
    pub mode: u32,
    /// Pool in MiB.
    pub mb: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of the bitmap.
    pub dirty_bitmap: u64,
    /// Bits of the bitmap.
    pub pages: u64,
    /// Out: counts.
    pub stats: ShadowOpStats,
}
crate::layout!(ShadowOp, 40, {op @ 0, mode @ 4, mb @ 8, dirty_bitmap @ 16, pages @ 24, stats @ 32});

/// Arguments of the node affinity operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct NodeAffinity {
    /// Nodes.
    pub nodemap: CtlBitmap,
}
crate::layout!(NodeAffinity, 16, {nodemap @ 0});

/// Arguments of the paging pool operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PagingMempool {
    /// Bytes.
    pub size: u64,
}
crate::layout!(PagingMempool, 8, {size @ 0});

/// Arguments of `XEN_DOMCTL_SETVNUMAINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Vnuma {
    /// Nodes.
    pub nr_vnodes: u32,
    /// Ranges.
    pub nr_vmemranges: u32,
    /// vCPUs.
    pub nr_vcpus: u32,
    /// Zero.
    pub pad: u32,
    /// Handle of the distances.
    pub vdistance: u64,
    /// Handle of the vCPUs' nodes.
    pub vcpu_to_vnode: u64,
    /// Handle of the nodes' physical nodes.
    pub vnode_to_pnode: u64,
    /// Handle of the ranges.
    pub vmemrange: u64,
}
crate::layout!(Vnuma, 48, {nr_vnodes @ 0, nr_vmemranges @ 4, nr_vcpus @ 8, pad @ 12, vdistance @ 16, vcpu_to_vnode @ 24, vnode_to_pnode @ 32, vmemrange @ 40});
