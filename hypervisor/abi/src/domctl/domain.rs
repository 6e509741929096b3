//! Creation, state and identity of a domain.

use crate::arch_x86::ArchDomainConfig;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Arguments of `XEN_DOMCTL_CREATEDOMAIN`; the header's domain is the id wanted, 0 or
/// `DOMID_FIRST_RESERVED` and above: any. Out: the id.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CreateDomain {
    /// Security label.
    pub ssidref: u32,
    /// UUID.
    pub handle: [u8; 16],
    /// `XEN_DOMCTL_CDF_*`.
    pub flags: u32,
    /// `XEN_DOMCTL_IOMMU_*`.
    pub iommu_opts: u32,
    /// Number of vCPUs.
    pub max_vcpus: u32,
    /// Highest event channel port, 0xffffffff: no limit.
    pub max_evtchn_port: u32,
    /// Most grant frames, negative: default.
    pub max_grant_frames: i32,
    /// Most maptrack frames, negative: default.
    pub max_maptrack_frames: i32,
    /// Highest grant table version, in bits 0 to 3.
    pub grant_opts: u32,
    /// Bytes of the trace buffer of a vCPU.
    pub vmtrace_size: u32,
    /// CPU pool.
    pub cpupool_id: u32,
    /// x86 part.
    pub arch: ArchDomainConfig,
}
crate::layout!(CreateDomain, 64, {ssidref @ 0, handle @ 4, flags @ 20, iommu_opts @ 24, max_vcpus @ 28, max_evtchn_port @ 32, max_grant_frames @ 36, max_maptrack_frames @ 40, grant_opts @ 44, vmtrace_size @ 48, cpupool_id @ 52, arch @ 56});
/// HVM.
pub const XEN_DOMCTL_CDF_HVM: u32 = 0x1;
/// Nested paging.
pub const XEN_DOMCTL_CDF_HAP: u32 = 0x2;
/// S3 integrity.
pub const XEN_DOMCTL_CDF_S3_INTEGRITY: u32 = 0x4;
/// No out-of-sync shadows.
pub const XEN_DOMCTL_CDF_OOS_OFF: u32 = 0x8;
/// The domain is xenstore's.
pub const XEN_DOMCTL_CDF_XS_DOMAIN: u32 = 0x10;
/// Devices may be assigned.
pub const XEN_DOMCTL_CDF_IOMMU: u32 = 0x20;
/// Nested virtualisation.
pub const XEN_DOMCTL_CDF_NESTED_VIRT: u32 = 0x40;
/// Performance counters.
pub const XEN_DOMCTL_CDF_VPMU: u32 = 0x80;
/// The highest flag.
pub const XEN_DOMCTL_CDF_MAX: u32 = 0x80;
/// Do not share page tables with the IOMMU.
pub const XEN_DOMCTL_IOMMU_NO_SHAREPT: u32 = 0x1;
/// `grant_opts`: bits of the version.
pub const XEN_DOMCTL_GRANT_VERSION_MASK: u32 = 0xf;

/// Answer of `XEN_DOMCTL_GETDOMAININFO`: the domain of the header or the next higher one.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetDomainInfo {
    /// The domain.
    pub domain: u16,
    /// Zero.
    pub pad1: u16,
    /// `XEN_DOMINF_*`; the shutdown reason from bit 16.
    pub flags: u32,
    /// Pages it has.
    pub tot_pages: u64,
    /// Pages it may have.
    pub max_pages: u64,
    /// Pages claimed.
    pub outstanding_pages: u64,
    /// Pages shared.
    pub shr_pages: u64,
    /// Pages paged out.
    pub paged_pages: u64,
    /// Frame of the shared page.
    pub shared_info_frame: u64,
    /// Nanoseconds of CPU time.
    pub cpu_time: u64,
    /// vCPUs up.
    pub nr_online_vcpus: u32,
    /// Highest vCPU, or [`XEN_INVALID_MAX_VCPU_ID`].
    pub max_vcpu_id: u32,
    /// Security label.
    pub ssidref: u32,
    /// UUID.
    pub handle: [u8; 16],
    /// CPU pool.
    pub cpupool: u32,
    /// Bits of guest physical addresses.
    pub gpaddr_bits: u8,
    /// Zero.
    pub pad2: [u8; 7],
    /// x86 part.
    pub arch_config: ArchDomainConfig,
}
crate::layout!(GetDomainInfo, 112, {domain @ 0, pad1 @ 2, flags @ 4, tot_pages @ 8, max_pages @ 16, outstanding_pages @ 24, shr_pages @ 32, paged_pages @ 40, shared_info_frame @ 48, cpu_time @ 56, nr_online_vcpus @ 64, max_vcpu_id @ 68, ssidref @ 72, handle @ 76, cpupool @ 92, gpaddr_bits @ 96, pad2 @ 97, arch_config @ 104});
/// Being destroyed.
pub const XEN_DOMINF_DYING: u32 = 0x1;
/// HVM.
pub const XEN_DOMINF_HVM_GUEST: u32 = 0x2;
/// Shut down.
pub const XEN_DOMINF_SHUTDOWN: u32 = 0x4;
/// Paused.
pub const XEN_DOMINF_PAUSED: u32 = 0x8;
/// Blocked.
pub const XEN_DOMINF_BLOCKED: u32 = 0x10;
/// Running.
pub const XEN_DOMINF_RUNNING: u32 = 0x20;
/// Under a debugger.
pub const XEN_DOMINF_DEBUGGED: u32 = 0x40;
/// xenstore's.
pub const XEN_DOMINF_XS_DOMAIN: u32 = 0x80;
/// Nested paging.
pub const XEN_DOMINF_HAP: u32 = 0x100;
/// Bits of the shutdown reason, once shifted.
pub const XEN_DOMINF_SHUTDOWNMASK: u32 = 0xff;
/// No vCPUs.
pub const XEN_INVALID_MAX_VCPU_ID: u32 = 0xffff_ffff;
/// Shift of the shutdown reason.
pub const XEN_DOMINF_SHUTDOWNSHIFT: u32 = 16;

/// Arguments of `XEN_DOMCTL_SETDOMAINHANDLE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetDomainHandle {
    /// UUID.
    pub handle: [u8; 16],
}
crate::layout!(SetDomainHandle, 16, {handle @ 0});

/// Arguments of `XEN_DOMCTL_SETDEBUGGING`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetDebugging {
    /// 1: a debugger is attached.
    pub enable: u8,
}
crate::layout!(SetDebugging, 1, {enable @ 0});

/// Arguments of `XEN_DOMCTL_HYPERCALL_INIT`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct HypercallInit {
    /// Frame to fill.
    pub gmfn: u64,
}
crate::layout!(HypercallInit, 8, {gmfn @ 0});

/// Arguments of `XEN_DOMCTL_SETTIMEOFFSET`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetTimeOffset {
    /// Seconds from UTC.
    pub time_offset_seconds: i64,
}
crate::layout!(SetTimeOffset, 8, {time_offset_seconds @ 0});

/// Arguments of `XEN_DOMCTL_SET_TARGET`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetTarget {
    /// The domain.
    pub target: u16,
}
crate::layout!(SetTarget, 2, {target @ 0});

/// Arguments of `XEN_DOMCTL_SET_VIRQ_HANDLER`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetVirqHandler {
    /// Global VIRQ.
    pub virq: u32,
}
crate::layout!(SetVirqHandler, 4, {virq @ 0});
