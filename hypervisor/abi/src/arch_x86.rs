//! The x86-64 part of the ABI (arch-x86/xen.h, arch-x86/xen-x86_64.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

// Selectors of the hypervisor's flat descriptors, RPL 3.
/// 32-bit code.
pub const FLAT_RING3_CS32: u16 = 0xe023;
/// 64-bit code.
pub const FLAT_RING3_CS64: u16 = 0xe033;
/// 32-bit data.
pub const FLAT_RING3_DS32: u16 = 0xe02b;
/// Data in 64-bit mode: the null selector.
pub const FLAT_RING3_DS64: u16 = 0x0;
/// 32-bit stack.
pub const FLAT_RING3_SS32: u16 = 0xe02b;
/// 64-bit stack.
pub const FLAT_RING3_SS64: u16 = 0xe02b;
/// Code of a 64-bit PV kernel.
pub const FLAT_KERNEL_CS: u16 = 0xe033;
/// Data of a 64-bit PV kernel.
pub const FLAT_KERNEL_DS: u16 = 0x0;
/// Stack of a 64-bit PV kernel.
pub const FLAT_KERNEL_SS: u16 = 0xe02b;
/// Code of 64-bit user programs.
pub const FLAT_USER_CS: u16 = 0xe033;
/// Data of 64-bit user programs.
pub const FLAT_USER_DS: u16 = 0x0;
/// Stack of 64-bit user programs.
pub const FLAT_USER_SS: u16 = 0xe02b;

// The address range that belongs to the hypervisor (L4 slots 256 to 271).
/// First address of the hypervisor.
pub const HYPERVISOR_VIRT_START: u64 = 0xffff_8000_0000_0000;
/// First address above it.
pub const HYPERVISOR_VIRT_END: u64 = 0xffff_8800_0000_0000;
/// The machine-to-physical table, readable by PV kernels.
pub const MACH2PHYS_VIRT_START: u64 = 0xffff_8000_0000_0000;
/// First address above the table.
pub const MACH2PHYS_VIRT_END: u64 = 0xffff_8040_0000_0000;
/// Entries (8 bytes each) that fit in the table.
pub const MACH2PHYS_NR_ENTRIES: u64 = 0x8_0000_0000;

// The top of the GDT belongs to the hypervisor.
/// First GDT page of the hypervisor.
pub const FIRST_RESERVED_GDT_PAGE: u32 = 14;
/// First GDT byte of the hypervisor.
pub const FIRST_RESERVED_GDT_BYTE: u32 = 57344;
/// First GDT entry of the hypervisor; guests may have those below.
pub const FIRST_RESERVED_GDT_ENTRY: u32 = 7168;

// set_segment_base: which base.
/// FS base.
pub const SEGBASE_FS: u32 = 0;
/// GS base of user mode.
pub const SEGBASE_GS_USER: u32 = 1;
/// GS base of kernel mode.
pub const SEGBASE_GS_KERNEL: u32 = 2;
/// GS selector of user mode.
pub const SEGBASE_GS_USER_SEL: u32 = 3;

// Flags of `vcpu_guest_context` and of `iret_context`.
/// The FPU state is valid.
pub const VGCF_I387_VALID: u64 = 0x1;
/// The vCPU starts in kernel mode.
pub const VGCF_IN_KERNEL: u64 = 0x4;
/// The failsafe callback masks events.
pub const VGCF_FAILSAFE_DISABLES_EVENTS: u64 = 0x8;
/// The syscall callback masks events.
pub const VGCF_SYSCALL_DISABLES_EVENTS: u64 = 0x10;
/// The vCPU is up.
pub const VGCF_ONLINE: u64 = 0x20;
/// iret: return as SYSRET does, RCX and R11 are lost.
pub const VGCF_IN_SYSCALL: u64 = 0x100;

/// `TrapInfo::flags`: bits of the DPL from which the trap may be raised by `int`.
pub const TI_DPL_MASK: u8 = 3;
/// `TrapInfo::flags`: the handler starts with events masked.
pub const TI_IF: u8 = 4;
/// Bytes that make the hypervisor emulate the instruction that follows them (`ud2` and `xen`).
pub const XEN_EMULATE_PREFIX: [u8; 5] = [0x0f, 0x0b, 0x78, 0x65, 0x6e];

/// The x86 part of `vcpu_info`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ArchVcpuInfo {
    /// Address of the last page fault.
    pub cr2: u64,
    /// Zero.
    pub pad: u64,
}
crate::layout!(ArchVcpuInfo, 16, {cr2 @ 0, pad @ 8});

/// The x86 part of `shared_info`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ArchSharedInfo {
    /// Highest PFN of the guest's P2M.
    pub max_pfn: u64,
    /// MFN of the three-level P2M's root.
    pub pfn_to_mfn_frame_list_list: u64,
    /// `XEN_NMIREASON_*`.
    pub nmi_reason: u64,
    /// CR3 under which `p2m_vaddr` is valid; 0: use the frame list.
    pub p2m_cr3: u64,
    /// Virtual address of the linear P2M.
    pub p2m_vaddr: u64,
    /// Counts changes of the P2M's mapping; odd while it changes.
    pub p2m_generation: u64,
}
crate::layout!(ArchSharedInfo, 48, {max_pfn @ 0, pfn_to_mfn_frame_list_list @ 8, nmi_reason @ 16, p2m_cr3 @ 24, p2m_vaddr @ 32, p2m_generation @ 40});

