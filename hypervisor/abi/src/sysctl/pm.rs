//! Power management.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Ask the number of P-states.
pub const PMSTAT_GET_MAX_PX: u32 = 0x11;
/// Ask P-states: [`PxStat`].
pub const PMSTAT_GET_PXSTAT: u32 = 0x12;
/// Reset P-state statistics.
pub const PMSTAT_RESET_PXSTAT: u32 = 0x13;
/// Ask the number of C-states.
pub const PMSTAT_GET_MAX_CX: u32 = 0x21;
/// Ask C-states: [`CxStat`].
pub const PMSTAT_GET_CXSTAT: u32 = 0x22;
/// Reset C-state statistics.
pub const PMSTAT_RESET_CXSTAT: u32 = 0x23;

/// One P-state.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PxVal {
    /// Frequency in MHz.
    pub freq: u64,
    /// Nanoseconds.
    pub residency: u64,
    /// Entries.
    pub count: u64,
}
crate::layout!(PxVal, 24, {freq @ 0, residency @ 8, count @ 16});

/// P-states of a CPU.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PxStat {
    /// States.
    pub total: u8,
    /// Usable ones.
    pub usable: u8,
    /// Last one.
    pub last: u8,
    /// Current one.
    pub cur: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of the transition table.
    pub trans_pt: u64,
    /// Handle of [`PxVal`].
    pub pt: u64,
}
crate::layout!(PxStat, 24, {total @ 0, usable @ 1, last @ 2, cur @ 3, trans_pt @ 8, pt @ 16});

/// C-states of a CPU.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CxStat {
    /// Entries of the arrays.
    pub nr: u32,
    /// Out: last state.
    pub last: u32,
    /// Nanoseconds idle.
    pub idle_time: u64,
    /// Handle of counts.
    pub triggers: u64,
    /// Handle of nanoseconds.
    pub residencies: u64,
    /// Package states.
    pub nr_pc: u32,
    /// Core states.
    pub nr_cc: u32,
    /// Handle of package states.
    pub pc: u64,
    /// Handle of core states.
    pub cc: u64,
}
crate::layout!(CxStat, 56, {nr @ 0, last @ 4, idle_time @ 8, triggers @ 16, residencies @ 24, nr_pc @ 32, nr_cc @ 36, pc @ 40, cc @ 48});

/// Arguments of `XEN_SYSCTL_GET_PMSTAT`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetPmStat {
    /// `PMSTAT_*`.
    pub type_: u32,
    /// CPU.
    pub cpuid: u32,
    /// [`PxStat`] or [`CxStat`].
    pub u: [u64; 7],
}
crate::layout!(GetPmStat, 64, {type_ @ 0, cpuid @ 4, u @ 8});

/// Arguments of `XEN_SYSCTL_PM_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PmOp {
    /// `XEN_SYSCTL_PM_OP_*` or a cpufreq command.
    pub cmd: u32,
    /// CPU.
    pub cpuid: u32,
    /// The command's arguments.
    pub u: [u64; 14],
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 8],
}
crate::layout!(PmOp, 128, {cmd @ 0, cpuid @ 4, u @ 8});
/// Ask frequency scaling.
pub const GET_CPUFREQ_PARA: u32 = 0x11;
/// Set the governor.
pub const SET_CPUFREQ_GOV: u32 = 0x12;
/// Set a parameter.
pub const SET_CPUFREQ_PARA: u32 = 0x13;
/// Ask the average frequency.
pub const GET_CPUFREQ_AVGFREQ: u32 = 0x14;
/// Scheduler option for threads.
pub const XEN_SYSCTL_PM_OP_SET_SCHED_OPT_SMT: u32 = 0x21;
/// Ask the deepest C-state.
pub const XEN_SYSCTL_PM_OP_GET_MAX_CSTATE: u32 = 0x22;
/// Set the deepest C-state.
pub const XEN_SYSCTL_PM_OP_SET_MAX_CSTATE: u32 = 0x23;
/// Turbo on.
pub const XEN_SYSCTL_PM_OP_ENABLE_TURBO: u32 = 0x26;
/// Turbo off.
pub const XEN_SYSCTL_PM_OP_DISABLE_TURBO: u32 = 0x27;
/// No limit of C-states.
pub const XEN_SYSCTL_CX_UNLIMITED: u32 = 0xffff_ffff;
