//! The scheduler and CPU pools. There is one pool, number 0, with all CPUs and all domains.

use oxen_abi::Errno;
use oxen_abi::domctl::XEN_SCHEDULER_CREDIT;
use oxen_abi::sysctl::*;
use zerocopy::{FromBytes, IntoBytes};

use super::super::{Answer, Outcome, Union, bitmap, put, take};
use crate::machine::{CpuMask, Machine};
use crate::percpu::Cx;
use crate::types::DomId;

/// What credit works with: a time slice of 30 ms, no shortest run, no delay before a move.
const CREDIT: CreditSchedule = CreditSchedule {
    tslice_ms: 30,
    ratelimit_us: 0,
    vcpu_migr_delay_us: 0,
};

/// `sched_id`.
pub(super) fn scheduler_id(u: &mut Union) -> Outcome {
    put(
        u,
        &SchedId {
            sched_id: XEN_SCHEDULER_CREDIT,
        },
    )
}

/// `scheduler_op`: the parameters can be asked for; they are fixed.
pub(super) fn scheduler(u: &mut Union) -> Outcome {
    let mut request: SchedulerOp = take(u);
    if request.cpupool_id != 0 {
        return Err(Errno::ESRCH.into());
    }
    if request.sched_id != XEN_SCHEDULER_CREDIT {
        return Err(Errno::EINVAL.into());
    }
    match request.cmd {
        XEN_SYSCTL_SCHEDOP_GETINFO => {
            let _ = CREDIT.write_to_prefix(request.u.as_mut_bytes());
            put(u, &request)
        }
        XEN_SYSCTL_SCHEDOP_PUTINFO => {
            let (wanted, _) = CreditSchedule::read_from_prefix(request.u.as_bytes())
                .map_err(|_| Errno::EINVAL)?;
            if wanted.as_bytes() == CREDIT.as_bytes() {
                Ok(Answer::Done)
            } else {
                Err(Errno::EOPNOTSUPP.into())
            }
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `cpupool_op`.
pub(super) fn pool<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: CpupoolOp = take(u);
    match request.op {
        XEN_SYSCTL_CPUPOOL_OP_INFO => {
            // The pool, or the next one after that number: there is none.
            if request.cpupool_id != 0 {
                return Err(Errno::ENOENT.into());
            }
            let domains = cx.hv.domains.from(DomId::DOM0).count();
            request.sched_id = XEN_SCHEDULER_CREDIT;
            request.n_dom = u32::try_from(domains).unwrap_or(u32::MAX);
            bitmap::write(cx.machine(), &request.cpumap, &cx.hv.serving())?;
            put(u, &request)
        }
        XEN_SYSCTL_CPUPOOL_OP_FREEINFO => {
            bitmap::write(cx.machine(), &request.cpumap, &CpuMask::EMPTY)?;
            put(u, &request)
        }
        XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN => match u16::try_from(request.domid) {
            Ok(id) if request.cpupool_id == 0 && cx.hv.domains.get(DomId(id)).is_some() => {
                Ok(Answer::Done)
            }
            Ok(id) if cx.hv.domains.get(DomId(id)).is_some() => Err(Errno::ENOENT.into()),
            _ => Err(Errno::ESRCH.into()),
        },
        XEN_SYSCTL_CPUPOOL_OP_CREATE
        | XEN_SYSCTL_CPUPOOL_OP_DESTROY
        | XEN_SYSCTL_CPUPOOL_OP_ADDCPU
        | XEN_SYSCTL_CPUPOOL_OP_RMCPU => Err(Errno::EOPNOTSUPP.into()),
        _ => Err(Errno::ENOSYS.into()),
    }
}
