//! Domain control by the toolstack (domctl.h), interface version 0x15.
//!
//! A call passes a [`Domctl`]; `u` holds the bytes of the sub-operation's struct from its start.

use zerocopy::{FromBytes, Immutable, IntoBytes};

mod device;
mod domain;
mod memory;
mod policy;
mod sched;
mod vcpu;

pub use device::*;
pub use domain::*;
pub use memory::*;
pub use policy::*;
pub use sched::*;
pub use vcpu::*;

/// What every `Domctl` starts with; the sub-operation follows at [`DOMCTL_U_OFFSET`].
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DomctlHeader {
    /// `XEN_DOMCTL_*`.
    pub cmd: u32,
    /// [`XEN_DOMCTL_INTERFACE_VERSION`].
    pub interface_version: u32,
    /// The domain.
    pub domain: u16,
    /// Zero.
    pub _pad: [u16; 3],
}
crate::layout!(DomctlHeader, 16, {cmd @ 0, interface_version @ 4, domain @ 8});
/// The version that this module describes.
pub const XEN_DOMCTL_INTERFACE_VERSION: u32 = 0x15;
/// Bytes of a whole `Domctl`.
pub const DOMCTL_SIZE: usize = 144;
/// Where the sub-operation starts.
pub const DOMCTL_U_OFFSET: usize = 16;

/// A whole call.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Domctl {
    /// `XEN_DOMCTL_*`.
    pub cmd: u32,
    /// [`XEN_DOMCTL_INTERFACE_VERSION`].
    pub interface_version: u32,
    /// The domain.
    pub domain: u16,
    /// Zero.
    pub _pad: [u16; 3],
    /// The sub-operation.
    pub u: [u64; 16],
}
crate::layout!(Domctl, 144, {cmd @ 0, interface_version @ 4, domain @ 8, _pad @ 10, u @ 16});

