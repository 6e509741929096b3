//! Waking, blocking and stopping vCPUs.

use alloc::sync::Arc;

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::{Cx, Pending, PerCpu};
use crate::sched::credit::Priority;
use crate::sched::place::{Place, Woken};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::types::CpuId;
use crate::vcpu::{Paused, Vcpu};

/// Whether nothing keeps a vCPU from running.
#[inline]
pub fn is_runnable<M: Machine>(vcpu: &Vcpu<M>) -> bool {
    vcpu.paused.load(Ordering::SeqCst) == 0
        && vcpu.pause_count.load(Ordering::SeqCst) == 0
        && vcpu.domain.pause_count.load(Ordering::SeqCst) == 0
}

/// An event came for a vCPU, or what kept it from running is gone: it is no longer blocked; it
/// is queued if it can run; and if it runs on another CPU, that one looks at its events.
pub fn wake<M: Machine>(hv: &'static Hypervisor<M>, vcpu: &Arc<Vcpu<M>>, from: CpuId) {
    let blocked = (Paused::BLOCKED | Paused::POLLING).bits();
    // One that runs on this CPU does not wait for anything, and sees its events on its way out.
    if vcpu.sched.place() == Place::Running
        && vcpu.sched.cpu() == from
        && vcpu.paused.load(Ordering::SeqCst) & blocked == 0
    {
        return;
    }
    let was = vcpu.paused.fetch_and(!blocked, Ordering::SeqCst);
    if was & Paused::POLLING.bits() != 0 {
        crate::time::cancel(hv, vcpu, crate::time::Kind::Poll);
    }
    match vcpu.sched.wake(|| is_runnable(vcpu)) {
        Woken::Nothing => {}
        Woken::Queued => enqueue_woken(hv, vcpu, was & blocked != 0, from),
        Woken::Runs => {
            if vcpu.sched.cpu() != from {
                hv.machine.kick(vcpu.sched.cpu());
            }
        }
    }
}

/// What kept a vCPU from running beside its own waiting is gone: it is queued if it can run, and
/// sleeps on if it waits for an event.
pub fn wake_paused<M: Machine>(hv: &'static Hypervisor<M>, vcpu: &Arc<Vcpu<M>>, from: CpuId) {
    if is_runnable(vcpu) {
        wake(hv, vcpu, from);
    }
}

/// Queues a vCPU and makes some CPU take it soon.
fn enqueue_woken<M: Machine>(
    hv: &'static Hypervisor<M>,
    vcpu: &Arc<Vcpu<M>>,
    from_sleep: bool,
    from: CpuId,
) {
    if from_sleep && vcpu.sched.priority() == Priority::Under {
        vcpu.sched.set_priority(Priority::Boost);
    }
    vcpu.sched.active.store(true, Ordering::Relaxed);
    let cpu = choose_cpu(hv, vcpu);
    vcpu.sched.set_cpu(cpu);
    hv.cpu(cpu).run_queue.push(Arc::clone(vcpu));
    hv.raise(cpu, Pending::SCHEDULE, from);
}

/// The CPU to queue on: where it last ran if that idles or nothing better does; else an idle one
/// it may use.
pub(super) fn choose_cpu<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu<M>) -> CpuId {
    let last = vcpu.sched.cpu();
    let (hard, soft) = vcpu.sched.affinity();
    let online = hv.serving();
    let usable = |cpu: CpuId| online.contains(cpu) && hard.is_none_or(|mask| mask.contains(cpu));
    let idles =
        |cpu: CpuId| hv.cpu(cpu).idling.load(Ordering::Acquire) && hv.cpu(cpu).run_queue.is_empty();
    let preferred = |cpu: CpuId| soft.is_none_or(|mask| mask.contains(cpu));
    if usable(last) && preferred(last) && idles(last) {
        return last;
    }
    online
        .iter()
        .find(|cpu| usable(*cpu) && preferred(*cpu) && idles(*cpu))
        .or_else(|| online.iter().find(|cpu| usable(*cpu) && idles(*cpu)))
        .or_else(|| usable(last).then_some(last))
        .or_else(|| online.iter().find(|cpu| usable(*cpu)))
        .unwrap_or(CpuId(0))
}

/// `SCHEDOP_block`: events are unmasked and the vCPU sleeps until one can be delivered. That it is not runnable any more
/// is enough for its CPU to choose anew on the way out.
pub fn block<M: Machine>(cx: &Cx<'_, M>) {
    crate::event::set_upcall_mask(cx.machine(), cx.vcpu, false);
    wait(&cx.vcpu.paused, || {
        crate::event::upcall_ready(cx.machine(), cx.vcpu)
            || cx.vcpu.nmi_pending.load(Ordering::Acquire)
    });
}

/// Marks a vCPU as blocked, by its [`Paused`] bits, unless there is something to wake it.
#[inline]
pub(super) fn wait(paused: &AtomicU32, ready: impl FnOnce() -> bool) {
    paused.fetch_or(Paused::BLOCKED.bits(), Ordering::SeqCst);
    // What came before the mark was set has not woken anyone.
    if ready() {
        paused.fetch_and(!Paused::BLOCKED.bits(), Ordering::SeqCst);
    }
}

/// Makes the CPU that runs a vCPU look at what is pending for it. Takes no lock, so that an NMI
/// handler may call it.
pub fn kick<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu<M>) {
    hv.machine.kick(vcpu.sched.cpu());
}

/// Lets this CPU choose anew on the way out.
pub fn yield_now<M: Machine>(cpu: &PerCpu<M>) {
    cpu.sched.yielded.set(true);
    cpu.shared()
        .pending
        .fetch_or(Pending::SCHEDULE.bits(), Ordering::AcqRel);
}

/// What keeps the vCPU from running has been set: the CPU that runs it lets go of it soon.
/// [`stopped`] tells when it has.
pub fn stop<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>) {
    if vcpu.sched.is_running() {
        cpu.hv.raise(vcpu.sched.cpu(), Pending::SCHEDULE, cpu.id);
    }
}

/// Whether no CPU has the vCPU: its registers are in [`crate::vcpu::Arch`].
pub fn stopped<M: Machine>(vcpu: &Vcpu<M>) -> bool {
    !vcpu.sched.is_running()
}
