//! `sched_op`.

use oxen_abi::errno::Errno;
use oxen_abi::sched::*;

use crate::error::{HcResult, Stop};
use crate::event::Poll as Polled;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sched::wake::{block, yield_now};
use crate::sync::atomic::Ordering;
use crate::time::{Kind, arm};
use crate::types::{CpuId, DomId};
use crate::vcpu::Paused;

/// `HYPERVISOR_sched_op`.
#[inline(never)]
pub fn sched_op<M: Machine>(cx: &Cx<'_, M>, op: u64, arg: u64) -> HcResult {
    match u32::try_from(op).map_err(|_| Errno::ENOSYS)? {
        SCHEDOP_YIELD => {
            yield_now(cx.cpu);
            Ok(0)
        }
        SCHEDOP_BLOCK => {
            block(cx);
            Ok(0)
        }
        SCHEDOP_SHUTDOWN => {
            let request = GuestHandle::<Shutdown>::new(arg).read(cx.machine())?;
            shutdown(cx, request.reason)
        }
        SCHEDOP_SHUTDOWN_CODE => {
            let request = GuestHandle::<Shutdown>::new(arg).read(cx.machine())?;
            // The first one counts. What the codes past the known ones mean is the tools' affair.
            let mut state = cx.domain().state.lock();
            state.shutdown_code.get_or_insert(code(request.reason));
            Ok(0)
        }
        SCHEDOP_POLL => poll(cx, GuestHandle::<Poll>::new(arg).read(cx.machine())?),
        SCHEDOP_REMOTE_SHUTDOWN => remote_shutdown(cx, GuestHandle::new(arg)),
        SCHEDOP_WATCHDOG => crate::sched::watchdog::watchdog(cx, GuestHandle::new(arg)),
        SCHEDOP_PIN_OVERRIDE => pin_override(cx, GuestHandle::new(arg)),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// `HYPERVISOR_sched_op_compat`: yield, block and shutdown, with the reason as a plain number.
#[inline(never)]
pub fn compat_sched_op<M: Machine>(cx: &Cx<'_, M>, op: u64, arg: u64) -> HcResult {
    match u32::try_from(op).map_err(|_| Errno::ENOSYS)? {
        SCHEDOP_YIELD | SCHEDOP_BLOCK => sched_op(cx, op, 0),
        SCHEDOP_SHUTDOWN => shutdown(cx, u32::try_from(arg).map_err(|_| Errno::EINVAL)?),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// A reason as Xen takes it: any, of which the low byte counts.
fn code(reason: u32) -> u32 {
    reason & 0xff
}

fn shutdown<M: Machine>(cx: &Cx<'_, M>, reason: u32) -> HcResult {
    crate::domain::shutdown(cx.cpu, cx.domain(), code(reason));
    Ok(0)
}

fn remote_shutdown<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<RemoteShutdown>) -> HcResult {
    let request = arg.read(cx.machine())?;
    let domain = cx
        .hv
        .domains
        .get(DomId(request.domain_id))
        .ok_or(Errno::ESRCH)?;
    if !cx.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    crate::domain::shutdown(cx.cpu, &domain, code(request.reason));
    Ok(0)
}

/// Sleeps until one of the ports is pending or the time has come.
fn poll<M: Machine>(cx: &Cx<'_, M>, request: Poll) -> HcResult {
    let marks = (Paused::BLOCKED | Paused::POLLING).bits();
    cx.vcpu.paused.fetch_or(marks, Ordering::SeqCst);
    let outcome = crate::event::begin_poll(cx, GuestHandle::new(request.ports), request.nr_ports);
    if outcome != Ok(Polled::Wait) {
        cx.vcpu.paused.fetch_and(!marks, Ordering::SeqCst);
        return outcome.map(|_| 0).map_err(Stop::from);
    }
    if request.timeout != 0 {
        arm(cx.cpu, cx.vcpu, Kind::Poll, request.timeout);
    }
    yield_now(cx.cpu);
    Ok(0)
}

/// Ties the calling vCPU of the control domain to a CPU for a while; a negative number lets go.
/// `EINVAL` for a CPU that there is not, or if there is nothing to let go of; `EBUSY` if it is tied
/// already.
fn pin_override<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<PinOverride>) -> HcResult {
    if !cx.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let request = arg.read(cx.machine())?;
    if request.pcpu < 0 {
        cx.vcpu.sched.untie()?;
    } else {
        let cpu = CpuId(u16::try_from(request.pcpu).map_err(|_| Errno::EINVAL)?);
        cx.hv.with_serving(|serving| {
            if serving.contains(cpu) {
                cx.vcpu.sched.tie(cpu)
            } else {
                Err(Errno::EINVAL)
            }
        })?;
    }
    yield_now(cx.cpu);
    Ok(0)
}