// Commands.
/// Create a domain: [`CreateDomain`].
pub const XEN_DOMCTL_CREATEDOMAIN: u32 = 1;
/// Destroy a domain.
pub const XEN_DOMCTL_DESTROYDOMAIN: u32 = 2;
/// Pause a domain.
pub const XEN_DOMCTL_PAUSEDOMAIN: u32 = 3;
/// Unpause a domain.
pub const XEN_DOMCTL_UNPAUSEDOMAIN: u32 = 4;
/// Ask about a domain, or the next one: [`GetDomainInfo`].
pub const XEN_DOMCTL_GETDOMAININFO: u32 = 5;
/// Set where a vCPU may run: [`VcpuAffinity`].
pub const XEN_DOMCTL_SETVCPUAFFINITY: u32 = 9;
/// Log-dirty and shadow control: [`ShadowOp`].
pub const XEN_DOMCTL_SHADOW_OP: u32 = 10;
/// Set the memory limit: [`MaxMem`].
pub const XEN_DOMCTL_MAX_MEM: u32 = 11;
/// Set a vCPU's state: [`VcpuContext`].
pub const XEN_DOMCTL_SETVCPUCONTEXT: u32 = 12;
/// Ask a vCPU's state: [`VcpuContext`].
pub const XEN_DOMCTL_GETVCPUCONTEXT: u32 = 13;
/// Ask about a vCPU: [`GetVcpuInfo`].
pub const XEN_DOMCTL_GETVCPUINFO: u32 = 14;
/// Set the number of vCPUs: [`MaxVcpus`].
pub const XEN_DOMCTL_MAX_VCPUS: u32 = 15;
/// Scheduling parameters: [`SchedulerOp`].
pub const XEN_DOMCTL_SCHEDULER_OP: u32 = 16;
/// Set the UUID: [`SetDomainHandle`].
pub const XEN_DOMCTL_SETDOMAINHANDLE: u32 = 17;
/// Debugger attached: [`SetDebugging`].
pub const XEN_DOMCTL_SETDEBUGGING: u32 = 18;
/// Permit an interrupt: [`IrqPermission`].
pub const XEN_DOMCTL_IRQ_PERMISSION: u32 = 19;
/// Permit I/O memory: [`IomemPermission`].
pub const XEN_DOMCTL_IOMEM_PERMISSION: u32 = 20;
/// Permit I/O ports: [`IoportPermission`].
pub const XEN_DOMCTL_IOPORT_PERMISSION: u32 = 21;
/// Write the hypercall page: [`HypercallInit`].
pub const XEN_DOMCTL_HYPERCALL_INIT: u32 = 22;
/// Set the clock's offset: [`SetTimeOffset`].
pub const XEN_DOMCTL_SETTIMEOFFSET: u32 = 24;
/// Ask where a vCPU may run: [`VcpuAffinity`].
pub const XEN_DOMCTL_GETVCPUAFFINITY: u32 = 25;
/// Real-mode area (gone).
pub const XEN_DOMCTL_REAL_MODE_AREA: u32 = 26;
/// Resume after a shutdown.
pub const XEN_DOMCTL_RESUMEDOMAIN: u32 = 27;
/// Send a trigger: [`SendTrigger`].
pub const XEN_DOMCTL_SENDTRIGGER: u32 = 28;
/// Event on memory changes.
pub const XEN_DOMCTL_SUBSCRIBE: u32 = 29;
/// HVM state.
pub const XEN_DOMCTL_GETHVMCONTEXT: u32 = 33;
/// HVM state.
pub const XEN_DOMCTL_SETHVMCONTEXT: u32 = 34;
/// Width of a PV guest: [`AddressSize`].
pub const XEN_DOMCTL_SET_ADDRESS_SIZE: u32 = 35;
/// Width of a PV guest: [`AddressSize`].
pub const XEN_DOMCTL_GET_ADDRESS_SIZE: u32 = 36;
/// Assign a PCI device: [`AssignDevice`].
pub const XEN_DOMCTL_ASSIGN_DEVICE: u32 = 37;
/// Bind a passed-through interrupt.
pub const XEN_DOMCTL_BIND_PT_IRQ: u32 = 38;
/// Map I/O memory: [`MemoryMapping`].
pub const XEN_DOMCTL_MEMORY_MAPPING: u32 = 39;
/// Map I/O ports.
pub const XEN_DOMCTL_IOPORT_MAPPING: u32 = 40;
/// Further vCPU state: [`ExtVcpuContext`].
pub const XEN_DOMCTL_SET_EXT_VCPUCONTEXT: u32 = 42;
/// Further vCPU state: [`ExtVcpuContext`].
pub const XEN_DOMCTL_GET_EXT_VCPUCONTEXT: u32 = 43;
/// Option (gone).
pub const XEN_DOMCTL_SET_OPT_FEATURE: u32 = 44;
/// Ask whether a device can be assigned: [`AssignDevice`].
pub const XEN_DOMCTL_TEST_ASSIGN_DEVICE: u32 = 45;
/// Set a stub domain's target: [`SetTarget`].
pub const XEN_DOMCTL_SET_TARGET: u32 = 46;
/// Take a PCI device back: [`AssignDevice`].
pub const XEN_DOMCTL_DEASSIGN_DEVICE: u32 = 47;
/// Unbind a passed-through interrupt.
pub const XEN_DOMCTL_UNBIND_PT_IRQ: u32 = 48;
/// Ask a device's group.
pub const XEN_DOMCTL_GET_DEVICE_GROUP: u32 = 50;
/// Single stepping.
pub const XEN_DOMCTL_DEBUG_OP: u32 = 54;
/// HVM state.
pub const XEN_DOMCTL_GETHVMCONTEXT_PARTIAL: u32 = 55;
/// Memory events.
pub const XEN_DOMCTL_VM_EVENT_OP: u32 = 56;
/// Memory sharing.
pub const XEN_DOMCTL_MEM_SHARING_OP: u32 = 57;
/// Ask the TSC mode: [`TscInfo`].
pub const XEN_DOMCTL_GETTSCINFO: u32 = 59;
/// Set the TSC mode: [`TscInfo`].
pub const XEN_DOMCTL_SETTSCINFO: u32 = 60;
/// Ask types of frames: [`GetPageFrameInfo3`].
pub const XEN_DOMCTL_GETPAGEFRAMEINFO3: u32 = 61;
/// Extended FPU state: [`VcpuExtState`].
pub const XEN_DOMCTL_SETVCPUEXTSTATE: u32 = 62;
/// Extended FPU state: [`VcpuExtState`].
pub const XEN_DOMCTL_GETVCPUEXTSTATE: u32 = 63;
/// Memory access listeners.
pub const XEN_DOMCTL_SET_ACCESS_REQUIRED: u32 = 64;
/// Check the P2M.
pub const XEN_DOMCTL_AUDIT_P2M: u32 = 65;
/// Who handles a global VIRQ: [`SetVirqHandler`].
pub const XEN_DOMCTL_SET_VIRQ_HANDLER: u32 = 66;
/// Mark a broken page.
pub const XEN_DOMCTL_SET_BROKEN_PAGE_P2M: u32 = 67;
/// Set NUMA nodes: [`NodeAffinity`].
pub const XEN_DOMCTL_SETNODEAFFINITY: u32 = 68;
/// Ask NUMA nodes: [`NodeAffinity`].
pub const XEN_DOMCTL_GETNODEAFFINITY: u32 = 69;
/// Flush caches (ARM).
pub const XEN_DOMCTL_CACHEFLUSH: u32 = 71;
/// MSRs: [`VcpuMsrs`].
pub const XEN_DOMCTL_GET_VCPU_MSRS: u32 = 72;
/// MSRs: [`VcpuMsrs`].
pub const XEN_DOMCTL_SET_VCPU_MSRS: u32 = 73;
/// Virtual NUMA: [`Vnuma`].
pub const XEN_DOMCTL_SETVNUMAINFO: u32 = 74;
/// Cache monitoring.
pub const XEN_DOMCTL_PSR_CMT_OP: u32 = 75;
/// Monitoring.
pub const XEN_DOMCTL_MONITOR_OP: u32 = 77;
/// Cache allocation.
pub const XEN_DOMCTL_PSR_ALLOC: u32 = 78;
/// Soft reset.
pub const XEN_DOMCTL_SOFT_RESET: u32 = 79;
/// Virtual UART (ARM).
pub const XEN_DOMCTL_VUART_OP: u32 = 81;
/// Ask the CPU policy: [`CpuPolicy`].
pub const XEN_DOMCTL_GET_CPU_POLICY: u32 = 82;
/// Set the CPU policy: [`CpuPolicy`].
pub const XEN_DOMCTL_SET_CPU_POLICY: u32 = 83;
/// Processor trace.
pub const XEN_DOMCTL_VMTRACE_OP: u32 = 84;
/// Ask the paging pool: [`PagingMempool`].
pub const XEN_DOMCTL_GET_PAGING_MEMPOOL_SIZE: u32 = 85;
/// Set the paging pool: [`PagingMempool`].
pub const XEN_DOMCTL_SET_PAGING_MEMPOOL_SIZE: u32 = 86;
/// Debugger: memory.
pub const XEN_DOMCTL_GDBSX_GUESTMEMIO: u32 = 1000;
/// Debugger: pause.
pub const XEN_DOMCTL_GDBSX_PAUSEVCPU: u32 = 1001;
/// Debugger: unpause.
pub const XEN_DOMCTL_GDBSX_UNPAUSEVCPU: u32 = 1002;
/// Debugger: status.
pub const XEN_DOMCTL_GDBSX_DOMSTATUS: u32 = 1003;
