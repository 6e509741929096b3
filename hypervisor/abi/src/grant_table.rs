//! Grant tables (grant_table.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Map a granted frame.
pub const GNTTABOP_MAP_GRANT_REF: u32 = 0;
/// Unmap it.
pub const GNTTABOP_UNMAP_GRANT_REF: u32 = 1;
/// Grow the table and ask its frames.
pub const GNTTABOP_SETUP_TABLE: u32 = 2;
/// Print the table (debugging).
pub const GNTTABOP_DUMP_TABLE: u32 = 3;
/// Give a frame away.
pub const GNTTABOP_TRANSFER: u32 = 4;
/// Copy between frames or grants.
pub const GNTTABOP_COPY: u32 = 5;
/// Ask the table's size.
pub const GNTTABOP_QUERY_SIZE: u32 = 6;
/// Unmap and put another mapping's frame in place.
pub const GNTTABOP_UNMAP_AND_REPLACE: u32 = 7;
/// Choose version 1 or 2.
pub const GNTTABOP_SET_VERSION: u32 = 8;
/// Ask the status frames of version 2.
pub const GNTTABOP_GET_STATUS_FRAMES: u32 = 9;
/// Ask the version.
pub const GNTTABOP_GET_VERSION: u32 = 10;
/// Exchange two entries.
pub const GNTTABOP_SWAP_GRANT_REF: u32 = 11;
/// Cache maintenance (ARM).
pub const GNTTABOP_CACHE_FLUSH: u32 = 12;
/// Entries reserved for the toolstack.
pub const GNTTAB_NR_RESERVED_ENTRIES: u32 = 8;
/// Entry of the console ring.
pub const GNTTAB_RESERVED_CONSOLE: u32 = 0;
/// Entry of the xenstore ring.
pub const GNTTAB_RESERVED_XENSTORE: u32 = 1;

// Flags of an entry.
/// Entry is free.
pub const GTF_INVALID: u16 = 0x0;
/// The domain may map or copy the frame.
pub const GTF_PERMIT_ACCESS: u16 = 0x1;
/// The domain may give a frame.
pub const GTF_ACCEPT_TRANSFER: u16 = 0x2;
/// The entry passes another domain's grant on (version 2).
pub const GTF_TRANSITIVE: u16 = 0x3;
/// The bits of the type.
pub const GTF_TYPE_MASK: u16 = 0x3;
/// Access: read only.
pub const GTF_READONLY: u16 = 0x4;
/// Access: mapped for reading.
pub const GTF_READING: u16 = 0x8;
/// Access: mapped for writing.
pub const GTF_WRITING: u16 = 0x10;
/// Access: cache attribute bit.
pub const GTF_PWT: u16 = 0x20;
/// Access: cache attribute bit.
pub const GTF_PCD: u16 = 0x40;
/// Access: cache attribute bit.
pub const GTF_PAT: u16 = 0x80;
/// Access: part of a page only (version 2).
pub const GTF_SUB_PAGE: u16 = 0x100;
/// Transfer: promised.
pub const GTF_TRANSFER_COMMITTED: u16 = 0x4;
/// Transfer: done.
pub const GTF_TRANSFER_COMPLETED: u16 = 0x8;

/// An entry, version 1.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GrantEntryV1 {
    /// `GTF_*`.
    pub flags: u16,
    /// Who is granted.
    pub domid: u16,
    /// The frame.
    pub frame: u32,
}
crate::layout!(GrantEntryV1, 8, {flags @ 0, domid @ 2, frame @ 4});

/// Header of a version 2 entry.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GrantEntryHeader {
    /// `GTF_*`.
    pub flags: u16,
    /// Who is granted.
    pub domid: u16,
}
crate::layout!(GrantEntryHeader, 4, {flags @ 0, domid @ 2});

/// Version 2 entry: a page.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GrantEntryV2FullPage {
    /// Header.
    pub hdr: GrantEntryHeader,
    /// Zero.
    pub pad0: u32,
    /// The frame.
    pub frame: u64,
}
crate::layout!(GrantEntryV2FullPage, 16, {hdr @ 0, pad0 @ 4, frame @ 8});

