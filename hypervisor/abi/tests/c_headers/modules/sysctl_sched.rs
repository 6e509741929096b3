//! What the C headers must say about `oxen_abi::sysctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::sysctl as abi;
    constants!(table, abi;
        XEN_SYSCTL_CPUPOOL_OP_CREATE = "XEN_SYSCTL_CPUPOOL_OP_CREATE",
        XEN_SYSCTL_CPUPOOL_OP_DESTROY = "XEN_SYSCTL_CPUPOOL_OP_DESTROY",
        XEN_SYSCTL_CPUPOOL_OP_INFO = "XEN_SYSCTL_CPUPOOL_OP_INFO",
        XEN_SYSCTL_CPUPOOL_OP_ADDCPU = "XEN_SYSCTL_CPUPOOL_OP_ADDCPU",
        XEN_SYSCTL_CPUPOOL_OP_RMCPU = "XEN_SYSCTL_CPUPOOL_OP_RMCPU",
        XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN = "XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN",
        XEN_SYSCTL_CPUPOOL_OP_FREEINFO = "XEN_SYSCTL_CPUPOOL_OP_FREEINFO",
        XEN_SYSCTL_CPUPOOL_PAR_ANY = "XEN_SYSCTL_CPUPOOL_PAR_ANY",
        XEN_SYSCTL_CSCHED_TSLICE_MAX = "XEN_SYSCTL_CSCHED_TSLICE_MAX",
        XEN_SYSCTL_CSCHED_TSLICE_MIN = "XEN_SYSCTL_CSCHED_TSLICE_MIN",
        XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US = "XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US",
        XEN_SYSCTL_SCHED_RATELIMIT_MAX = "XEN_SYSCTL_SCHED_RATELIMIT_MAX",
        XEN_SYSCTL_SCHED_RATELIMIT_MIN = "XEN_SYSCTL_SCHED_RATELIMIT_MIN",
        XEN_SYSCTL_SCHEDOP_PUTINFO = "XEN_SYSCTL_SCHEDOP_putinfo",
        XEN_SYSCTL_SCHEDOP_GETINFO = "XEN_SYSCTL_SCHEDOP_getinfo",
    );
    structs!(table, abi::SchedId, "struct xen_sysctl_sched_id";
        sched_id = "sched_id",
    );
    structs!(table, abi::CpupoolOp, "struct xen_sysctl_cpupool_op";
        op = "op",
        cpupool_id = "cpupool_id",
        sched_id = "sched_id",
        domid = "domid",
        cpu = "cpu",
        n_dom = "n_dom",
        cpumap = "cpumap",
    );
    structs!(table, abi::CreditSchedule, "struct xen_sysctl_credit_schedule";
        tslice_ms = "tslice_ms",
        ratelimit_us = "ratelimit_us",
        vcpu_migr_delay_us = "vcpu_migr_delay_us",
    );
    structs!(table, abi::SchedulerOp, "struct xen_sysctl_scheduler_op";
        cpupool_id = "cpupool_id",
        sched_id = "sched_id",
        cmd = "cmd",
        u = "u",
    );
}
