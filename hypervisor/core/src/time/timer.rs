//! vCPU timers: one-shot, periodic, and the time limit of `SCHEDOP_poll`.

use alloc::sync::Arc;

use oxen_abi::xen::VIRQ_TIMER;

use crate::error::HcResult;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::{Cx, PerCpu};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::time::queue::Timer;
use crate::time::runstate::RunState;
use crate::types::CpuId;
use crate::vcpu::Vcpu;

/// The period in nanoseconds of the tick that every vCPU starts with, until its guest stops it.
const FIRST_PERIOD: u64 = 10_000_000;

/// Which of a vCPU's timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `set_timer_op`, `VCPUOP_set_singleshot_timer`.
    SingleShot,
    /// `VCPUOP_set_periodic_timer`.
    Periodic,
    /// `SCHEDOP_poll`'s time limit.
    Poll,
    /// One of the domain's two watchdogs, which its vCPU 0 carries.
    Watchdog(Dog),
}

/// Which of a domain's watchdogs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dog {
    /// The guest knows it as 1.
    First,
    /// The guest knows it as 2.
    Second,
}

/// What a vCPU has of its own for time.
pub struct VcpuTime {
    /// Where and for when each timer is armed.
    armed: [Mutex<Option<(CpuId, u64)>>; 5],
    /// Period of the periodic timer in nanoseconds; 0 = off.
    pub(super) period: AtomicU64,
    /// Guest-virtual address of the registered runstate area; 0 = none.
    pub(super) runstate_area: AtomicU64,
    /// Guest-virtual address of the registered second `vcpu_time_info`; 0 = none.
    pub(super) time_area: AtomicU64,
    /// Run state and the time spent in each.
    pub(super) runstate: Mutex<RunState>,
    /// Whether the two areas are out of date: the vCPU was in user mode when they changed, where the
    /// kernel's memory is not mapped.
    pub(super) stale: AtomicBool,
    /// The `vcpu_time_info` words that were last published, to leave out what did not change.
    /// Only the CPU that runs the vCPU looks at them.
    pub(super) published: [AtomicU64; 4],
}

