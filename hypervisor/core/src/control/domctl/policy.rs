//! A domain's CPU policy.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::CpuPolicy;

use super::super::cpu_policy::{self, Conflict, Kind, Place};
use super::super::{Answer, Outcome, Union, put, take};
use crate::domain::Domain;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

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
    let wanted = domain.cpu_policy.read().clone();
    let kind = Kind::Pv {
        stays: domain.privileged,
        wanted: &wanted,
    };
    let written = cpu_policy::give(cx.hv, kind, place(&request))?;
    request.nr_leaves = written.nr_leaves;
    request.nr_msrs = written.nr_msrs;
    put(u, &request)
}

/// `set_cpu_policy`: what the domain sees from now on; what conflicts is written back. `EINVAL`
/// for the caller's own domain, `EEXIST` once the domain has run.
pub(super) fn set<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &mut Union) -> Outcome {
    if Arc::ptr_eq(domain, cx.domain()) {
        return Err(Errno::EINVAL.into());
    }
    if domain.started.load(Ordering::Acquire) {
        return Err(Errno::EEXIST.into());
    }
    let mut request: CpuPolicy = take(u);
    let before = domain.cpu_policy.read().clone();
    let outcome = cpu_policy::take(cx.hv, &before, place(&request));
    let outcome = outcome.map(|policy| *domain.cpu_policy.write() = policy);
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
