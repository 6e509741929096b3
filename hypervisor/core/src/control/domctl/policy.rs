//! A domain's CPU policy.

use alloc::sync::Arc;

use oxen_abi::domctl::CpuPolicy;

use super::super::cpu_policy::{self, Conflict, Kind, Place};
use super::super::{Answer, Outcome, Union, put, take};
use crate::domain::Domain;
use crate::machine::Machine;
use crate::percpu::Cx;

const fn place(request: &CpuPolicy) -> Place {
    Place {
        leaves: request.leaves,
        nr_leaves: request.nr_leaves,
        msrs: request.msrs,
        nr_msrs: request.nr_msrs,
    }
}

/// `get_cpu_policy`.
pub(super) fn get<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &mut Union) -> Outcome {
    let mut request: CpuPolicy = take(u);
    let kind = Kind::Pv {
        stays: domain.privileged,
    };
    let written = cpu_policy::give(cx.hv, kind, place(&request))?;
    request.nr_leaves = written.nr_leaves;
    request.nr_msrs = written.nr_msrs;
    put(u, &request)
}

/// `set_cpu_policy`: checked; what conflicts is written back.
pub(super) fn set<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &mut Union) -> Outcome {
    let mut request: CpuPolicy = take(u);
    let outcome = cpu_policy::check(cx.hv, place(&request));
    let Conflict { leaf, subleaf, msr } = match outcome {
        Ok(()) => Conflict::NONE,
        Err((_, conflict)) => conflict,
    };
    (request.err_leaf, request.err_subleaf, request.err_msr) = (leaf, subleaf, msr);
    let reply = put(u, &request);
    match outcome {
        Ok(()) => reply,
        Err((errno, conflict)) => {
            if conflict != Conflict::NONE {
                crate::guest_info!(
                    cx.hv,
                    domain.id,
                    "its CPU policy asks for what there is not: {conflict:x?}"
                );
            }
            Ok(Answer::Refuse(errno))
        }
    }
}
