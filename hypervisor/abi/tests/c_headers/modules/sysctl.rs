//! What the C headers must say about `oxen_abi::sysctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::sysctl as abi;
    constants!(table, abi;
        XEN_SYSCTL_INTERFACE_VERSION = "XEN_SYSCTL_INTERFACE_VERSION",
        SYSCTL_SIZE = "sizeof(xen_sysctl_t)",
        SYSCTL_U_OFFSET = "offsetof(xen_sysctl_t,u)",
        XEN_SYSCTL_READCONSOLE = "XEN_SYSCTL_readconsole",
        XEN_SYSCTL_TBUF_OP = "XEN_SYSCTL_tbuf_op",
        XEN_SYSCTL_PHYSINFO = "XEN_SYSCTL_physinfo",
        XEN_SYSCTL_SCHED_ID = "XEN_SYSCTL_sched_id",
        XEN_SYSCTL_PERFC_OP = "XEN_SYSCTL_perfc_op",
        XEN_SYSCTL_GETDOMAININFOLIST = "XEN_SYSCTL_getdomaininfolist",
        XEN_SYSCTL_DEBUG_KEYS = "XEN_SYSCTL_debug_keys",
        XEN_SYSCTL_GETCPUINFO = "XEN_SYSCTL_getcpuinfo",
        XEN_SYSCTL_AVAILHEAP = "XEN_SYSCTL_availheap",
        XEN_SYSCTL_GET_PMSTAT = "XEN_SYSCTL_get_pmstat",
        XEN_SYSCTL_CPU_HOTPLUG = "XEN_SYSCTL_cpu_hotplug",
        XEN_SYSCTL_PM_OP = "XEN_SYSCTL_pm_op",
        XEN_SYSCTL_PAGE_OFFLINE_OP = "XEN_SYSCTL_page_offline_op",
        XEN_SYSCTL_LOCKPROF_OP = "XEN_SYSCTL_lockprof_op",
        XEN_SYSCTL_CPUTOPOINFO = "XEN_SYSCTL_cputopoinfo",
        XEN_SYSCTL_NUMAINFO = "XEN_SYSCTL_numainfo",
        XEN_SYSCTL_CPUPOOL_OP = "XEN_SYSCTL_cpupool_op",
        XEN_SYSCTL_SCHEDULER_OP = "XEN_SYSCTL_scheduler_op",
        XEN_SYSCTL_COVERAGE_OP = "XEN_SYSCTL_coverage_op",
        XEN_SYSCTL_PSR_CMT_OP = "XEN_SYSCTL_psr_cmt_op",
        XEN_SYSCTL_PCITOPOINFO = "XEN_SYSCTL_pcitopoinfo",
        XEN_SYSCTL_PSR_ALLOC = "XEN_SYSCTL_psr_alloc",
        XEN_SYSCTL_GET_CPU_LEVELLING_CAPS = "XEN_SYSCTL_get_cpu_levelling_caps",
        XEN_SYSCTL_GET_CPU_FEATURESET = "XEN_SYSCTL_get_cpu_featureset",
        XEN_SYSCTL_LIVEPATCH_OP = "XEN_SYSCTL_livepatch_op",
        XEN_SYSCTL_GET_CPU_POLICY = "XEN_SYSCTL_get_cpu_policy",
    );
    structs!(table, abi::Sysctl, "struct xen_sysctl";
        cmd = "cmd",
        interface_version = "interface_version",
        u = "u",
    );
}
