//! The machine-check interface (arch-x86/xen-mca.h), hypercall `HYPERVISOR_ARCH_0`.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The version that this module describes.
pub const XEN_MCA_INTERFACE_VERSION: u32 = 0x1ec_c003;
/// Fetch a record: [`McFetch`].
pub const XEN_MC_FETCH: u32 = 1;
/// Notify a domain.
pub const XEN_MC_NOTIFYDOMAIN: u32 = 2;
/// Ask about CPUs: [`McPhysCpuInfo`].
pub const XEN_MC_PHYSCPUINFO: u32 = 3;
/// Inject MSR values.
pub const XEN_MC_MSRINJECT: u32 = 4;
/// Inject a machine check.
pub const XEN_MC_MCEINJECT: u32 = 5;
/// Inject, with a CPU map.
pub const XEN_MC_INJECT_V2: u32 = 6;
/// Fetch: records that are not urgent.
pub const XEN_MC_NONURGENT: u32 = 0x1;
/// Fetch: urgent records.
pub const XEN_MC_URGENT: u32 = 0x2;
/// Fetch: acknowledge.
pub const XEN_MC_ACK: u32 = 0x4;
/// Out: done.
pub const XEN_MC_OK: u32 = 0x0;
/// Out: fetch failed.
pub const XEN_MC_FETCHFAILED: u32 = 0x1;
/// Out: nothing there.
pub const XEN_MC_NODATA: u32 = 0x2;
/// Out: no match.
pub const XEN_MC_NOMATCH: u32 = 0x4;
/// Out: cannot be handled.
pub const XEN_MC_CANNOTHANDLE: u32 = 0x8;
/// Out: not delivered.
pub const XEN_MC_NOTDELIVERED: u32 = 0x10;

/// Arguments of `XEN_MC_FETCH`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct McFetch {
    /// In: kind; out: result.
    pub flags: u32,
    /// Zero.
    pub _pad0: u32,
    /// Out, and in for acknowledging: id.
    pub fetch_id: u64,
    /// Handle of [`McInfo`].
    pub data: u64,
}
crate::layout!(McFetch, 24, {flags @ 0, _pad0 @ 4, fetch_id @ 8, data @ 16});

/// Arguments of `XEN_MC_PHYSCPUINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct McPhysCpuInfo {
    /// In and out: entries.
    pub ncpus: u32,
    /// Zero.
    pub _pad0: u32,
    /// Handle of [`McLogicalCpu`], 0: ask the number only.
    pub info: u64,
}
crate::layout!(McPhysCpuInfo, 16, {ncpus @ 0, _pad0 @ 4, info @ 8});

/// An MSR.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct McMsr {
    /// Number.
    pub reg: u64,
    /// Value.
    pub value: u64,
}
crate::layout!(McMsr, 16, {reg @ 0, value @ 8});

/// A CPU.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct McLogicalCpu {
    /// CPU.
    pub mc_cpunr: u32,
    /// Package.
    pub mc_chipid: u32,
    /// Core.
    pub mc_coreid: u16,
    /// Thread.
    pub mc_threadid: u16,
    /// APIC id.
    pub mc_apicid: u32,
    /// Cluster.
    pub mc_clusterid: u32,
    /// Cores.
    pub mc_ncores: u32,
    /// Active cores.
    pub mc_ncores_active: u32,
    /// Threads.
    pub mc_nthreads: u32,
    /// Highest CPUID leaf.
    pub mc_cpuid_level: i32,
    /// Family.
    pub mc_family: u32,
    /// Vendor.
    pub mc_vendor: u32,
    /// Model.
    pub mc_model: u32,
    /// Stepping.
    pub mc_step: u32,
    /// Vendor's name.
    pub mc_vendorid: [u8; 16],
    /// Brand.
    pub mc_brandid: [u8; 64],
    /// Capabilities.
    pub mc_cpu_caps: [u32; 7],
    /// Cache size.
    pub mc_cache_size: u32,
    /// Cache alignment.
    pub mc_cache_alignment: u32,
    /// MSRs.
    pub mc_nmsrvals: i32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// MSR values.
    pub mc_msrvalues: [McMsr; 8],
}
crate::zeroed_default!(McLogicalCpu);
crate::layout!(McLogicalCpu, 304, {mc_cpunr @ 0, mc_chipid @ 4, mc_coreid @ 8, mc_threadid @ 10, mc_apicid @ 12, mc_clusterid @ 16, mc_ncores @ 20, mc_ncores_active @ 24, mc_nthreads @ 28, mc_cpuid_level @ 32, mc_family @ 36, mc_vendor @ 40, mc_model @ 44, mc_step @ 48, mc_vendorid @ 52, mc_brandid @ 68, mc_cpu_caps @ 132, mc_cache_size @ 160, mc_cache_alignment @ 164, mc_nmsrvals @ 168, mc_msrvalues @ 176});

