//! Memory operations (memory.h). The operation is in bits 0 to 5 of the command; the bits above
//! hold the extents already done when the hypervisor continues a call.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Get frames.
pub const XENMEM_INCREASE_RESERVATION: u32 = 0;
/// Give frames back.
pub const XENMEM_DECREASE_RESERVATION: u32 = 1;
/// Ask the highest machine frame.
pub const XENMEM_MAXIMUM_RAM_PAGE: u32 = 2;
/// Ask a domain's pages.
pub const XENMEM_CURRENT_RESERVATION: u32 = 3;
/// Ask a domain's limit.
pub const XENMEM_MAXIMUM_RESERVATION: u32 = 4;
/// Ask the frames of the machine-to-physical table.
pub const XENMEM_MACHPHYS_MFN_LIST: u32 = 5;
/// Get frames at given PFNs.
pub const XENMEM_POPULATE_PHYSMAP: u32 = 6;
/// Map special frames (translated guests).
pub const XENMEM_ADD_TO_PHYSMAP: u32 = 7;
/// Ask the domain's E820.
pub const XENMEM_MEMORY_MAP: u32 = 9;
/// Ask the machine's E820.
pub const XENMEM_MACHINE_MEMORY_MAP: u32 = 10;
/// Exchange frames for contiguous or low ones.
pub const XENMEM_EXCHANGE: u32 = 11;
/// Ask where the machine-to-physical table is.
pub const XENMEM_MACHPHYS_MAPPING: u32 = 12;
/// Set a domain's E820.
pub const XENMEM_SET_MEMORY_MAP: u32 = 13;
/// Ask the highest PFN.
pub const XENMEM_MAXIMUM_GPFN: u32 = 14;
/// Unmap a PFN (translated guests).
pub const XENMEM_REMOVE_FROM_PHYSMAP: u32 = 15;
/// Populate on demand: set the target.
pub const XENMEM_SET_POD_TARGET: u32 = 16;
/// Populate on demand: ask.
pub const XENMEM_GET_POD_TARGET: u32 = 17;
/// Sharing: pages saved.
pub const XENMEM_GET_SHARING_FREED_PAGES: u32 = 18;
/// Sharing: pages shared.
pub const XENMEM_GET_SHARING_SHARED_PAGES: u32 = 19;
/// Paging.
pub const XENMEM_PAGING_OP: u32 = 20;
/// Access rights.
pub const XENMEM_ACCESS_OP: u32 = 21;
/// Sharing.
pub const XENMEM_SHARING_OP: u32 = 22;
/// Map special frames, many.
pub const XENMEM_ADD_TO_PHYSMAP_BATCH: u32 = 23;
/// Claim pages for a domain being built.
pub const XENMEM_CLAIM_PAGES: u32 = 24;
/// Frames of the 32-bit machine-to-physical table.
pub const XENMEM_MACHPHYS_COMPAT_MFN_LIST: u32 = 25;
/// Ask the virtual NUMA layout.
pub const XENMEM_GET_VNUMAINFO: u32 = 26;
/// Ask ranges reserved for devices.
pub const XENMEM_RESERVED_DEVICE_MEMORY_MAP: u32 = 27;
/// Map a resource's frames (grant table, ioreq).
pub const XENMEM_ACQUIRE_RESOURCE: u32 = 28;
/// Populate on demand.
pub const XENMEMF_POPULATE_ON_DEMAND: u32 = 0x1_0000;
/// Only from the given node.
pub const XENMEMF_EXACT_NODE_REQUEST: u32 = 0x2_0000;
/// The node is a virtual one.
pub const XENMEMF_VNODE: u32 = 0x4_0000;

/// `mem_flags`: the bits that hold the address width asked for (0: any).
pub const XENMEMF_ADDRESS_BITS_MASK: u32 = 0xff;
/// `mem_flags`: shift of (node + 1).
pub const XENMEMF_NODE_SHIFT: u32 = 8;
/// The operation's bits in the command.
pub const MEMOP_CMD_MASK: u64 = 0x3f;
/// Shift of the extents already done in the command.
pub const MEMOP_EXTENT_SHIFT: u32 = 6;

/// Arguments of increase, decrease and populate.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Reservation {
    /// Handle of an array of frames.
    pub extent_start: u64,
    /// Entries of the array.
    pub nr_extents: u64,
    /// Each extent is 2^order pages.
    pub extent_order: u32,
    /// `XENMEMF_*`.
    pub mem_flags: u32,
    /// The domain.
    pub domid: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 6],
}
crate::layout!(Reservation, 32, {extent_start @ 0, nr_extents @ 8, extent_order @ 16, mem_flags @ 20, domid @ 24});