/// One entry of set_trap_table. The table ends with an entry of address 0.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct TrapInfo {
    /// Exception vector.
    pub vector: u8,
    /// DPL in bits 0 and 1, [`TI_IF`].
    pub flags: u8,
    /// Code selector.
    pub cs: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handler.
    pub address: u64,
}
crate::layout!(TrapInfo, 16, {vector @ 0, flags @ 1, cs @ 2, address @ 8});

/// What the iret hypercall finds on the kernel stack.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IretContext {
    /// RAX.
    pub rax: u64,
    /// R11, restored unless `VGCF_IN_SYSCALL`.
    pub r11: u64,
    /// RCX, restored unless `VGCF_IN_SYSCALL`.
    pub rcx: u64,
    /// `VGCF_IN_SYSCALL` or 0.
    pub flags: u64,
    /// RIP.
    pub rip: u64,
    /// Code selector; RPL 3 with user mode's meaning.
    pub cs: u64,
    /// Flags; IF is the virtual one.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// Stack selector.
    pub ss: u64,
}
crate::layout!(IretContext, 72, {rax @ 0, r11 @ 8, rcx @ 16, flags @ 24, rip @ 32, cs @ 40, rflags @ 48, rsp @ 56, ss @ 64});

/// Registers of a vCPU.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuUserRegs {
    /// R15.
    pub r15: u64,
    /// R14.
    pub r14: u64,
    /// R13.
    pub r13: u64,
    /// R12.
    pub r12: u64,
    /// RBP.
    pub rbp: u64,
    /// RBX.
    pub rbx: u64,
    /// R11.
    pub r11: u64,
    /// R10.
    pub r10: u64,
    /// R9.
    pub r9: u64,
    /// R8.
    pub r8: u64,
    /// RAX.
    pub rax: u64,
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
    /// Error code of the entry.
    pub error_code: u32,
    /// Vector of the entry.
    pub entry_vector: u32,
    /// RIP.
    pub rip: u64,
    /// CS.
    pub cs: u16,
    /// Zero.
    pub _pad_cs: [u16; 1],
    /// `evtchn_upcall_mask` at the entry.
    pub saved_upcall_mask: u8,
    /// Zero.
    pub _pad_mask: [u8; 3],
    /// RFLAGS.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// SS.
    pub ss: u16,
    /// Zero.
    pub _pad_ss: [u16; 3],
    /// ES.
    pub es: u16,
    /// Zero.
    pub _pad_es: [u16; 3],
    /// DS.
    pub ds: u16,
    /// Zero.
    pub _pad_ds: [u16; 3],
    /// FS.
    pub fs: u16,
    /// Zero.
    pub _pad_fs: [u16; 3],
    /// GS.
    pub gs: u16,
    /// Zero.
    pub _pad_gs: [u16; 3],
}
crate::layout!(CpuUserRegs, 200, {r15 @ 0, r14 @ 8, r13 @ 16, r12 @ 24, rbp @ 32, rbx @ 40, r11 @ 48, r10 @ 56, r9 @ 64, r8 @ 72, rax @ 80, rcx @ 88, rdx @ 96, rsi @ 104, rdi @ 112, error_code @ 120, entry_vector @ 124, rip @ 128, cs @ 136, _pad_cs @ 138, saved_upcall_mask @ 140, _pad_mask @ 141, rflags @ 144, rsp @ 152, ss @ 160, _pad_ss @ 162, es @ 168, _pad_es @ 170, ds @ 176, _pad_ds @ 178, fs @ 184, _pad_fs @ 186, gs @ 192, _pad_gs @ 194});

/// The whole state of a vCPU (VCPUOP_initialise, setvcpucontext).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuGuestContext {
    /// FPU state as FXSAVE stores it.
    pub fpu_ctxt: [u8; 512],
    /// `VGCF_*`.
    pub flags: u64,
    /// Registers.
    pub user_regs: CpuUserRegs,
    /// Trap table, indexed by vector.
    pub trap_ctxt: [TrapInfo; 256],
    /// LDT's address.
    pub ldt_base: u64,
    /// LDT's entries.
    pub ldt_ents: u64,
    /// Machine frames of the GDT.
    pub gdt_frames: [u64; 16],
    /// GDT's entries.
    pub gdt_ents: u64,
    /// Kernel stack selector.
    pub kernel_ss: u64,
    /// Kernel stack pointer.
    pub kernel_sp: u64,
    /// CR0 to CR7; CR1 is the user L4's CR3.
    pub ctrlreg: [u64; 8],
    /// DR0 to DR7.
    pub debugreg: [u64; 8],
    /// Event callback.
    pub event_callback_eip: u64,
    /// Failsafe callback.
    pub failsafe_callback_eip: u64,
    /// Syscall callback.
    pub syscall_callback_eip: u64,
    /// Assists, one bit for each type.
    pub vm_assist: u64,
    /// FS base.
    pub fs_base: u64,
    /// GS base of kernel mode.
    pub gs_base_kernel: u64,
    /// GS base of user mode.
    pub gs_base_user: u64,
}
crate::zeroed_default!(VcpuGuestContext);
crate::layout!(VcpuGuestContext, 5168, {fpu_ctxt @ 0, flags @ 512, user_regs @ 520, trap_ctxt @ 720, ldt_base @ 4816, ldt_ents @ 4824, gdt_frames @ 4832, gdt_ents @ 4960, kernel_ss @ 4968, kernel_sp @ 4976, ctrlreg @ 4984, debugreg @ 5048, event_callback_eip @ 5112, failsafe_callback_eip @ 5120, syscall_callback_eip @ 5128, vm_assist @ 5136, fs_base @ 5144, gs_base_kernel @ 5152, gs_base_user @ 5160});

