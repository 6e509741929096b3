//! The scheduler and CPU pools.

use crate::xen::CtlBitmap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Answer of `XEN_SYSCTL_SCHED_ID`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SchedId {
    /// `XEN_SCHEDULER_*` (domctl).
    pub sched_id: u32,
}
crate::layout!(SchedId, 4, {sched_id @ 0});

/// Arguments of `XEN_SYSCTL_CPUPOOL_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpupoolOp {
    /// `XEN_SYSCTL_CPUPOOL_OP_*`.
    pub op: u32,
    /// In and out: pool.
    pub cpupool_id: u32,
    /// In (create) and out (info): scheduler.
    pub sched_id: u32,
    /// Domain to move.
    pub domid: u32,
    /// CPU.
    pub cpu: u32,
    /// Out: domains of the pool.
    pub n_dom: u32,
    /// Out: CPUs.
    pub cpumap: CtlBitmap,
}
crate::layout!(CpupoolOp, 40, {op @ 0, cpupool_id @ 4, sched_id @ 8, domid @ 12, cpu @ 16, n_dom @ 20, cpumap @ 24});
/// Create.
pub const XEN_SYSCTL_CPUPOOL_OP_CREATE: u32 = 1;
/// Destroy.
pub const XEN_SYSCTL_CPUPOOL_OP_DESTROY: u32 = 2;
/// Ask a pool, or the next one.
pub const XEN_SYSCTL_CPUPOOL_OP_INFO: u32 = 3;
/// Add a CPU.
pub const XEN_SYSCTL_CPUPOOL_OP_ADDCPU: u32 = 4;
/// Remove a CPU.
pub const XEN_SYSCTL_CPUPOOL_OP_RMCPU: u32 = 5;
/// Move a domain.
pub const XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN: u32 = 6;
/// Ask CPUs in no pool.
pub const XEN_SYSCTL_CPUPOOL_OP_FREEINFO: u32 = 7;
/// Any.
pub const XEN_SYSCTL_CPUPOOL_PAR_ANY: u32 = 0xffff_ffff;

/// Parameters of credit.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CreditSchedule {
    /// Time slice.
    pub tslice_ms: u32,
    /// Shortest run.
    pub ratelimit_us: u32,
    /// Delay before a move.
    pub vcpu_migr_delay_us: u32,
}
crate::layout!(CreditSchedule, 12, {tslice_ms @ 0, ratelimit_us @ 4, vcpu_migr_delay_us @ 8});
/// Longest time slice.
pub const XEN_SYSCTL_CSCHED_TSLICE_MAX: u32 = 1000;
/// Shortest time slice.
pub const XEN_SYSCTL_CSCHED_TSLICE_MIN: u32 = 1;
/// Longest delay before a move.
pub const XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US: u32 = 100_000;
/// Longest rate limit in microseconds.
pub const XEN_SYSCTL_SCHED_RATELIMIT_MAX: u32 = 500_000;
/// Shortest rate limit that is not 0.
pub const XEN_SYSCTL_SCHED_RATELIMIT_MIN: u32 = 100;
/// Set.
pub const XEN_SYSCTL_SCHEDOP_PUTINFO: u32 = 0;
/// Ask.
pub const XEN_SYSCTL_SCHEDOP_GETINFO: u32 = 1;

/// Arguments of `XEN_SYSCTL_SCHEDULER_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SchedulerOp {
    /// Pool.
    pub cpupool_id: u32,
    /// `XEN_SCHEDULER_*` (domctl).
    pub sched_id: u32,
    /// `XEN_SYSCTL_SCHEDOP_*`.
    pub cmd: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// [`CreditSchedule`], for credit2 the rate limit (32 bits).
    pub u: [u64; 2],
}
crate::layout!(SchedulerOp, 32, {cpupool_id @ 0, sched_id @ 4, cmd @ 8, u @ 16});
