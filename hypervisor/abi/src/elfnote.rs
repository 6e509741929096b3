//! ELF notes of guest kernels (elfnote.h); the name of the notes is `Xen`.

/// Free text.
pub const XEN_ELFNOTE_INFO: u32 = 0;
/// Virtual address of the entry.
pub const XEN_ELFNOTE_ENTRY: u32 = 1;
/// Virtual address of the hypercall page.
pub const XEN_ELFNOTE_HYPERCALL_PAGE: u32 = 2;
/// Virtual address of physical address 0.
pub const XEN_ELFNOTE_VIRT_BASE: u32 = 3;
/// Subtracted from ELF's physical addresses.
pub const XEN_ELFNOTE_PADDR_OFFSET: u32 = 4;
/// `xen-3.0`.
pub const XEN_ELFNOTE_XEN_VERSION: u32 = 5;
/// Name of the guest.
pub const XEN_ELFNOTE_GUEST_OS: u32 = 6;
/// Version of the guest.
pub const XEN_ELFNOTE_GUEST_VERSION: u32 = 7;
/// `generic`.
pub const XEN_ELFNOTE_LOADER: u32 = 8;
/// PAE (32-bit guests).
pub const XEN_ELFNOTE_PAE_MODE: u32 = 9;
/// Features by name, `|` between.
pub const XEN_ELFNOTE_FEATURES: u32 = 10;
/// Load the symbol table.
pub const XEN_ELFNOTE_BSD_SYMTAB: u32 = 11;
/// Lowest address the hypervisor may use.
pub const XEN_ELFNOTE_HV_START_LOW: u32 = 12;
/// Mask and value of present L1 entries.
pub const XEN_ELFNOTE_L1_MFN_VALID: u32 = 13;
/// Suspend may be cancelled.
pub const XEN_ELFNOTE_SUSPEND_CANCEL: u32 = 14;
/// Virtual address wanted for the P2M list.
pub const XEN_ELFNOTE_INIT_P2M: u32 = 15;
/// The guest takes `mod_start` as a PFN.
pub const XEN_ELFNOTE_MOD_START_PFN: u32 = 16;
/// Feature bits.
pub const XEN_ELFNOTE_SUPPORTED_FEATURES: u32 = 17;
/// 32-bit physical entry (PVH).
pub const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
