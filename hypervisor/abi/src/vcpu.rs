//! vCPU operations (vcpu.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Give a vCPU its context.
pub const VCPUOP_INITIALISE: u32 = 0;
/// Bring a vCPU up.
pub const VCPUOP_UP: u32 = 1;
/// Take a vCPU down.
pub const VCPUOP_DOWN: u32 = 2;
/// Ask whether it is up.
pub const VCPUOP_IS_UP: u32 = 3;
/// Ask its run states.
pub const VCPUOP_GET_RUNSTATE_INFO: u32 = 4;
/// Have its run states written to memory.
pub const VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA: u32 = 5;
/// Start a periodic VIRQ_TIMER.
pub const VCPUOP_SET_PERIODIC_TIMER: u32 = 6;
/// Stop it.
pub const VCPUOP_STOP_PERIODIC_TIMER: u32 = 7;
/// Arm the one-shot timer.
pub const VCPUOP_SET_SINGLESHOT_TIMER: u32 = 8;
/// Disarm it.
pub const VCPUOP_STOP_SINGLESHOT_TIMER: u32 = 9;
/// Move `vcpu_info` to the guest's own page.
pub const VCPUOP_REGISTER_VCPU_INFO: u32 = 10;
/// Send an NMI.
pub const VCPUOP_SEND_NMI: u32 = 11;
/// Ask the physical CPU of a pinned dom0 vCPU.
pub const VCPUOP_GET_PHYSID: u32 = 12;
/// Have `vcpu_time_info` written to memory too.
pub const VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA: u32 = 13;

/// How long a vCPU was in which state.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RunstateInfo {
    /// `RUNSTATE_*`.
    pub state: i32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// When it entered it, nanoseconds; bit 63: being updated.
    pub state_entry_time: u64,
    /// Nanoseconds spent in each state.
    pub time: [u64; 4],
}
crate::layout!(RunstateInfo, 48, {state @ 0, state_entry_time @ 8, time @ 16});
/// `state_entry_time`: being updated.
pub const XEN_RUNSTATE_UPDATE: u64 = 0x8000_0000_0000_0000;
/// Running.
pub const RUNSTATE_RUNNING: i32 = 0;
/// Waits for a CPU.
pub const RUNSTATE_RUNNABLE: i32 = 1;
/// Waits for an event.
pub const RUNSTATE_BLOCKED: i32 = 2;
/// Down or paused.
pub const RUNSTATE_OFFLINE: i32 = 3;

/// Arguments of `VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RegisterRunstateMemoryArea {
    /// Virtual address of [`RunstateInfo`].
    pub addr: u64,
}
crate::layout!(RegisterRunstateMemoryArea, 8, {addr @ 0});

/// Arguments of `VCPUOP_SET_PERIODIC_TIMER`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetPeriodicTimer {
    /// Period, at least a millisecond.
    pub period_ns: u64,
}
crate::layout!(SetPeriodicTimer, 8, {period_ns @ 0});

/// Arguments of `VCPUOP_SET_SINGLESHOT_TIMER`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetSingleshotTimer {
    /// System time of the expiry.
    pub timeout_abs_ns: u64,
    /// `VCPU_SSHOTTMR_FUTURE` or 0.
    pub flags: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(SetSingleshotTimer, 16, {timeout_abs_ns @ 0, flags @ 8});
/// Fail with ETIME if the time has passed.
pub const VCPU_SSHOTTMR_FUTURE: u32 = 0x1;

/// Arguments of `VCPUOP_REGISTER_VCPU_INFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RegisterVcpuInfo {
    /// Frame.
    pub mfn: u64,
    /// Offset in the frame.
    pub offset: u32,
    /// Zero.
    pub rsvd: u32,
}
crate::layout!(RegisterVcpuInfo, 16, {mfn @ 0, offset @ 8, rsvd @ 12});

/// Answer of `VCPUOP_GET_PHYSID`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetPhysid {
    /// APIC id (low half) and ACPI id (high half).
    pub phys_id: u64,
}
crate::layout!(GetPhysid, 8, {phys_id @ 0});

/// Arguments of `VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RegisterTimeMemoryArea {
    /// Virtual address of `vcpu_time_info`.
    pub addr: u64,
}
crate::layout!(RegisterTimeMemoryArea, 8, {addr @ 0});
