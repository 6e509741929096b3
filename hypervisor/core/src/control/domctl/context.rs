//! A vCPU's state as tools read and write it.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::arch_x86::{VGCF_ONLINE, VcpuGuestContext};
use oxen_abi::domctl::*;

use super::super::{Answer, Outcome, Union, put, take};
use super::info::find_vcpu;
use crate::domain::Domain;
use crate::error::Stop;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::{MmError, growth};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::trap::{Callback, CallbackKind};
use crate::vcpu::{Paused, Vcpu, context};

/// Does something with a vCPU that stands still, so that its state is in memory. One that runs
/// is held for so long. `EINVAL` for the calling vCPU itself.
pub(super) fn standing<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    id: u32,
    act: impl FnOnce(&Arc<Vcpu<M>>) -> Outcome,
) -> Outcome {
    let vcpu = find_vcpu(domain, id)?;
    if Arc::ptr_eq(&vcpu, cx.vcpu) {
        return Err(Errno::EINVAL.into());
    }
    // Two vCPUs that wait for each other would do so for ever: only one waits at a time, and the
    // other, which starts its hypercall again, can be stopped then.
    let Some(turn) = cx.hv.standstill.try_lock() else {
        return Err(Stop::Restart([0; 6]));
    };
    vcpu.pause_count.fetch_add(1, Ordering::SeqCst);
    crate::sched::stop(cx.cpu, &vcpu);
    while !crate::sched::stopped(&vcpu) {
        cx.machine().relax();
    }
    drop(turn);
    let outcome = act(&vcpu);
    vcpu.pause_count.fetch_sub(1, Ordering::SeqCst);
    crate::sched::wake_paused(cx.hv, &vcpu, cx.cpu.id);
    outcome
}

/// `getvcpucontext`. `ENODATA` for a vCPU that has no state yet.
pub(super) fn get<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &mut Union) -> Outcome {
    let request: VcpuContext = take(u);
    standing(cx, domain, request.vcpu, |vcpu| {
        if !vcpu.initialised.load(Ordering::Acquire) {
            return Err(Errno::ENODATA.into());
        }
        let context = context::read(cx.cpu, vcpu)?;
        GuestHandle::<VcpuGuestContext>::new(request.ctxt).write(cx.machine(), &context)?;
        Ok(Answer::Done)
    })
}

/// `setvcpucontext`: checks the whole state, takes references on its tables, and puts the vCPU
/// up or down as the state says. A null handle takes the vCPU down. `EINVAL` for the caller's own
/// domain.
pub(super) fn set<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let request: VcpuContext = take(u);
    if Arc::ptr_eq(domain, cx.domain()) {
        return Err(Errno::EINVAL.into());
    }
    standing(cx, domain, request.vcpu, |vcpu| {
        let down = Paused::DOWN.bits();
        if request.ctxt == 0 {
            vcpu.paused.fetch_or(down, Ordering::SeqCst);
            vcpu.initialised.store(false, Ordering::Release);
            return Ok(Answer::Done);
        }
        let handle = GuestHandle::<VcpuGuestContext>::new(request.ctxt);
        let context = growth::boxed(cx.cpu, handle.read(cx.machine())?)?;
        context::apply(cx.cpu, domain, vcpu, &context).map_err(|error| match error {
            MmError::Errno(errno) => Stop::Errno(errno),
            MmError::Restart => Stop::Restart([0; 6]),
        })?;
        if context.flags & VGCF_ONLINE == 0 {
            vcpu.paused.fetch_or(down, Ordering::SeqCst);
        } else {
            vcpu.paused.fetch_and(!down, Ordering::SeqCst);
        }
        Ok(Answer::Done)
    })
}

/// `get_ext_vcpucontext`: the callbacks that `vcpu_guest_context` has no room for.
pub(super) fn get_extended<M: Machine>(domain: &Arc<Domain<M>>, u: &mut Union) -> Outcome {
    let request: ExtVcpuContext = take(u);
    let vcpu = find_vcpu(domain, request.vcpu)?;
    let arch = vcpu.arch.lock();
    let [syscall, sysenter] =
        [CallbackKind::Syscall32, CallbackKind::Sysenter].map(|kind| arch.traps.callback(kind));
    let answer = ExtVcpuContext {
        vcpu: request.vcpu,
        size: u32::try_from(size_of::<ExtVcpuContext>()).unwrap_or(0),
        syscall32_callback_eip: syscall.address,
        sysenter_callback_eip: sysenter.address,
        syscall32_disables_events: u8::from(syscall.masks),
        sysenter_disables_events: u8::from(sysenter.masks),
        ..ExtVcpuContext::default()
    };
    put(u, &answer)
}

/// `set_ext_vcpucontext`.
pub(super) fn set_extended<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &Union,
) -> Outcome {
    let request: ExtVcpuContext = take(u);
    if Arc::ptr_eq(domain, cx.domain()) {
        return Err(Errno::EINVAL.into());
    }
    // The fields up to the two flags must be there.
    let least = core::mem::offset_of!(ExtVcpuContext, sysenter_disables_events) + 1;
    let size = request.size as usize;
    if size < least || size > size_of::<ExtVcpuContext>() {
        return Err(Errno::EINVAL.into());
    }
    let callback = |address: u64, masks: u8| Callback {
        address,
        masks: masks != 0,
    };
    let addresses = [
        request.syscall32_callback_eip,
        request.sysenter_callback_eip,
    ];
    if !addresses
        .iter()
        .all(|address| crate::mm::walk::is_canonical(*address))
    {
        return Err(Errno::EINVAL.into());
    }
    standing(cx, domain, request.vcpu, |vcpu| {
        let mut arch = vcpu.arch.lock();
        arch.traps.set_callback(
            CallbackKind::Syscall32,
            callback(
                request.syscall32_callback_eip,
                request.syscall32_disables_events,
            ),
        );
        arch.traps.set_callback(
            CallbackKind::Sysenter,
            callback(
                request.sysenter_callback_eip,
                request.sysenter_disables_events,
            ),
        );
        Ok(Answer::Done)
    })
}
