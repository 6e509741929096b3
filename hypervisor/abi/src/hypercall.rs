//! Hypercall numbers and the multicall entry (xen.h).
//!
//! A PV guest calls with SYSCALL: number in RAX, arguments in RDI, RSI, RDX, R10, R8, R9,
//! result in RAX; RCX and R11 are lost.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Load the table of trap handlers.
pub const HYPERVISOR_SET_TRAP_TABLE: u64 = 0;
/// Write page-table entries or the machine-to-physical table.
pub const HYPERVISOR_MMU_UPDATE: u64 = 1;
/// Install the frames of a GDT.
pub const HYPERVISOR_SET_GDT: u64 = 2;
/// Set the kernel stack.
pub const HYPERVISOR_STACK_SWITCH: u64 = 3;
/// Set event, failsafe and syscall callbacks (old form).
pub const HYPERVISOR_SET_CALLBACKS: u64 = 4;
/// Set or clear the virtual CR0.TS.
pub const HYPERVISOR_FPU_TASKSWITCH: u64 = 5;
/// Scheduler operations, the form before 3.1.
pub const HYPERVISOR_SCHED_OP_COMPAT: u64 = 6;
/// Platform control by dom0.
pub const HYPERVISOR_PLATFORM_OP: u64 = 7;
/// Write a debug register.
pub const HYPERVISOR_SET_DEBUGREG: u64 = 8;
/// Read a debug register.
pub const HYPERVISOR_GET_DEBUGREG: u64 = 9;
/// Write one GDT or LDT entry.
pub const HYPERVISOR_UPDATE_DESCRIPTOR: u64 = 10;
/// Memory reservations and maps.
pub const HYPERVISOR_MEMORY_OP: u64 = 12;
/// A list of hypercalls in one.
pub const HYPERVISOR_MULTICALL: u64 = 13;
/// Write the L1 entry of an address.
pub const HYPERVISOR_UPDATE_VA_MAPPING: u64 = 14;
/// Arm the vCPU's one-shot timer.
pub const HYPERVISOR_SET_TIMER_OP: u64 = 15;
/// Event channels, the form before 3.2.
pub const HYPERVISOR_EVENT_CHANNEL_OP_COMPAT: u64 = 16;
/// Versions and features.
pub const HYPERVISOR_XEN_VERSION: u64 = 17;
/// The hypervisor's console.
pub const HYPERVISOR_CONSOLE_IO: u64 = 18;
/// Physical devices, the form before 3.2.
pub const HYPERVISOR_PHYSDEV_OP_COMPAT: u64 = 19;
/// Grant tables.
pub const HYPERVISOR_GRANT_TABLE_OP: u64 = 20;
/// Switch optional assists on and off.
pub const HYPERVISOR_VM_ASSIST: u64 = 21;
/// Write the L1 entry of an address with a foreign frame.
pub const HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN: u64 = 22;
/// Return from an event or a trap.
pub const HYPERVISOR_IRET: u64 = 23;
/// Virtual CPUs.
pub const HYPERVISOR_VCPU_OP: u64 = 24;
/// FS and GS bases, user GS selector.
pub const HYPERVISOR_SET_SEGMENT_BASE: u64 = 25;
/// Pinning, base pointers, TLB and LDT.
pub const HYPERVISOR_MMUEXT_OP: u64 = 26;
/// Security module.
pub const HYPERVISOR_XSM_OP: u64 = 27;
/// NMI callback.
pub const HYPERVISOR_NMI_OP: u64 = 28;
/// Scheduler operations.
pub const HYPERVISOR_SCHED_OP: u64 = 29;
/// Callback registration.
pub const HYPERVISOR_CALLBACK_OP: u64 = 30;
/// Profiling (gone).
pub const HYPERVISOR_XENOPROF_OP: u64 = 31;
/// Event channels.
pub const HYPERVISOR_EVENT_CHANNEL_OP: u64 = 32;
/// Physical devices and interrupts.
pub const HYPERVISOR_PHYSDEV_OP: u64 = 33;
/// HVM parameters and operations.
pub const HYPERVISOR_HVM_OP: u64 = 34;
/// System control by the toolstack.
pub const HYPERVISOR_SYSCTL: u64 = 35;
/// Domain control by the toolstack.
pub const HYPERVISOR_DOMCTL: u64 = 36;
/// Crash kernels.
pub const HYPERVISOR_KEXEC_OP: u64 = 37;
/// Transcendent memory (gone).
pub const HYPERVISOR_TMEM_OP: u64 = 38;
/// Argo messages.
pub const HYPERVISOR_ARGO_OP: u64 = 39;
/// Performance counters.
pub const HYPERVISOR_XENPMU_OP: u64 = 40;
/// Device-model operations.
pub const HYPERVISOR_DM_OP: u64 = 41;
/// Hypervisor file system.
pub const HYPERVISOR_HYPFS_OP: u64 = 42;
/// Architecture's own 0: on x86 the machine-check interface.
pub const HYPERVISOR_ARCH_0: u64 = 48;
/// Architecture's own 1: on x86 paging operations of HVM.
pub const HYPERVISOR_ARCH_1: u64 = 49;
/// Architecture's own 2.
pub const HYPERVISOR_ARCH_2: u64 = 50;
/// Architecture's own 3.
pub const HYPERVISOR_ARCH_3: u64 = 51;
/// Architecture's own 4.
pub const HYPERVISOR_ARCH_4: u64 = 52;
/// Architecture's own 5.
pub const HYPERVISOR_ARCH_5: u64 = 53;
/// Architecture's own 6.
pub const HYPERVISOR_ARCH_6: u64 = 54;
/// Architecture's own 7; the last number the ABI knows.
pub const HYPERVISOR_ARCH_7: u64 = 55;

/// One entry of a multicall.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MulticallEntry {
    /// Hypercall number.
    pub op: u64,
    /// Result of the call, set by the hypervisor.
    pub result: u64,
    /// Arguments.
    pub args: [u64; 6],
}
crate::layout!(MulticallEntry, 64, {op @ 0, result @ 8, args @ 16});
