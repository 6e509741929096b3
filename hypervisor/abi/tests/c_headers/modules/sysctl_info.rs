//! What the C headers must say about `oxen_abi::sysctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::sysctl as abi;
    constants!(table, abi;
        XEN_SYSCTL_PHYSCAP_HVM = "XEN_SYSCTL_PHYSCAP_hvm",
        XEN_SYSCTL_PHYSCAP_PV = "XEN_SYSCTL_PHYSCAP_pv",
        XEN_SYSCTL_PHYSCAP_DIRECTIO = "XEN_SYSCTL_PHYSCAP_directio",
        XEN_SYSCTL_PHYSCAP_HAP = "XEN_SYSCTL_PHYSCAP_hap",
        XEN_SYSCTL_PHYSCAP_SHADOW = "XEN_SYSCTL_PHYSCAP_shadow",
        XEN_SYSCTL_PHYSCAP_IOMMU_HAP_PT_SHARE = "XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share",
        XEN_SYSCTL_PHYSCAP_VMTRACE = "XEN_SYSCTL_PHYSCAP_vmtrace",
        XEN_SYSCTL_PHYSCAP_VPMU = "XEN_SYSCTL_PHYSCAP_vpmu",
        XEN_SYSCTL_PHYSCAP_GNTTAB_V1 = "XEN_SYSCTL_PHYSCAP_gnttab_v1",
        XEN_SYSCTL_PHYSCAP_GNTTAB_V2 = "XEN_SYSCTL_PHYSCAP_gnttab_v2",
        XEN_INVALID_MEM_SZ = "XEN_INVALID_MEM_SZ",
        XEN_INVALID_NODE_DIST = "XEN_INVALID_NODE_DIST",
        XEN_SYSCTL_TBUFOP_GET_INFO = "XEN_SYSCTL_TBUFOP_get_info",
        XEN_SYSCTL_TBUFOP_SET_CPU_MASK = "XEN_SYSCTL_TBUFOP_set_cpu_mask",
        XEN_SYSCTL_TBUFOP_SET_EVT_MASK = "XEN_SYSCTL_TBUFOP_set_evt_mask",
        XEN_SYSCTL_TBUFOP_SET_SIZE = "XEN_SYSCTL_TBUFOP_set_size",
        XEN_SYSCTL_TBUFOP_ENABLE = "XEN_SYSCTL_TBUFOP_enable",
        XEN_SYSCTL_TBUFOP_DISABLE = "XEN_SYSCTL_TBUFOP_disable",
        XEN_SYSCTL_PERFCOP_RESET = "XEN_SYSCTL_PERFCOP_reset",
        XEN_SYSCTL_PERFCOP_QUERY = "XEN_SYSCTL_PERFCOP_query",
    );
    structs!(table, abi::ReadConsole, "struct xen_sysctl_readconsole";
        clear = "clear",
        incremental = "incremental",
        pad0 = "pad0",
        pad1 = "pad1",
        index = "index",
        buffer = "buffer",
        count = "count",
    );
    structs!(table, abi::PhysInfo, "struct xen_sysctl_physinfo";
        threads_per_core = "threads_per_core",
        cores_per_socket = "cores_per_socket",
        nr_cpus = "nr_cpus",
        max_cpu_id = "max_cpu_id",
        nr_nodes = "nr_nodes",
        max_node_id = "max_node_id",
        cpu_khz = "cpu_khz",
        capabilities = "capabilities",
        arch_capabilities = "arch_capabilities",
        pad = "pad",
        total_pages = "total_pages",
        free_pages = "free_pages",
        scrub_pages = "scrub_pages",
        outstanding_pages = "outstanding_pages",
        max_mfn = "max_mfn",
        hw_cap = "hw_cap",
    );
    structs!(table, abi::GetDomainInfoList, "struct xen_sysctl_getdomaininfolist";
        first_domain = "first_domain",
        max_domains = "max_domains",
        buffer = "buffer",
        num_domains = "num_domains",
    );
    structs!(table, abi::DebugKeys, "struct xen_sysctl_debug_keys";
        keys = "keys",
        nr_keys = "nr_keys",
    );
    structs!(table, abi::AvailHeap, "struct xen_sysctl_availheap";
        min_bitwidth = "min_bitwidth",
        max_bitwidth = "max_bitwidth",
        node = "node",
        avail_bytes = "avail_bytes",
    );
    structs!(table, abi::MemInfo, "struct xen_sysctl_meminfo";
        memsize = "memsize",
        memfree = "memfree",
    );
    structs!(table, abi::NumaInfo, "struct xen_sysctl_numainfo";
        num_nodes = "num_nodes",
        meminfo = "meminfo",
        distance = "distance",
    );
    structs!(table, abi::TbufOp, "struct xen_sysctl_tbuf_op";
        cmd = "cmd",
        cpu_mask = "cpu_mask",
        evt_mask = "evt_mask",
        buffer_mfn = "buffer_mfn",
        size = "size",
    );
    structs!(table, abi::PerfcDesc, "struct xen_sysctl_perfc_desc";
        name = "name",
        nr_vals = "nr_vals",
    );
    structs!(table, abi::PerfcOp, "struct xen_sysctl_perfc_op";
        cmd = "cmd",
        nr_counters = "nr_counters",
        nr_vals = "nr_vals",
        desc = "desc",
        val = "val",
    );
    structs!(table, abi::PageOfflineOp, "struct xen_sysctl_page_offline_op";
        cmd = "cmd",
        start = "start",
        end = "end",
        status = "status",
    );
}