/// Version 2 entry: part of a page.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GrantEntryV2SubPage {
    /// Header.
    pub hdr: GrantEntryHeader,
    /// Offset.
    pub page_off: u16,
    /// Length.
    pub length: u16,
    /// The frame.
    pub frame: u64,
}
crate::layout!(GrantEntryV2SubPage, 16, {hdr @ 0, page_off @ 4, length @ 6, frame @ 8});

/// Version 2 entry: transitive.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GrantEntryV2Transitive {
    /// Header.
    pub hdr: GrantEntryHeader,
    /// The domain whose grant it is.
    pub trans_domid: u16,
    /// Zero.
    pub pad0: u16,
    /// Its reference.
    pub gref: u32,
}
crate::layout!(GrantEntryV2Transitive, 12, {hdr @ 0, trans_domid @ 4, pad0 @ 6, gref @ 8});

// Flags of mapping.
/// For devices' accesses.
pub const GNTMAP_DEVICE_MAP: u32 = 0x1;
/// For the CPU.
pub const GNTMAP_HOST_MAP: u32 = 0x2;
/// Read only.
pub const GNTMAP_READONLY: u32 = 0x4;
/// Accessible from user mode.
pub const GNTMAP_APPLICATION_MAP: u32 = 0x8;
/// `host_addr` is the machine address of the page-table entry.
pub const GNTMAP_CONTAINS_PTE: u32 = 0x10;
/// Bits that are put in the entry's available bits.
pub const GNTMAP_GUEST_AVAIL_MASK: u32 = 0xffff_0000;

// Status of an operation.
/// Done.
pub const GNTST_OKAY: i16 = 0;
/// Unspecified error.
pub const GNTST_GENERAL_ERROR: i16 = -1;
/// No such domain.
pub const GNTST_BAD_DOMAIN: i16 = -2;
/// No such reference, or not granted.
pub const GNTST_BAD_GNTREF: i16 = -3;
/// No such handle.
pub const GNTST_BAD_HANDLE: i16 = -4;
/// Bad virtual address.
pub const GNTST_BAD_VIRT_ADDR: i16 = -5;
/// Bad device address.
pub const GNTST_BAD_DEV_ADDR: i16 = -6;
/// No space in the IOMMU.
pub const GNTST_NO_DEVICE_SPACE: i16 = -7;
/// Not allowed.
pub const GNTST_PERMISSION_DENIED: i16 = -8;
/// Bad frame.
pub const GNTST_BAD_PAGE: i16 = -9;
/// Copy crosses a page.
pub const GNTST_BAD_COPY_ARG: i16 = -10;
/// Frame is too high for the request.
pub const GNTST_ADDRESS_TOO_BIG: i16 = -11;
/// Try again.
pub const GNTST_EAGAIN: i16 = -12;
/// Out of space (handles).
pub const GNTST_NO_SPACE: i16 = -13;

/// Arguments of `GNTTABOP_MAP_GRANT_REF`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MapGrantRef {
    /// Virtual address, or machine address of the entry.
    pub host_addr: u64,
    /// `GNTMAP_*`.
    pub flags: u32,
    /// Reference in the granting domain.
    pub ref_: u32,
    /// The granting domain.
    pub dom: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Out: handle for unmapping.
    pub handle: u32,
    /// Out: machine address.
    pub dev_bus_addr: u64,
}
crate::layout!(MapGrantRef, 32, {host_addr @ 0, flags @ 8, ref_ @ 12, dom @ 16, status @ 18, handle @ 20, dev_bus_addr @ 24});

/// Arguments of `GNTTABOP_UNMAP_GRANT_REF`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UnmapGrantRef {
    /// As when mapped, or 0.
    pub host_addr: u64,
    /// Machine address to unmap for devices, or 0.
    pub dev_bus_addr: u64,
    /// The handle.
    pub handle: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
}
crate::layout!(UnmapGrantRef, 24, {host_addr @ 0, dev_bus_addr @ 8, handle @ 16, status @ 20});

/// Arguments of `GNTTABOP_SETUP_TABLE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetupTable {
    /// Whose table.
    pub dom: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// Frames wanted.
    pub nr_frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 6],
    /// Handle of an array for the frames.
    pub frame_list: u64,
}
crate::layout!(SetupTable, 24, {dom @ 0, nr_frames @ 4, status @ 8, frame_list @ 16});

