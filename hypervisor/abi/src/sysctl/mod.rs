//! System control by the toolstack (sysctl.h), interface version 0x15.
//!
//! A call passes a [`Sysctl`]; `u` holds the bytes of the sub-operation's struct from its start.

use zerocopy::{FromBytes, Immutable, IntoBytes};

mod cpu;
mod info;
mod pm;
mod sched;

pub use cpu::*;
pub use info::*;
pub use pm::*;
pub use sched::*;

/// What every `Sysctl` starts with; the sub-operation follows at [`SYSCTL_U_OFFSET`].
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SysctlHeader {
    /// `XEN_SYSCTL_*`.
    pub cmd: u32,
    /// [`XEN_SYSCTL_INTERFACE_VERSION`].
    pub interface_version: u32,
}
crate::layout!(SysctlHeader, 8, {cmd @ 0, interface_version @ 4});
/// The version that this module describes.
pub const XEN_SYSCTL_INTERFACE_VERSION: u32 = 0x15;
/// Bytes of a whole `Sysctl`.
pub const SYSCTL_SIZE: usize = 136;
/// Where the sub-operation starts.
pub const SYSCTL_U_OFFSET: usize = 8;

/// A whole call.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Sysctl {
    /// `XEN_SYSCTL_*`.
    pub cmd: u32,
    /// [`XEN_SYSCTL_INTERFACE_VERSION`].
    pub interface_version: u32,
    /// The sub-operation.
    pub u: [u64; 16],
}
crate::layout!(Sysctl, 136, {cmd @ 0, interface_version @ 4, u @ 8});

// Commands.
/// Read the console ring: [`ReadConsole`].
pub const XEN_SYSCTL_READCONSOLE: u32 = 1;
/// Trace buffers: [`TbufOp`].
pub const XEN_SYSCTL_TBUF_OP: u32 = 2;
/// Ask about the machine: [`PhysInfo`].
pub const XEN_SYSCTL_PHYSINFO: u32 = 3;
/// Ask the scheduler: [`SchedId`].
pub const XEN_SYSCTL_SCHED_ID: u32 = 4;
/// Performance counters: [`PerfcOp`].
pub const XEN_SYSCTL_PERFC_OP: u32 = 5;
/// Ask about domains: [`GetDomainInfoList`].
pub const XEN_SYSCTL_GETDOMAININFOLIST: u32 = 6;
/// Press debug keys: [`DebugKeys`].
pub const XEN_SYSCTL_DEBUG_KEYS: u32 = 7;
/// Ask idle times: [`GetCpuInfo`].
pub const XEN_SYSCTL_GETCPUINFO: u32 = 8;
/// Ask free memory: [`AvailHeap`].
pub const XEN_SYSCTL_AVAILHEAP: u32 = 9;
/// Power statistics: [`GetPmStat`].
pub const XEN_SYSCTL_GET_PMSTAT: u32 = 10;
/// CPUs on- and offline: [`CpuHotplug`].
pub const XEN_SYSCTL_CPU_HOTPLUG: u32 = 11;
/// Power control: [`PmOp`].
pub const XEN_SYSCTL_PM_OP: u32 = 12;
/// Take frames out of use: [`PageOfflineOp`].
pub const XEN_SYSCTL_PAGE_OFFLINE_OP: u32 = 14;
/// Lock profile.
pub const XEN_SYSCTL_LOCKPROF_OP: u32 = 15;
/// Ask CPUs' cores, sockets, nodes: [`CpuTopoInfo`].
pub const XEN_SYSCTL_CPUTOPOINFO: u32 = 16;
/// Ask NUMA nodes: [`NumaInfo`].
pub const XEN_SYSCTL_NUMAINFO: u32 = 17;
/// CPU pools: [`CpupoolOp`].
pub const XEN_SYSCTL_CPUPOOL_OP: u32 = 18;
/// Scheduler's parameters: [`SchedulerOp`].
pub const XEN_SYSCTL_SCHEDULER_OP: u32 = 19;
/// Coverage.
pub const XEN_SYSCTL_COVERAGE_OP: u32 = 20;
/// Cache monitoring.
pub const XEN_SYSCTL_PSR_CMT_OP: u32 = 21;
/// Ask devices' nodes: [`PciTopoInfo`].
pub const XEN_SYSCTL_PCITOPOINFO: u32 = 22;
/// Cache allocation.
pub const XEN_SYSCTL_PSR_ALLOC: u32 = 23;
/// Ask what CPUID masking can do: [`CpuLevellingCaps`].
pub const XEN_SYSCTL_GET_CPU_LEVELLING_CAPS: u32 = 25;
/// Ask feature sets: [`CpuFeatureset`].
pub const XEN_SYSCTL_GET_CPU_FEATURESET: u32 = 26;
/// Live patching.
pub const XEN_SYSCTL_LIVEPATCH_OP: u32 = 27;
/// Ask CPU policies: [`CpuPolicy`].
pub const XEN_SYSCTL_GET_CPU_POLICY: u32 = 29;
