//! Scheduling parameters of a domain.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Credit.
pub const XEN_SCHEDULER_CREDIT: u32 = 5;
/// Credit2.
pub const XEN_SCHEDULER_CREDIT2: u32 = 6;
/// ARINC 653.
pub const XEN_SCHEDULER_ARINC653: u32 = 7;
/// Real-time deferrable server.
pub const XEN_SCHEDULER_RTDS: u32 = 8;
/// Null.
pub const XEN_SCHEDULER_NULL: u32 = 9;

/// Parameters of credit and credit2.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SchedCredit {
    /// Weight.
    pub weight: u16,
    /// Most per cent of a CPU, 0: no limit.
    pub cap: u16,
}
crate::layout!(SchedCredit, 4, {weight @ 0, cap @ 2});

/// Parameters of the real-time scheduler.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SchedRtds {
    /// Period in microseconds.
    pub period: u32,
    /// Budget in microseconds.
    pub budget: u32,
    /// `XEN_DOMCTL_SCHEDRT_EXTRA` or 0.
    pub flags: u32,
}
crate::layout!(SchedRtds, 12, {period @ 0, budget @ 4, flags @ 8});
/// May use spare time.
pub const XEN_DOMCTL_SCHEDRT_EXTRA: u32 = 0x1;

/// Parameters of one vCPU.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SchedParamVcpu {
    /// [`SchedCredit`] or [`SchedRtds`].
    pub u: [u32; 3],
    /// The vCPU.
    pub vcpuid: u32,
}
crate::layout!(SchedParamVcpu, 16, {u @ 0, vcpuid @ 12});
/// Set the domain's.
pub const XEN_DOMCTL_SCHEDOP_PUTINFO: u32 = 0;
/// Ask the domain's.
pub const XEN_DOMCTL_SCHEDOP_GETINFO: u32 = 1;
/// Set vCPUs'.
pub const XEN_DOMCTL_SCHEDOP_PUTVCPUINFO: u32 = 2;
/// Ask vCPUs'.
pub const XEN_DOMCTL_SCHEDOP_GETVCPUINFO: u32 = 3;

/// Arguments of `XEN_DOMCTL_SCHEDULER_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SchedulerOp {
    /// `XEN_SCHEDULER_*`.
    pub sched_id: u32,
    /// `XEN_DOMCTL_SCHEDOP_*`.
    pub cmd: u32,
    /// [`SchedCredit`], [`SchedRtds`] or [`SchedVcpus`].
    pub u: [u64; 2],
}
crate::layout!(SchedulerOp, 24, {sched_id @ 0, cmd @ 4, u @ 8});

/// `SchedulerOp::u` of the vCPU commands.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SchedVcpus {
    /// Handle of [`SchedParamVcpu`].
    pub vcpus: u64,
    /// In and out: entries.
    pub nr_vcpus: u32,
    /// Zero.
    pub padding: u32,
}
crate::layout!(SchedVcpus, 16, {vcpus @ 0, nr_vcpus @ 8, padding @ 12});