/// Arguments of `GNTTABOP_DUMP_TABLE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DumpTable {
    /// Whose table.
    pub dom: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
}
crate::layout!(DumpTable, 4, {dom @ 0, status @ 2});

/// Arguments of `GNTTABOP_TRANSFER`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Transfer {
    /// Frame to give.
    pub mfn: u64,
    /// Domain that gets it.
    pub domid: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// Its reference.
    pub ref_: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 6],
}
crate::layout!(Transfer, 24, {mfn @ 0, domid @ 8, ref_ @ 12, status @ 16});

/// One end of a copy.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CopyPtr {
    /// Grant reference (low 32 bits) or frame.
    pub u: u64,
    /// Whose.
    pub domid: u16,
    /// Offset in the page.
    pub offset: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(CopyPtr, 16, {u @ 0, domid @ 8, offset @ 10});

/// Arguments of `GNTTABOP_COPY`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Copy {
    /// From.
    pub source: CopyPtr,
    /// To.
    pub dest: CopyPtr,
    /// Bytes.
    pub len: u16,
    /// `GNTCOPY_*`.
    pub flags: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
}
crate::layout!(Copy, 40, {source @ 0, dest @ 16, len @ 32, flags @ 34, status @ 36});
/// The source is a grant reference.
pub const GNTCOPY_SOURCE_GREF: u16 = 0x1;
/// The destination is a grant reference.
pub const GNTCOPY_DEST_GREF: u16 = 0x2;

/// Arguments of `GNTTABOP_QUERY_SIZE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct QuerySize {
    /// Whose table.
    pub dom: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// Out: frames.
    pub nr_frames: u32,
    /// Out: most frames.
    pub max_nr_frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 2],
}
crate::layout!(QuerySize, 16, {dom @ 0, nr_frames @ 4, max_nr_frames @ 8, status @ 12});

/// Arguments of `GNTTABOP_UNMAP_AND_REPLACE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UnmapAndReplace {
    /// Mapping to undo.
    pub host_addr: u64,
    /// Address whose entry moves there.
    pub new_addr: u64,
    /// The handle.
    pub handle: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
}
crate::layout!(UnmapAndReplace, 24, {host_addr @ 0, new_addr @ 8, handle @ 16, status @ 20});

/// Arguments of `GNTTABOP_SET_VERSION`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetVersion {
    /// 1 or 2; out: the version in force.
    pub version: u32,
}
crate::layout!(SetVersion, 4, {version @ 0});

/// Arguments of `GNTTABOP_GET_STATUS_FRAMES`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetStatusFrames {
    /// Frames wanted.
    pub nr_frames: u32,
    /// Whose table.
    pub dom: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Handle of an array for the frames.
    pub frame_list: u64,
}
crate::layout!(GetStatusFrames, 16, {nr_frames @ 0, dom @ 4, status @ 6, frame_list @ 8});

/// Arguments of `GNTTABOP_GET_VERSION`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetVersion {
    /// Whose table.
    pub dom: u16,
    /// Zero.
    pub pad: u16,
    /// Out: 1 or 2.
    pub version: u32,
}
crate::layout!(GetVersion, 8, {dom @ 0, pad @ 2, version @ 4});

/// Arguments of `GNTTABOP_SWAP_GRANT_REF`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SwapGrantRef {
    /// One reference.
    pub ref_a: u32,
    /// The other.
    pub ref_b: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
}
crate::layout!(SwapGrantRef, 12, {ref_a @ 0, ref_b @ 4, status @ 8});

/// Arguments of `GNTTABOP_CACHE_FLUSH`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CacheFlush {
    /// Device address or reference.
    pub a: u64,
    /// Offset in the page.
    pub offset: u16,
    /// Bytes.
    pub length: u16,
    /// `GNTTAB_CACHE_*`.
    pub op: u32,
}
crate::layout!(CacheFlush, 16, {a @ 0, offset @ 8, length @ 10, op @ 12});
/// Write lines back.
pub const GNTTAB_CACHE_CLEAN: u32 = 1 << 0;
/// Invalidate lines.
pub const GNTTAB_CACHE_INVAL: u32 = 1 << 1;
/// `a` is a grant reference.
pub const GNTTAB_CACHE_SOURCE_GREF: u32 = 1 << 31;
