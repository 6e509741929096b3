//! Physical CPUs: idle time, topology, hot-plug, features, devices' nodes.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// One CPU's time.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuInfo {
    /// Nanoseconds idle.
    pub idletime: u64,
}
crate::layout!(CpuInfo, 8, {idletime @ 0});

/// Arguments of `XEN_SYSCTL_GETCPUINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetCpuInfo {
    /// Entries of the array.
    pub max_cpus: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`CpuInfo`].
    pub info: u64,
    /// Out: entries.
    pub nr_cpus: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
}
crate::layout!(GetCpuInfo, 24, {max_cpus @ 0, info @ 8, nr_cpus @ 16});

/// Arguments of `XEN_SYSCTL_CPU_HOTPLUG`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuHotplug {
    /// CPU.
    pub cpu: u32,
    /// `XEN_SYSCTL_CPU_HOTPLUG_*`.
    pub op: u32,
}
crate::layout!(CpuHotplug, 8, {cpu @ 0, op @ 4});
/// Online.
pub const XEN_SYSCTL_CPU_HOTPLUG_ONLINE: u32 = 0;
/// Offline.
pub const XEN_SYSCTL_CPU_HOTPLUG_OFFLINE: u32 = 1;
/// All sibling threads online.
pub const XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE: u32 = 2;
/// All sibling threads offline.
pub const XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE: u32 = 3;
/// No core.
pub const XEN_INVALID_CORE_ID: u32 = 0xffff_ffff;
/// No socket.
pub const XEN_INVALID_SOCKET_ID: u32 = 0xffff_ffff;
/// No node.
pub const XEN_INVALID_NODE_ID: u32 = 0xffff_ffff;
/// No such device.
pub const XEN_INVALID_DEV: u32 = 0xffff_fffe;

/// Where a CPU is.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuTopo {
    /// Core.
    pub core: u32,
    /// Socket.
    pub socket: u32,
    /// Node.
    pub node: u32,
}
crate::layout!(CpuTopo, 12, {core @ 0, socket @ 4, node @ 8});

/// Arguments of `XEN_SYSCTL_CPUTOPOINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuTopoInfo {
    /// In and out: entries.
    pub num_cpus: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`CpuTopo`].
    pub cputopo: u64,
}
crate::layout!(CpuTopoInfo, 16, {num_cpus @ 0, cputopo @ 8});

/// Arguments of `XEN_SYSCTL_PCITOPOINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PciTopoInfo {
    /// In and out: entries.
    pub num_devs: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`crate::physdev::PciDevice`].
    pub devs: u64,
    /// Handle of the nodes.
    pub nodes: u64,
}
crate::layout!(PciTopoInfo, 24, {num_devs @ 0, devs @ 8, nodes @ 16});

/// Answer of `XEN_SYSCTL_GET_CPU_LEVELLING_CAPS`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuLevellingCaps {
    /// `XEN_SYSCTL_CPU_LEVELCAP_*`.
    pub caps: u32,
}
crate::layout!(CpuLevellingCaps, 4, {caps @ 0});
/// CPUID faults.
pub const XEN_SYSCTL_CPU_LEVELCAP_FAULTING: u32 = 0x1;
/// Leaf 1 ECX.
pub const XEN_SYSCTL_CPU_LEVELCAP_ECX: u32 = 0x2;
/// Leaf 1 EDX.
pub const XEN_SYSCTL_CPU_LEVELCAP_EDX: u32 = 0x4;
/// Leaf 0x80000001 ECX.
pub const XEN_SYSCTL_CPU_LEVELCAP_EXTD_ECX: u32 = 0x8;
/// Leaf 0x80000001 EDX.
pub const XEN_SYSCTL_CPU_LEVELCAP_EXTD_EDX: u32 = 0x10;
/// Leaf 0xd, 1 EAX.
pub const XEN_SYSCTL_CPU_LEVELCAP_XSAVE_EAX: u32 = 0x20;
/// Leaf 6 ECX.
pub const XEN_SYSCTL_CPU_LEVELCAP_THERMAL_ECX: u32 = 0x40;
/// Leaf 7, 0 EAX.
pub const XEN_SYSCTL_CPU_LEVELCAP_L7S0_EAX: u32 = 0x80;
/// Leaf 7, 0 EBX.
pub const XEN_SYSCTL_CPU_LEVELCAP_L7S0_EBX: u32 = 0x100;

/// Arguments of `XEN_SYSCTL_GET_CPU_FEATURESET`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuFeatureset {
    /// `XEN_SYSCTL_CPU_FEATURESET_*`.
    pub index: u32,
    /// In and out: words.
    pub nr_features: u32,
    /// Handle of the words.
    pub features: u64,
}
crate::layout!(CpuFeatureset, 16, {index @ 0, nr_features @ 4, features @ 8});
/// The CPU's.
pub const XEN_SYSCTL_CPU_FEATURESET_RAW: u32 = 0;
/// The host's.
pub const XEN_SYSCTL_CPU_FEATURESET_HOST: u32 = 1;
/// PV guests' default.
pub const XEN_SYSCTL_CPU_FEATURESET_PV: u32 = 2;
/// HVM guests' default.
pub const XEN_SYSCTL_CPU_FEATURESET_HVM: u32 = 3;
/// PV guests' most.
pub const XEN_SYSCTL_CPU_FEATURESET_PV_MAX: u32 = 4;
/// HVM guests' most.
pub const XEN_SYSCTL_CPU_FEATURESET_HVM_MAX: u32 = 5;

/// Arguments of `XEN_SYSCTL_GET_CPU_POLICY`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuPolicy {
    /// `XEN_SYSCTL_CPU_POLICY_*`.
    pub index: u32,
    /// In and out: CPUID leaves.
    pub nr_leaves: u32,
    /// In and out: MSRs.
    pub nr_msrs: u32,
    /// Zero.
    pub _rsvd: u32,
    /// Handle of [`crate::arch_x86::CpuidLeaf`].
    pub leaves: u64,
    /// Handle of [`crate::arch_x86::MsrEntry`].
    pub msrs: u64,
}
crate::layout!(CpuPolicy, 32, {index @ 0, nr_leaves @ 4, nr_msrs @ 8, _rsvd @ 12, leaves @ 16, msrs @ 24});
/// The CPU's.
pub const XEN_SYSCTL_CPU_POLICY_RAW: u32 = 0;
/// The host's.
pub const XEN_SYSCTL_CPU_POLICY_HOST: u32 = 1;
/// PV guests' most.
pub const XEN_SYSCTL_CPU_POLICY_PV_MAX: u32 = 2;
/// HVM guests' most.
pub const XEN_SYSCTL_CPU_POLICY_HVM_MAX: u32 = 3;
/// PV guests' default.
pub const XEN_SYSCTL_CPU_POLICY_PV_DEFAULT: u32 = 4;
/// HVM guests' default.
pub const XEN_SYSCTL_CPU_POLICY_HVM_DEFAULT: u32 = 5;