/// Arguments of `XENMEM_EXCHANGE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Exchange {
    /// What is given.
    pub in_: Reservation,
    /// What is wanted.
    pub out: Reservation,
    /// In and out: input extents done; starts at 0.
    pub nr_exchanged: u64,
}
crate::layout!(Exchange, 72, {in_ @ 0, out @ 32, nr_exchanged @ 64});

/// Arguments of the questions about a domain.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MemoryDomain {
    /// The domain.
    pub domid: u16,
}
crate::layout!(MemoryDomain, 2, {domid @ 0});

/// Arguments of `XENMEM_MACHPHYS_MFN_LIST`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MachphysMfnList {
    /// Entries of the array.
    pub max_extents: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of the array.
    pub extent_start: u64,
    /// Out: entries written.
    pub nr_extents: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
}
crate::layout!(MachphysMfnList, 24, {max_extents @ 0, extent_start @ 8, nr_extents @ 16});

/// Answer of `XENMEM_MACHPHYS_MAPPING`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MachphysMapping {
    /// First address.
    pub v_start: u64,
    /// Address past the end.
    pub v_end: u64,
    /// Highest frame.
    pub max_mfn: u64,
}
crate::layout!(MachphysMapping, 24, {v_start @ 0, v_end @ 8, max_mfn @ 16});
/// The shared page.
pub const XENMAPSPACE_SHARED_INFO: u32 = 0;
/// Grant table frames.
pub const XENMAPSPACE_GRANT_TABLE: u32 = 1;
/// Another PFN.
pub const XENMAPSPACE_GMFN: u32 = 2;
/// A range of PFNs.
pub const XENMAPSPACE_GMFN_RANGE: u32 = 3;
/// Another domain's PFN.
pub const XENMAPSPACE_GMFN_FOREIGN: u32 = 4;
/// Device memory.
pub const XENMAPSPACE_DEV_MMIO: u32 = 5;
/// Index flag: status frames.
pub const XENMAPIDX_GRANT_TABLE_STATUS: u64 = 0x8000_0000;

/// Arguments of `XENMEM_ADD_TO_PHYSMAP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AddToPhysmap {
    /// The domain.
    pub domid: u16,
    /// Pages of a range.
    pub size: u16,
    /// `XENMAPSPACE_*`.
    pub space: u32,
    /// Index in the space.
    pub idx: u64,
    /// PFN to map at.
    pub gpfn: u64,
}
crate::layout!(AddToPhysmap, 24, {domid @ 0, size @ 2, space @ 4, idx @ 8, gpfn @ 16});

/// Arguments of `XENMEM_ADD_TO_PHYSMAP_BATCH`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AddToPhysmapBatch {
    /// The domain.
    pub domid: u16,
    /// `XENMAPSPACE_*`.
    pub space: u16,
    /// Entries of the arrays.
    pub size: u16,
    /// The other domain.
    pub foreign_domid: u16,
    /// Handle of the indices.
    pub idxs: u64,
    /// Handle of the PFNs.
    pub gpfns: u64,
    /// Handle of the results.
    pub errs: u64,
}
crate::layout!(AddToPhysmapBatch, 32, {domid @ 0, space @ 2, size @ 4, foreign_domid @ 6, idxs @ 8, gpfns @ 16, errs @ 24});

/// Arguments of `XENMEM_REMOVE_FROM_PHYSMAP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RemoveFromPhysmap {
    /// The domain.
    pub domid: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 6],
    /// The PFN.
    pub gpfn: u64,
}
crate::layout!(RemoveFromPhysmap, 16, {domid @ 0, gpfn @ 8});

/// Arguments of the E820 questions.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MemoryMap {
    /// In: entries of the buffer; out: entries of the map.
    pub nr_entries: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`E820Entry`]s.
    pub buffer: u64,
}
crate::layout!(MemoryMap, 16, {nr_entries @ 0, buffer @ 8});

/// Arguments of `XENMEM_SET_MEMORY_MAP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ForeignMemoryMap {
    /// The domain.
    pub domid: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 6],
    /// The map.
    pub map: MemoryMap,
}
crate::layout!(ForeignMemoryMap, 24, {domid @ 0, map @ 8});

