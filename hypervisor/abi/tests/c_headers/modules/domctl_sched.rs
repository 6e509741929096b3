//! What the C headers must say about `oxen_abi::domctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::domctl as abi;
    constants!(table, abi;
        XEN_SCHEDULER_CREDIT = "XEN_SCHEDULER_CREDIT",
        XEN_SCHEDULER_CREDIT2 = "XEN_SCHEDULER_CREDIT2",
        XEN_SCHEDULER_ARINC653 = "XEN_SCHEDULER_ARINC653",
        XEN_SCHEDULER_RTDS = "XEN_SCHEDULER_RTDS",
        XEN_SCHEDULER_NULL = "XEN_SCHEDULER_NULL",
        XEN_DOMCTL_SCHEDRT_EXTRA = "XEN_DOMCTL_SCHEDRT_extra",
        XEN_DOMCTL_SCHEDOP_PUTINFO = "XEN_DOMCTL_SCHEDOP_putinfo",
        XEN_DOMCTL_SCHEDOP_GETINFO = "XEN_DOMCTL_SCHEDOP_getinfo",
        XEN_DOMCTL_SCHEDOP_PUTVCPUINFO = "XEN_DOMCTL_SCHEDOP_putvcpuinfo",
        XEN_DOMCTL_SCHEDOP_GETVCPUINFO = "XEN_DOMCTL_SCHEDOP_getvcpuinfo",
    );
    structs!(table, abi::SchedCredit, "struct xen_domctl_sched_credit";
        weight = "weight",
        cap = "cap",
    );
    structs!(table, abi::SchedRtds, "struct xen_domctl_sched_rtds";
        period = "period",
        budget = "budget",
        flags = "flags",
    );
    structs!(table, abi::SchedParamVcpu, "struct xen_domctl_schedparam_vcpu";
        u = "u",
        vcpuid = "vcpuid",
    );
    structs!(table, abi::SchedulerOp, "struct xen_domctl_scheduler_op";
        sched_id = "sched_id",
        cmd = "cmd",
        u = "u",
    );
    structs!(table, abi::SchedVcpus, "__typeof__(((struct xen_domctl_scheduler_op*)0)->u.v)";
        vcpus = "vcpus",
        nr_vcpus = "nr_vcpus",
        padding = "padding",
    );
}
