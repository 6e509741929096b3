//! What the C headers must say about `oxen_abi::sysctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::sysctl as abi;
    constants!(table, abi;
        XEN_SYSCTL_CPU_HOTPLUG_ONLINE = "XEN_SYSCTL_CPU_HOTPLUG_ONLINE",
        XEN_SYSCTL_CPU_HOTPLUG_OFFLINE = "XEN_SYSCTL_CPU_HOTPLUG_OFFLINE",
        XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE = "XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE",
        XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE = "XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE",
        XEN_INVALID_CORE_ID = "XEN_INVALID_CORE_ID",
        XEN_INVALID_SOCKET_ID = "XEN_INVALID_SOCKET_ID",
        XEN_INVALID_NODE_ID = "XEN_INVALID_NODE_ID",
        XEN_INVALID_DEV = "XEN_INVALID_DEV",
        XEN_SYSCTL_CPU_LEVELCAP_FAULTING = "XEN_SYSCTL_CPU_LEVELCAP_faulting",
        XEN_SYSCTL_CPU_LEVELCAP_ECX = "XEN_SYSCTL_CPU_LEVELCAP_ecx",
        XEN_SYSCTL_CPU_LEVELCAP_EDX = "XEN_SYSCTL_CPU_LEVELCAP_edx",
        XEN_SYSCTL_CPU_LEVELCAP_EXTD_ECX = "XEN_SYSCTL_CPU_LEVELCAP_extd_ecx",
        XEN_SYSCTL_CPU_LEVELCAP_EXTD_EDX = "XEN_SYSCTL_CPU_LEVELCAP_extd_edx",
        XEN_SYSCTL_CPU_LEVELCAP_XSAVE_EAX = "XEN_SYSCTL_CPU_LEVELCAP_xsave_eax",
        XEN_SYSCTL_CPU_LEVELCAP_THERMAL_ECX = "XEN_SYSCTL_CPU_LEVELCAP_thermal_ecx",
        XEN_SYSCTL_CPU_LEVELCAP_L7S0_EAX = "XEN_SYSCTL_CPU_LEVELCAP_l7s0_eax",
        XEN_SYSCTL_CPU_LEVELCAP_L7S0_EBX = "XEN_SYSCTL_CPU_LEVELCAP_l7s0_ebx",
        XEN_SYSCTL_CPU_FEATURESET_RAW = "XEN_SYSCTL_cpu_featureset_raw",
        XEN_SYSCTL_CPU_FEATURESET_HOST = "XEN_SYSCTL_cpu_featureset_host",
        XEN_SYSCTL_CPU_FEATURESET_PV = "XEN_SYSCTL_cpu_featureset_pv",
        XEN_SYSCTL_CPU_FEATURESET_HVM = "XEN_SYSCTL_cpu_featureset_hvm",
        XEN_SYSCTL_CPU_FEATURESET_PV_MAX = "XEN_SYSCTL_cpu_featureset_pv_max",
        XEN_SYSCTL_CPU_FEATURESET_HVM_MAX = "XEN_SYSCTL_cpu_featureset_hvm_max",
        XEN_SYSCTL_CPU_POLICY_RAW = "XEN_SYSCTL_cpu_policy_raw",
        XEN_SYSCTL_CPU_POLICY_HOST = "XEN_SYSCTL_cpu_policy_host",
        XEN_SYSCTL_CPU_POLICY_PV_MAX = "XEN_SYSCTL_cpu_policy_pv_max",
        XEN_SYSCTL_CPU_POLICY_HVM_MAX = "XEN_SYSCTL_cpu_policy_hvm_max",
        XEN_SYSCTL_CPU_POLICY_PV_DEFAULT = "XEN_SYSCTL_cpu_policy_pv_default",
        XEN_SYSCTL_CPU_POLICY_HVM_DEFAULT = "XEN_SYSCTL_cpu_policy_hvm_default",
    );
    structs!(table, abi::CpuInfo, "struct xen_sysctl_cpuinfo";
        idletime = "idletime",
    );
    structs!(table, abi::GetCpuInfo, "struct xen_sysctl_getcpuinfo";
        max_cpus = "max_cpus",
        info = "info",
        nr_cpus = "nr_cpus",
    );
    structs!(table, abi::CpuHotplug, "struct xen_sysctl_cpu_hotplug";
        cpu = "cpu",
        op = "op",
    );
    structs!(table, abi::CpuTopo, "struct xen_sysctl_cputopo";
        core = "core",
        socket = "socket",
        node = "node",
    );
    structs!(table, abi::CpuTopoInfo, "struct xen_sysctl_cputopoinfo";
        num_cpus = "num_cpus",
        cputopo = "cputopo",
    );
    structs!(table, abi::PciTopoInfo, "struct xen_sysctl_pcitopoinfo";
        num_devs = "num_devs",
        devs = "devs",
        nodes = "nodes",
    );
    structs!(table, abi::CpuLevellingCaps, "struct xen_sysctl_cpu_levelling_caps";
        caps = "caps",
    );
    structs!(table, abi::CpuFeatureset, "struct xen_sysctl_cpu_featureset";
        index = "index",
        nr_features = "nr_features",
        features = "features",
    );
    structs!(table, abi::CpuPolicy, "struct xen_sysctl_cpu_policy";
        index = "index",
        nr_leaves = "nr_leaves",
        nr_msrs = "nr_msrs",
        _rsvd = "_rsvd",
        leaves = "leaves",
        msrs = "msrs",
    );
}
