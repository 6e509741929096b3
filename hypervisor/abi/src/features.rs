//! Feature bit numbers (features.h).

/// The guest may map page tables writable.
pub const XENFEAT_WRITABLE_PAGE_TABLES: u32 = 0;
/// The guest may map GDT and LDT pages writable.
pub const XENFEAT_WRITABLE_DESCRIPTOR_TABLES: u32 = 1;
/// The guest's frames are translated.
pub const XENFEAT_AUTO_TRANSLATED_PHYSMAP: u32 = 2;
/// The guest kernel runs in ring 0.
pub const XENFEAT_SUPERVISOR_MODE_KERNEL: u32 = 3;
/// PAE tables may be above 4 GB.
pub const XENFEAT_PAE_PGDIR_ABOVE_4GB: u32 = 4;
/// `MMU_PT_UPDATE_PRESERVE_AD` works.
pub const XENFEAT_MMU_PT_UPDATE_PRESERVE_AD: u32 = 5;
/// `MMUEXT_CLEAR_PAGE` and `MMUEXT_COPY_PAGE` work.
pub const XENFEAT_HIGHMEM_ASSIST: u32 = 6;
/// Grant maps take available bits.
pub const XENFEAT_GNTTAB_MAP_AVAIL_BITS: u32 = 7;
/// Events as a vector (HVM).
pub const XENFEAT_HVM_CALLBACK_VECTOR: u32 = 8;
/// pvclock for HVM.
pub const XENFEAT_HVM_SAFE_PVCLOCK: u32 = 9;
/// PIRQs for HVM.
pub const XENFEAT_HVM_PIRQS: u32 = 10;
/// The domain is dom0.
pub const XENFEAT_DOM0: u32 = 11;
/// `XENMEMF_VNODE` works.
pub const XENFEAT_MEMORY_OP_VNODE_SUPPORTED: u32 = 13;
/// ARM calls.
pub const XENFEAT_ARM_SMCCC_SUPPORTED: u32 = 14;
/// The RSDP may be anywhere (PVH).
pub const XENFEAT_LINUX_RSDP_UNRESTRICTED: u32 = 15;
/// Guest frames are not machine frames.
pub const XENFEAT_NOT_DIRECT_MAPPED: u32 = 16;
/// Guest frames are machine frames.
pub const XENFEAT_DIRECT_MAPPED: u32 = 17;
/// Words of feature bits.
pub const XENFEAT_NR_SUBMAPS: u32 = 1;
