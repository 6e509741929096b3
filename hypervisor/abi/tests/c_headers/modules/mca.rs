//! What the C headers must say about `oxen_abi::mca`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::mca as abi;
    constants!(table, abi;
        XEN_MCA_INTERFACE_VERSION = "XEN_MCA_INTERFACE_VERSION",
        XEN_MC_FETCH = "XEN_MC_fetch",
        XEN_MC_NOTIFYDOMAIN = "XEN_MC_notifydomain",
        XEN_MC_PHYSCPUINFO = "XEN_MC_physcpuinfo",
        XEN_MC_MSRINJECT = "XEN_MC_msrinject",
        XEN_MC_MCEINJECT = "XEN_MC_mceinject",
        XEN_MC_INJECT_V2 = "XEN_MC_inject_v2",
        XEN_MC_NONURGENT = "XEN_MC_NONURGENT",
        XEN_MC_URGENT = "XEN_MC_URGENT",
        XEN_MC_ACK = "XEN_MC_ACK",
        XEN_MC_OK = "XEN_MC_OK",
        XEN_MC_FETCHFAILED = "XEN_MC_FETCHFAILED",
        XEN_MC_NODATA = "XEN_MC_NODATA",
        XEN_MC_NOMATCH = "XEN_MC_NOMATCH",
        XEN_MC_CANNOTHANDLE = "XEN_MC_CANNOTHANDLE",
        XEN_MC_NOTDELIVERED = "XEN_MC_NOTDELIVERED",
        MC_TYPE_GLOBAL = "MC_TYPE_GLOBAL",
        MC_TYPE_BANK = "MC_TYPE_BANK",
        MC_FLAG_CORRECTABLE = "MC_FLAG_CORRECTABLE",
        MC_FLAG_UNCORRECTABLE = "MC_FLAG_UNCORRECTABLE",
        MC_FLAG_POLLED = "MC_FLAG_POLLED",
    );
    structs!(table, abi::McFetch, "struct xen_mc_fetch";
        flags = "flags",
        _pad0 = "_pad0",
        fetch_id = "fetch_id",
        data = "data",
    );
    structs!(table, abi::McPhysCpuInfo, "struct xen_mc_physcpuinfo";
        ncpus = "ncpus",
        _pad0 = "_pad0",
        info = "info",
    );
    structs!(table, abi::McMsr, "struct mcinfo_msr";
        reg = "reg",
        value = "value",
    );
    structs!(table, abi::McLogicalCpu, "struct mcinfo_logical_cpu";
        mc_cpunr = "mc_cpunr",
        mc_chipid = "mc_chipid",
        mc_coreid = "mc_coreid",
        mc_threadid = "mc_threadid",
        mc_apicid = "mc_apicid",
        mc_clusterid = "mc_clusterid",
        mc_ncores = "mc_ncores",
        mc_ncores_active = "mc_ncores_active",
        mc_nthreads = "mc_nthreads",
        mc_cpuid_level = "mc_cpuid_level",
        mc_family = "mc_family",
        mc_vendor = "mc_vendor",
        mc_model = "mc_model",
        mc_step = "mc_step",
        mc_vendorid = "mc_vendorid",
        mc_brandid = "mc_brandid",
        mc_cpu_caps = "mc_cpu_caps",
        mc_cache_size = "mc_cache_size",
        mc_cache_alignment = "mc_cache_alignment",
        mc_nmsrvals = "mc_nmsrvals",
        mc_msrvalues = "mc_msrvalues",
    );
    structs!(table, abi::McInfoGlobal, "struct mcinfo_global";
        type_ = "common.type",
        size = "common.size",
        mc_domid = "mc_domid",
        mc_vcpuid = "mc_vcpuid",
        mc_socketid = "mc_socketid",
        mc_coreid = "mc_coreid",
        mc_core_threadid = "mc_core_threadid",
        mc_apicid = "mc_apicid",
        mc_flags = "mc_flags",
        mc_gstatus = "mc_gstatus",
    );
    structs!(table, abi::McInfoBank, "struct mcinfo_bank";
        type_ = "common.type",
        size = "common.size",
        mc_bank = "mc_bank",
        mc_domid = "mc_domid",
        mc_status = "mc_status",
        mc_addr = "mc_addr",
        mc_misc = "mc_misc",
        mc_ctrl2 = "mc_ctrl2",
        mc_tsc = "mc_tsc",
    );
    structs!(table, abi::McInfo, "struct mc_info";
        mi_nentries = "mi_nentries",
        flags = "flags",
        mi_data = "mi_data",
    );
    structs!(table, abi::Mc, "struct xen_mc";
        cmd = "cmd",
        interface_version = "interface_version",
        u = "u",
    );
}