/// Entry of [`McInfo`]: [`McInfoGlobal`].
pub const MC_TYPE_GLOBAL: u16 = 0;
/// Entry of [`McInfo`]: [`McInfoBank`].
pub const MC_TYPE_BANK: u16 = 1;
/// Flag of a record: the error was corrected.
pub const MC_FLAG_CORRECTABLE: u32 = 1 << 0;
/// Flag of a record: it was not.
pub const MC_FLAG_UNCORRECTABLE: u32 = 1 << 1;
/// Flag of a record: found by looking for it.
pub const MC_FLAG_POLLED: u32 = 1 << 3;

/// Where a machine check was.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct McInfoGlobal {
    /// [`MC_TYPE_GLOBAL`].
    pub type_: u16,
    /// Bytes of this entry.
    pub size: u16,
    /// Domain that ran.
    pub mc_domid: u16,
    /// Its vCPU.
    pub mc_vcpuid: u16,
    /// Package.
    pub mc_socketid: u32,
    /// Core.
    pub mc_coreid: u16,
    /// Thread.
    pub mc_core_threadid: u16,
    /// APIC id.
    pub mc_apicid: u32,
    /// `MC_FLAG_*`.
    pub mc_flags: u32,
    /// IA32_MCG_STATUS.
    pub mc_gstatus: u64,
}
crate::layout!(McInfoGlobal, 32, {type_ @ 0, size @ 2, mc_domid @ 4, mc_vcpuid @ 6, mc_socketid @ 8, mc_coreid @ 12, mc_core_threadid @ 14, mc_apicid @ 16, mc_flags @ 20, mc_gstatus @ 24});

/// What a bank said.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct McInfoBank {
    /// [`MC_TYPE_BANK`].
    pub type_: u16,
    /// Bytes of this entry.
    pub size: u16,
    /// Number of the bank.
    pub mc_bank: u16,
    /// Domain to which the address belongs.
    pub mc_domid: u16,
    /// MCi_STATUS.
    pub mc_status: u64,
    /// MCi_ADDR.
    pub mc_addr: u64,
    /// MCi_MISC.
    pub mc_misc: u64,
    /// MCi_CTL2.
    pub mc_ctrl2: u64,
    /// TSC.
    pub mc_tsc: u64,
}
crate::layout!(McInfoBank, 48, {type_ @ 0, size @ 2, mc_bank @ 4, mc_domid @ 6, mc_status @ 8, mc_addr @ 16, mc_misc @ 24, mc_ctrl2 @ 32, mc_tsc @ 40});

/// Records of a machine check.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct McInfo {
    /// Entries.
    pub mi_nentries: u32,
    /// Flags.
    pub flags: u32,
    /// The entries.
    pub mi_data: [u64; 95],
}
crate::zeroed_default!(McInfo);
crate::layout!(McInfo, 768, {mi_nentries @ 0, flags @ 4, mi_data @ 8});

/// A whole call.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Mc {
    /// `XEN_MC_*`.
    pub cmd: u32,
    /// [`XEN_MCA_INTERFACE_VERSION`].
    pub interface_version: u32,
    /// The sub-operation.
    pub u: [u64; 18],
}
crate::layout!(Mc, 152, {cmd @ 0, interface_version @ 4, u @ 8});