impl Default for VcpuTime {
    fn default() -> Self {
        Self {
            armed: core::array::from_fn(|_| Mutex::new(None)),
            period: AtomicU64::new(FIRST_PERIOD),
            runstate_area: AtomicU64::new(0),
            time_area: AtomicU64::new(0),
            runstate: Mutex::new(RunState::default()),
            stale: AtomicBool::new(false),
            published: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl VcpuTime {
    fn slot(&self, kind: Kind) -> &Mutex<Option<(CpuId, u64)>> {
        match kind {
            Kind::SingleShot => &self.armed[0],
            Kind::Periodic => &self.armed[1],
            Kind::Poll => &self.armed[2],
            Kind::Watchdog(Dog::First) => &self.armed[3],
            Kind::Watchdog(Dog::Second) => &self.armed[4],
        }
    }

    /// Whether the areas that the guest has registered wait for the vCPU to be in kernel mode.
    #[inline]
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Whether a timer is armed.
    pub fn is_armed(&self, kind: Kind) -> bool {
        self.slot(kind).lock().is_some()
    }
}

/// Arms a timer of a vCPU on this CPU, for system time `deadline`; an earlier setting is undone.
pub fn arm<M: Machine>(cpu: &PerCpu<M>, vcpu: &Arc<Vcpu<M>>, kind: Kind, deadline: u64) {
    let mut slot = vcpu.time.slot(kind).lock();
    let moved = match slot.replace((cpu.id, deadline)) {
        Some((on, old)) if on == cpu.id => cpu.shared().timers.rearm(vcpu, kind, old, deadline),
        Some((on, old)) => {
            cpu.hv.cpu(on).timers.remove(vcpu, kind, old);
            false
        }
        None => false,
    };
    if !moved {
        cpu.shared().timers.insert(Timer {
            deadline,
            kind,
            vcpu: Arc::clone(vcpu),
        });
    }
    drop(slot);
    crate::sched::deadline_moved(cpu, deadline);
}

/// A vCPU comes to this CPU: its periodic timer, which the guest may not have set itself, runs.
pub fn start_tick<M: Machine>(cpu: &PerCpu<M>, vcpu: &Arc<Vcpu<M>>, now: u64) {
    let period = vcpu.time.period.load(Ordering::Acquire);
    if period != 0 && !vcpu.time.is_armed(Kind::Periodic) {
        arm(cpu, vcpu, Kind::Periodic, now.saturating_add(period));
    }
}

/// Disarms a timer.
pub fn cancel<M: Machine>(hv: &Hypervisor<M>, vcpu: &Arc<Vcpu<M>>, kind: Kind) {
    if let Some((on, old)) = vcpu.time.slot(kind).lock().take() {
        hv.cpu(on).timers.remove(vcpu, kind, old);
    }
}

/// Disarms all of a vCPU's timers (it goes down, or its domain dies).
pub fn cancel_all<M: Machine>(hv: &Hypervisor<M>, vcpu: &Arc<Vcpu<M>>) {
    vcpu.time.period.store(0, Ordering::Release);
    let dogs = [Dog::First, Dog::Second].map(Kind::Watchdog);
    for kind in [Kind::SingleShot, Kind::Periodic, Kind::Poll]
        .into_iter()
        .chain(dogs)
    {
        cancel(hv, vcpu, kind);
    }
}

/// Lets go off all timers of this CPU that have expired.
pub fn expire<M: Machine>(cpu: &PerCpu<M>) {
    let now = cpu.hv.machine.now();
    while let Some(timer) = cpu.shared().timers.pop_expired(now) {
        let Timer {
            deadline,
            kind,
            vcpu,
        } = timer;
        {
            let mut slot = vcpu.time.slot(kind).lock();
            if *slot != Some((cpu.id, deadline)) {
                continue;
            }
            *slot = None;
        }
        match kind {
            Kind::SingleShot => crate::event::send_virq(cpu.hv, &vcpu, VIRQ_TIMER, cpu.id),
            Kind::Periodic => {
                let period = vcpu.time.period.load(Ordering::Acquire);
                if period != 0 {
                    arm(cpu, &vcpu, kind, next_period(deadline, period, now));
                    crate::event::send_virq(cpu.hv, &vcpu, VIRQ_TIMER, cpu.id);
                }
            }
            Kind::Poll => crate::sched::wake(cpu.hv, &vcpu, cpu.id),
            Kind::Watchdog(_) => {
                crate::guest_warning!(cpu.hv, vcpu.domain.id, "its watchdog expired");
                crate::domain::shutdown(cpu, &vcpu.domain, oxen_abi::sched::SHUTDOWN_WATCHDOG);
            }
        }
    }
}

/// The first time after `now` that lies whole periods after `last`.
fn next_period(last: u64, period: u64, now: u64) -> u64 {
    let missed = now.saturating_sub(last) / period;
    last.saturating_add(period.saturating_mul(missed + 1))
}

/// The earliest deadline of this CPU's timers.
pub fn next_deadline<M: Machine>(cpu: &PerCpu<M>) -> Option<u64> {
    cpu.shared().timers.earliest()
}

/// `HYPERVISOR_set_timer_op`: the calling vCPU's one-shot timer; 0 turns it off. A time that has
/// passed expires at once.
#[inline(never)]
pub fn set_timer_op<M: Machine>(cx: &Cx<'_, M>, deadline: u64) -> HcResult {
    if deadline == 0 {
        cancel(cx.hv, cx.vcpu, Kind::SingleShot);
    } else if deadline <= cx.machine().now() {
        cancel(cx.hv, cx.vcpu, Kind::SingleShot);
        crate::event::send_virq(cx.hv, cx.vcpu, VIRQ_TIMER, cx.cpu.id);
    } else {
        arm(cx.cpu, cx.vcpu, Kind::SingleShot, deadline);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::next_period;

    #[test]
    fn periods_do_not_drift_and_skip_what_was_missed() {
        assert_eq!(next_period(100, 10, 100), 110);
        assert_eq!(next_period(100, 10, 109), 110);
        assert_eq!(next_period(100, 10, 110), 120);
        assert_eq!(next_period(100, 10, 1005), 1010);
        assert_eq!(next_period(u64::MAX - 1, 10, u64::MAX), u64::MAX);
    }
}
