//! vCPUs of a domain: number, state, affinity, MSRs.

use crate::xen::CtlBitmap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Arguments of the vCPU context operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuContext {
    /// The vCPU.
    pub vcpu: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`crate::arch_x86::VcpuGuestContext`]; 0 in set: reset the vCPU.
    pub ctxt: u64,
}
crate::layout!(VcpuContext, 16, {vcpu @ 0, ctxt @ 8});

/// Arguments of `XEN_DOMCTL_GETVCPUINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetVcpuInfo {
    /// The vCPU.
    pub vcpu: u32,
    /// Out: up.
    pub online: u8,
    /// Out: blocked.
    pub blocked: u8,
    /// Out: on a CPU.
    pub running: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 1],
    /// Out: nanoseconds of CPU time.
    pub cpu_time: u64,
    /// Out: its CPU.
    pub cpu: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
}
crate::layout!(GetVcpuInfo, 24, {vcpu @ 0, online @ 4, blocked @ 5, running @ 6, cpu_time @ 8, cpu @ 16});

/// Arguments of `XEN_DOMCTL_MAX_VCPUS`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MaxVcpus {
    /// Number.
    pub max: u32,
}
crate::layout!(MaxVcpus, 4, {max @ 0});

/// Arguments of the affinity operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuAffinity {
    /// The vCPU.
    pub vcpu: u32,
    /// `XEN_VCPUAFFINITY_*`.
    pub flags: u32,
    /// CPUs it may run on.
    pub cpumap_hard: CtlBitmap,
    /// CPUs it should run on.
    pub cpumap_soft: CtlBitmap,
}
crate::layout!(VcpuAffinity, 40, {vcpu @ 0, flags @ 4, cpumap_hard @ 8, cpumap_soft @ 24});
/// The hard map.
pub const XEN_VCPUAFFINITY_HARD: u32 = 0x1;
/// The soft map.
pub const XEN_VCPUAFFINITY_SOFT: u32 = 0x2;
/// Undo a temporary pinning.
pub const XEN_VCPUAFFINITY_FORCE: u32 = 0x4;

/// Arguments of the extended context operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ExtVcpuContext {
    /// The vCPU.
    pub vcpu: u32,
    /// Bytes of this struct that are valid.
    pub size: u32,
    /// 32-bit SYSCALL callback.
    pub syscall32_callback_eip: u64,
    /// SYSENTER callback.
    pub sysenter_callback_eip: u64,
    /// Its selector.
    pub syscall32_callback_cs: u16,
    /// Its selector.
    pub sysenter_callback_cs: u16,
    /// It masks events.
    pub syscall32_disables_events: u8,
    /// It masks events.
    pub sysenter_disables_events: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// MCG_CAP.
    pub mcg_cap: u64,
    /// MC0_CTL2.
    pub mci_ctl2_bank0: u64,
    /// MC1_CTL2.
    pub mci_ctl2_bank1: u64,
    /// MCG_EXT_CTL.
    pub mcg_ext_ctl: u64,
}
crate::layout!(ExtVcpuContext, 64, {vcpu @ 0, size @ 4, syscall32_callback_eip @ 8, sysenter_callback_eip @ 16, syscall32_callback_cs @ 24, sysenter_callback_cs @ 26, syscall32_disables_events @ 28, sysenter_disables_events @ 29, mcg_cap @ 32, mci_ctl2_bank0 @ 40, mci_ctl2_bank1 @ 48, mcg_ext_ctl @ 56});

/// Arguments of the extended FPU state operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuExtState {
    /// The vCPU.
    pub vcpu: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// XCR0 mask.
    pub xfeature_mask: u64,
    /// Bytes.
    pub size: u64,
    /// Handle of the state.
    pub buffer: u64,
}
crate::layout!(VcpuExtState, 32, {vcpu @ 0, xfeature_mask @ 8, size @ 16, buffer @ 24});

/// One MSR.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuMsr {
    /// Number.
    pub index: u32,
    /// Zero.
    pub reserved: u32,
    /// Value.
    pub value: u64,
}
crate::layout!(VcpuMsr, 16, {index @ 0, reserved @ 4, value @ 8});

/// Arguments of the MSR operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuMsrs {
    /// The vCPU.
    pub vcpu: u32,
    /// Entries.
    pub msr_count: u32,
    /// Handle of [`VcpuMsr`].
    pub msrs: u64,
}
crate::layout!(VcpuMsrs, 16, {vcpu @ 0, msr_count @ 4, msrs @ 8});

/// Arguments of `XEN_DOMCTL_SENDTRIGGER`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SendTrigger {
    /// `XEN_DOMCTL_SENDTRIGGER_*`.
    pub trigger: u32,
    /// The vCPU.
    pub vcpu: u32,
}
crate::layout!(SendTrigger, 8, {trigger @ 0, vcpu @ 4});
/// NMI.
pub const XEN_DOMCTL_SENDTRIGGER_NMI: u32 = 0;
/// Reset.
pub const XEN_DOMCTL_SENDTRIGGER_RESET: u32 = 1;
/// INIT.
pub const XEN_DOMCTL_SENDTRIGGER_INIT: u32 = 2;
/// Power button.
pub const XEN_DOMCTL_SENDTRIGGER_POWER: u32 = 3;
/// Sleep button.
pub const XEN_DOMCTL_SENDTRIGGER_SLEEP: u32 = 4;
