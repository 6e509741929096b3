//! A domain's life as the tools steer it, and its identity and clock.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::*;
use oxen_abi::xen::{NR_VIRQS, VIRQ_TIMER, VIRQ_XENOPROF, VIRQ_XENPMU};

use super::super::{Answer, Outcome, Union, put, take};
use super::info::find_vcpu;
use crate::domain::{self, Domain};
use crate::error::Stop;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::DomId;

/// An operation that nobody may do to the domain that asks for it.
fn not_own<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>) -> Result<(), Errno> {
    if Arc::ptr_eq(domain, cx.domain()) {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// `destroydomain`: in pieces, until nothing is left.
pub(super) fn destroy<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>) -> Outcome {
    not_own(cx, domain)?;
    domain::destroy(cx, domain)?;
    Ok(Answer::Done)
}

/// `pausedomain`: returns once no vCPU runs.
pub(super) fn pause<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>) -> Outcome {
    not_own(cx, domain)?;
    domain::pause_by_controller(cx.cpu, domain);
    if domain
        .vcpus
        .read()
        .iter()
        .all(|vcpu| crate::sched::stopped(vcpu))
    {
        Ok(Answer::Done)
    } else {
        Err(Stop::Restart([0; 6]))
    }
}

/// `unpausedomain`.
pub(super) fn unpause<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>) -> Outcome {
    domain::unpause_by_controller(cx.cpu, domain);
    Ok(Answer::Done)
}

/// `resumedomain`: a domain that had shut down (for a save that was called off) goes on.
pub(super) fn resume<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>) -> Outcome {
    not_own(cx, domain)?;
    {
        let mut state = domain.state.lock();
        state.shutdown_code = None;
        if state.shutdown.take().is_none() {
            return Ok(Answer::Done);
        }
        state.shutdown_complete = false;
    }
    domain::unpause(cx.cpu, domain);
    Ok(Answer::Done)
}

/// `setdomainhandle`.
pub(super) fn set_handle<M: Machine>(domain: &Domain<M>, u: &Union) -> Outcome {
    let SetDomainHandle { handle } = take(u);
    domain.state.lock().handle = handle;
    Ok(Answer::Done)
}

/// `settimeoffset`.
pub(super) fn set_time_offset<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Domain<M>,
    u: &Union,
) -> Outcome {
    let SetTimeOffset {
        time_offset_seconds,
    } = take(u);
    domain.state.lock().time_offset = time_offset_seconds;
    crate::time::update_wallclock(cx.hv, domain);
    Ok(Answer::Done)
}

/// `settscinfo`: the TSC is always the host's own, so "default" and "never emulated" are all
/// that can be had.
pub(super) fn set_tsc<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    not_own(cx, domain)?;
    let info: TscInfo = take(u);
    match info.tsc_mode {
        0 | 2 => Ok(Answer::Done),
        1 => Err(Errno::EOPNOTSUPP.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `gettscinfo`.
pub(super) fn get_tsc<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let info = TscInfo {
        tsc_mode: 0,
        gtsc_khz: u32::try_from(cx.machine().tsc_khz()).unwrap_or(u32::MAX),
        incarnation: 0,
        pad: 0,
        elapsed_nsec: cx.machine().now(),
    };
    put(u, &info)
}

/// `sendtrigger`: an NMI; the buttons are for HVM guests.
pub(super) fn trigger<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let SendTrigger { trigger, vcpu } = take(u);
    let vcpu = find_vcpu(domain, vcpu)?;
    if trigger != XEN_DOMCTL_SENDTRIGGER_NMI {
        return Err(Errno::ENOSYS.into());
    }
    if !vcpu.nmi_pending.swap(true, Ordering::AcqRel) {
        crate::sched::wake(cx.hv, &vcpu, cx.cpu.id);
    }
    Ok(Answer::Done)
}

/// `set_virq_handler`: a global VIRQ goes to this domain from now on.
pub(super) fn set_virq_handler<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &Union,
) -> Outcome {
    let SetVirqHandler { virq } = take(u);
    let global = !matches!(virq, VIRQ_TIMER | 1 | VIRQ_XENOPROF | VIRQ_XENPMU);
    if virq >= NR_VIRQS || !global {
        return Err(Errno::EINVAL.into());
    }
    let handler = (domain.id != DomId::DOM0).then_some(domain.id);
    let mut handlers = cx.hv.virq_handlers.lock();
    // Under the lock, which a dying domain takes to give its VIRQs up.
    if domain.is_dying() {
        return Err(Errno::EINVAL.into());
    }
    if let Some(place) = handlers.get_mut(virq as usize) {
        *place = handler;
    }
    Ok(Answer::Done)
}
