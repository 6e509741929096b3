//! The machine, its memory, its domains, the console ring, traces.

use crate::xen::CtlBitmap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Arguments of `XEN_SYSCTL_READCONSOLE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ReadConsole {
    /// 1: clear the ring.
    pub clear: u8,
    /// 1: start at `index`.
    pub incremental: u8,
    /// Zero.
    pub pad0: u8,
    /// Zero.
    pub pad1: u8,
    /// In and out: position.
    pub index: u32,
    /// Handle of the bytes.
    pub buffer: u64,
    /// In: size of the buffer; out: bytes.
    pub count: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(ReadConsole, 24, {clear @ 0, incremental @ 1, pad0 @ 2, pad1 @ 3, index @ 4, buffer @ 8, count @ 16});

/// Answer of `XEN_SYSCTL_PHYSINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PhysInfo {
    /// Threads of a core.
    pub threads_per_core: u32,
    /// Cores of a socket.
    pub cores_per_socket: u32,
    /// CPUs online.
    pub nr_cpus: u32,
    /// Highest CPU.
    pub max_cpu_id: u32,
    /// Nodes online.
    pub nr_nodes: u32,
    /// Highest node.
    pub max_node_id: u32,
    /// Frequency.
    pub cpu_khz: u32,
    /// `XEN_SYSCTL_PHYSCAP_*`.
    pub capabilities: u32,
    /// Architecture's capabilities.
    pub arch_capabilities: u32,
    /// Zero.
    pub pad: u32,
    /// Pages of memory.
    pub total_pages: u64,
    /// Pages free.
    pub free_pages: u64,
    /// Pages to be scrubbed.
    pub scrub_pages: u64,
    /// Pages claimed.
    pub outstanding_pages: u64,
    /// Highest frame.
    pub max_mfn: u64,
    /// CPU features.
    pub hw_cap: [u32; 8],
}
crate::layout!(PhysInfo, 112, {threads_per_core @ 0, cores_per_socket @ 4, nr_cpus @ 8, max_cpu_id @ 12, nr_nodes @ 16, max_node_id @ 20, cpu_khz @ 24, capabilities @ 28, arch_capabilities @ 32, pad @ 36, total_pages @ 40, free_pages @ 48, scrub_pages @ 56, outstanding_pages @ 64, max_mfn @ 72, hw_cap @ 80});
/// HVM guests.
pub const XEN_SYSCTL_PHYSCAP_HVM: u32 = 0x1;
/// PV guests.
pub const XEN_SYSCTL_PHYSCAP_PV: u32 = 0x2;
/// Devices can be assigned.
pub const XEN_SYSCTL_PHYSCAP_DIRECTIO: u32 = 0x4;
/// Nested paging.
pub const XEN_SYSCTL_PHYSCAP_HAP: u32 = 0x8;
/// Shadow paging.
pub const XEN_SYSCTL_PHYSCAP_SHADOW: u32 = 0x10;
/// IOMMU and nested paging share tables.
pub const XEN_SYSCTL_PHYSCAP_IOMMU_HAP_PT_SHARE: u32 = 0x20;
/// Processor trace.
pub const XEN_SYSCTL_PHYSCAP_VMTRACE: u32 = 0x40;
/// Performance counters.
pub const XEN_SYSCTL_PHYSCAP_VPMU: u32 = 0x80;
/// Grant tables version 1.
pub const XEN_SYSCTL_PHYSCAP_GNTTAB_V1: u32 = 0x100;
/// Grant tables version 2.
pub const XEN_SYSCTL_PHYSCAP_GNTTAB_V2: u32 = 0x200;

/// Arguments of `XEN_SYSCTL_GETDOMAININFOLIST`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetDomainInfoList {
    /// First domain.
    pub first_domain: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// Entries of the buffer.
    pub max_domains: u32,
    /// Handle of [`crate::domctl::GetDomainInfo`].
    pub buffer: u64,
    /// Out: entries.
    pub num_domains: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
}
crate::layout!(GetDomainInfoList, 24, {first_domain @ 0, max_domains @ 4, buffer @ 8, num_domains @ 16});

/// Arguments of `XEN_SYSCTL_DEBUG_KEYS`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DebugKeys {
    /// Handle of the keys.
    pub keys: u64,
    /// Keys.
    pub nr_keys: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(DebugKeys, 16, {keys @ 0, nr_keys @ 8});