/// Arguments of the populate-on-demand operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PodTarget {
    /// Target.
    pub target_pages: u64,
    /// Out: pages.
    pub tot_pages: u64,
    /// Out: pages in the cache.
    pub pod_cache_pages: u64,
    /// Out: entries not populated.
    pub pod_entries: u64,
    /// The domain.
    pub domid: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 6],
}
crate::layout!(PodTarget, 40, {target_pages @ 0, tot_pages @ 8, pod_cache_pages @ 16, pod_entries @ 24, domid @ 32});

/// A range reserved for a device.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ReservedDeviceMemory {
    /// First frame.
    pub start_pfn: u64,
    /// Frames.
    pub nr_pages: u64,
}
crate::layout!(ReservedDeviceMemory, 16, {start_pfn @ 0, nr_pages @ 8});

/// Arguments of `XENMEM_RESERVED_DEVICE_MEMORY_MAP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ReservedDeviceMemoryMap {
    /// 1: all devices.
    pub flags: u32,
    /// In: entries of the buffer; out: entries of the map.
    pub nr_entries: u32,
    /// Handle of [`ReservedDeviceMemory`].
    pub buffer: u64,
    /// The device.
    pub dev: crate::physdev::PciDevice,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(ReservedDeviceMemoryMap, 24, {flags @ 0, nr_entries @ 4, buffer @ 8, dev @ 16});

/// Arguments of `XENMEM_ACQUIRE_RESOURCE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AcquireResource {
    /// Whose resource.
    pub domid: u16,
    /// `XENMEM_RESOURCE_*`.
    pub type_: u16,
    /// Which one of the type.
    pub id: u32,
    /// In: frames wanted, 0 asks the size; out: the size.
    pub nr_frames: u32,
    /// Zero.
    pub pad: u32,
    /// First frame wanted.
    pub frame: u64,
    /// Handle of an array for the frames.
    pub frame_list: u64,
}
crate::layout!(AcquireResource, 32, {domid @ 0, type_ @ 2, id @ 4, nr_frames @ 8, pad @ 12, frame @ 16, frame_list @ 24});
/// Pages of an ioreq server.
pub const XENMEM_RESOURCE_IOREQ_SERVER: u16 = 0;
/// Grant table.
pub const XENMEM_RESOURCE_GRANT_TABLE: u16 = 1;
/// Processor trace buffer.
pub const XENMEM_RESOURCE_VMTRACE_BUF: u16 = 2;
/// The shared frames.
pub const XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED: u32 = 0;
/// The status frames.
pub const XENMEM_RESOURCE_GRANT_TABLE_ID_STATUS: u32 = 1;

/// A range of guest memory on one virtual node.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Vmemrange {
    /// First address.
    pub start: u64,
    /// Address past the end.
    pub end: u64,
    /// Zero.
    pub flags: u32,
    /// Node.
    pub nid: u32,
}
crate::layout!(Vmemrange, 24, {start @ 0, end @ 8, flags @ 16, nid @ 20});

/// Arguments of `XENMEM_GET_VNUMAINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VnumaTopologyInfo {
    /// The domain.
    pub domid: u16,
    /// Zero.
    pub pad: u16,
    /// In and out: nodes.
    pub nr_vnodes: u32,
    /// In and out: vCPUs.
    pub nr_vcpus: u32,
    /// In and out: ranges.
    pub nr_vmemranges: u32,
    /// Handle of the distances.
    pub vdistance: u64,
    /// Handle of the vCPUs' nodes.
    pub vcpu_to_vnode: u64,
    /// Handle of the ranges.
    pub vmemrange: u64,
}
crate::layout!(VnumaTopologyInfo, 40, {domid @ 0, pad @ 2, nr_vnodes @ 4, nr_vcpus @ 8, nr_vmemranges @ 12, vdistance @ 16, vcpu_to_vnode @ 24, vmemrange @ 32});

/// One entry of an E820 map, 20 bytes (ACPI's layout).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C, packed)]
pub struct E820Entry {
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// `E820_*`.
    pub kind: u32,
}
const _: () = assert!(size_of::<E820Entry>() == 20);
/// E820: usable memory.
pub const E820_RAM: u32 = 1;
/// E820: reserved.
pub const E820_RESERVED: u32 = 2;
/// E820: ACPI tables.
pub const E820_ACPI: u32 = 3;
/// E820: ACPI non-volatile storage.
pub const E820_NVS: u32 = 4;
/// E820: unusable memory.
pub const E820_UNUSABLE: u32 = 5;