// Page-table entries as a PV guest writes them (the architecture's bits).

/// Page-table entry: present.
pub const PTE_PRESENT: u64 = 1 << 0;
/// Page-table entry: writable.
pub const PTE_RW: u64 = 1 << 1;
/// Page-table entry: user. The hypervisor sets it in a 64-bit guest's kernel entries.
pub const PTE_USER: u64 = 1 << 2;
/// Page-table entry: write-through.
pub const PTE_PWT: u64 = 1 << 3;
/// Page-table entry: cache disable.
pub const PTE_PCD: u64 = 1 << 4;
/// Page-table entry: accessed.
pub const PTE_ACCESSED: u64 = 1 << 5;
/// Page-table entry: dirty.
pub const PTE_DIRTY: u64 = 1 << 6;
/// L1 entry: PAT index bit 2; L2 and L3 entry: superpage.
pub const PTE_PSE_PAT: u64 = 1 << 7;
/// Page-table entry: global.
pub const PTE_GLOBAL: u64 = 1 << 8;
/// Page-table entry: the bits 9 to 11 that are free for the guest.
pub const PTE_AVAIL_LOW: u64 = 0x7 << 9;
/// Page-table entry: the bits 52 to 62 that are free for the guest.
pub const PTE_AVAIL_HIGH: u64 = 0x7ff << 52;
/// Page-table entry: not executable.
pub const PTE_NX: u64 = 1 << 63;
/// Page-table entry: the frame's address, bits 12 to 51.
pub const PTE_ADDR_MASK: u64 = 0x000f_ffff_ffff_f000;

/// The x86 part of domain creation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ArchDomainConfig {
    /// `XEN_X86_EMU_*`; 0 for PV.
    pub emulation_flags: u32,
    /// `XEN_X86_MSR_RELAXED` or 0.
    pub misc_flags: u32,
}
crate::layout!(ArchDomainConfig, 8, {emulation_flags @ 0, misc_flags @ 4});
/// Local APIC.
pub const XEN_X86_EMU_LAPIC: u32 = 0x1;
/// HPET.
pub const XEN_X86_EMU_HPET: u32 = 0x2;
/// ACPI PM timer and blocks.
pub const XEN_X86_EMU_PM: u32 = 0x4;
/// RTC.
pub const XEN_X86_EMU_RTC: u32 = 0x8;
/// IO-APIC.
pub const XEN_X86_EMU_IOAPIC: u32 = 0x10;
/// PIC.
pub const XEN_X86_EMU_PIC: u32 = 0x20;
/// VGA.
pub const XEN_X86_EMU_VGA: u32 = 0x40;
/// IOMMU.
pub const XEN_X86_EMU_IOMMU: u32 = 0x80;
/// PIT.
pub const XEN_X86_EMU_PIT: u32 = 0x100;
/// PIRQs for emulated interrupts.
pub const XEN_X86_EMU_USE_PIRQ: u32 = 0x200;
/// Virtual PCI.
pub const XEN_X86_EMU_VPCI: u32 = 0x400;
/// All of them.
pub const XEN_X86_EMU_ALL: u32 = 0x7ff;
/// Unknown MSRs read as 0 and ignore writes.
pub const XEN_X86_MSR_RELAXED: u32 = 0x1;

/// One CPUID leaf of a policy.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuidLeaf {
    /// EAX.
    pub leaf: u32,
    /// ECX, or [`XEN_CPUID_NO_SUBLEAF`].
    pub subleaf: u32,
    /// EAX returned.
    pub a: u32,
    /// EBX returned.
    pub b: u32,
    /// ECX returned.
    pub c: u32,
    /// EDX returned.
    pub d: u32,
}
crate::layout!(CpuidLeaf, 24, {leaf @ 0, subleaf @ 4, a @ 8, b @ 12, c @ 16, d @ 20});
/// The leaf has no subleaves.
pub const XEN_CPUID_NO_SUBLEAF: u32 = 0xffff_ffff;

/// One MSR of a policy.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MsrEntry {
    /// Number.
    pub idx: u32,
    /// Zero.
    pub flags: u32,
    /// Value.
    pub val: u64,
}
crate::layout!(MsrEntry, 16, {idx @ 0, flags @ 4, val @ 8});