/// Arguments of `XEN_SYSCTL_AVAILHEAP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AvailHeap {
    /// Lowest address width, 0: any.
    pub min_bitwidth: u32,
    /// Highest address width, 0: any.
    pub max_bitwidth: u32,
    /// Node, -1: all.
    pub node: i32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Out: bytes free.
    pub avail_bytes: u64,
}
crate::layout!(AvailHeap, 24, {min_bitwidth @ 0, max_bitwidth @ 4, node @ 8, avail_bytes @ 16});
/// No memory.
pub const XEN_INVALID_MEM_SZ: u32 = 0xffff_ffff;
/// No distance.
pub const XEN_INVALID_NODE_DIST: u32 = 0xffff_ffff;

/// Memory of a node.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MemInfo {
    /// Bytes.
    pub memsize: u64,
    /// Bytes free.
    pub memfree: u64,
}
crate::layout!(MemInfo, 16, {memsize @ 0, memfree @ 8});

/// Arguments of `XEN_SYSCTL_NUMAINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct NumaInfo {
    /// In and out: nodes.
    pub num_nodes: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`MemInfo`].
    pub meminfo: u64,
    /// Handle of the distances.
    pub distance: u64,
}
crate::layout!(NumaInfo, 24, {num_nodes @ 0, meminfo @ 8, distance @ 16});

/// Arguments of `XEN_SYSCTL_TBUF_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct TbufOp {
    /// `XEN_SYSCTL_TBUFOP_*`.
    pub cmd: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// CPUs.
    pub cpu_mask: CtlBitmap,
    /// Events.
    pub evt_mask: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
    /// Frame of the buffers' description.
    pub buffer_mfn: u64,
    /// Bytes.
    pub size: u32,
    /// Padding the layout asks for; zero.
    pub _pad2: [u8; 4],
}
crate::layout!(TbufOp, 48, {cmd @ 0, cpu_mask @ 8, evt_mask @ 24, buffer_mfn @ 32, size @ 40});
/// Ask.
pub const XEN_SYSCTL_TBUFOP_GET_INFO: u32 = 0;
/// Set the CPUs.
pub const XEN_SYSCTL_TBUFOP_SET_CPU_MASK: u32 = 1;
/// Set the events.
pub const XEN_SYSCTL_TBUFOP_SET_EVT_MASK: u32 = 2;
/// Set the size.
pub const XEN_SYSCTL_TBUFOP_SET_SIZE: u32 = 3;
/// Start.
pub const XEN_SYSCTL_TBUFOP_ENABLE: u32 = 4;
/// Stop.
pub const XEN_SYSCTL_TBUFOP_DISABLE: u32 = 5;

/// One performance counter.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PerfcDesc {
    /// Name.
    pub name: [u8; 80],
    /// Values.
    pub nr_vals: u32,
}
crate::zeroed_default!(PerfcDesc);
crate::layout!(PerfcDesc, 84, {name @ 0, nr_vals @ 80});

/// Arguments of `XEN_SYSCTL_PERFC_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PerfcOp {
    /// `XEN_SYSCTL_PERFCOP_*`.
    pub cmd: u32,
    /// Out: counters.
    pub nr_counters: u32,
    /// Out: values.
    pub nr_vals: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`PerfcDesc`].
    pub desc: u64,
    /// Handle of the values.
    pub val: u64,
}
crate::layout!(PerfcOp, 32, {cmd @ 0, nr_counters @ 4, nr_vals @ 8, desc @ 16, val @ 24});
/// Reset.
pub const XEN_SYSCTL_PERFCOP_RESET: u32 = 1;
/// Read.
pub const XEN_SYSCTL_PERFCOP_QUERY: u32 = 2;

/// Arguments of `XEN_SYSCTL_PAGE_OFFLINE_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PageOfflineOp {
    /// 1: offline, 2: online, 3: ask.
    pub cmd: u32,
    /// First frame.
    pub start: u32,
    /// Last frame.
    pub end: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of the results.
    pub status: u64,
}
crate::layout!(PageOfflineOp, 24, {cmd @ 0, start @ 4, end @ 8, status @ 16});
