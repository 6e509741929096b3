//! What the C headers must say about `oxen_abi::sysctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::sysctl as abi;
    constants!(table, abi;
        PMSTAT_GET_MAX_PX = "PMSTAT_get_max_px",
        PMSTAT_GET_PXSTAT = "PMSTAT_get_pxstat",
        PMSTAT_RESET_PXSTAT = "PMSTAT_reset_pxstat",
        PMSTAT_GET_MAX_CX = "PMSTAT_get_max_cx",
        PMSTAT_GET_CXSTAT = "PMSTAT_get_cxstat",
        PMSTAT_RESET_CXSTAT = "PMSTAT_reset_cxstat",
        GET_CPUFREQ_PARA = "GET_CPUFREQ_PARA",
        SET_CPUFREQ_GOV = "SET_CPUFREQ_GOV",
        SET_CPUFREQ_PARA = "SET_CPUFREQ_PARA",
        GET_CPUFREQ_AVGFREQ = "GET_CPUFREQ_AVGFREQ",
        XEN_SYSCTL_PM_OP_SET_SCHED_OPT_SMT = "XEN_SYSCTL_pm_op_set_sched_opt_smt",
        XEN_SYSCTL_PM_OP_GET_MAX_CSTATE = "XEN_SYSCTL_pm_op_get_max_cstate",
        XEN_SYSCTL_PM_OP_SET_MAX_CSTATE = "XEN_SYSCTL_pm_op_set_max_cstate",
        XEN_SYSCTL_PM_OP_ENABLE_TURBO = "XEN_SYSCTL_pm_op_enable_turbo",
        XEN_SYSCTL_PM_OP_DISABLE_TURBO = "XEN_SYSCTL_pm_op_disable_turbo",
        XEN_SYSCTL_CX_UNLIMITED = "XEN_SYSCTL_CX_UNLIMITED",
    );
    structs!(table, abi::PxVal, "struct pm_px_val";
        freq = "freq",
        residency = "residency",
        count = "count",
    );
    structs!(table, abi::PxStat, "struct pm_px_stat";
        total = "total",
        usable = "usable",
        last = "last",
        cur = "cur",
        trans_pt = "trans_pt",
        pt = "pt",
    );
    structs!(table, abi::CxStat, "struct pm_cx_stat";
        nr = "nr",
        last = "last",
        idle_time = "idle_time",
        triggers = "triggers",
        residencies = "residencies",
        nr_pc = "nr_pc",
        nr_cc = "nr_cc",
        pc = "pc",
        cc = "cc",
    );
    structs!(table, abi::GetPmStat, "struct xen_sysctl_get_pmstat";
        type_ = "type",
        cpuid = "cpuid",
        u = "u",
    );
    structs!(table, abi::PmOp, "struct xen_sysctl_pm_op";
        cmd = "cmd",
        cpuid = "cpuid",
        u = "u",
    );
}
