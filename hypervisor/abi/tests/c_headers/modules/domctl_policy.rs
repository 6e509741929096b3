//! What the C headers must say about `oxen_abi::domctl`.

use crate::table::{Table, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::domctl as abi;
    structs!(table, abi::CpuPolicy, "struct xen_domctl_cpu_policy";
        nr_leaves = "nr_leaves",
        nr_msrs = "nr_msrs",
        leaves = "leaves",
        msrs = "msrs",
        err_leaf = "err_leaf",
        err_subleaf = "err_subleaf",
        err_msr = "err_msr",
    );
    structs!(table, abi::TscInfo, "struct xen_domctl_tsc_info";
        tsc_mode = "tsc_mode",
        gtsc_khz = "gtsc_khz",
        incarnation = "incarnation",
        pad = "pad",
        elapsed_nsec = "elapsed_nsec",
    );
}
