//! Handing out credits: every 30 ms, whichever CPU comes first shares the host's time among the
//! domains that were active, by weight, and each domain's among its vCPUs.

use alloc::sync::Arc;

use crate::machine::Machine;
use crate::percpu::PerCpu;
use crate::sched::credit::{self, Priority};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::atomic_statics;
use crate::types::DomId;
use crate::vcpu::Vcpu;

/// A domain's scheduling parameters.
#[derive(Debug)]
pub struct DomainSched {
    /// 1-65535.
    pub weight: AtomicU32,
    /// Per cent of one CPU; 0 = no cap.
    pub cap: AtomicU32,
    /// How many of its vCPUs were active in the accounting period before.
    active: AtomicU32,
}

impl Default for DomainSched {
    fn default() -> Self {
        Self {
            weight: AtomicU32::new(credit::DEFAULT_WEIGHT),
            cap: AtomicU32::new(0),
            active: AtomicU32::new(0),
        }
    }
}

atomic_statics! {
    /// When the next accounting is due, in system time.
    static NEXT: AtomicU64 = 0;
}

/// Does the accounting if it is due and no other CPU does it.
pub(super) fn maybe_account<M: Machine>(cpu: &PerCpu<M>, now: u64) {
    let due = NEXT.load(Ordering::Relaxed);
    if now < due
        || NEXT
            .compare_exchange(
                due,
                now + credit::PERIOD,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_err()
    {
        return;
    }
    account(cpu);
}

/// It takes no memory, for it must be done whether there is any or not: who was active is noted with the vCPUs.
fn account<M: Machine>(cpu: &PerCpu<M>) {
    let mut total = 0u32;
    for domain in cpu.hv.domains.from(DomId::DOM0) {
        let vcpus = domain.each_vcpu();
        let active = vcpus.map(|vcpu| u32::from(note_active(&vcpu))).sum();
        domain.sched.active.store(active, Ordering::Relaxed);
        if active > 0 {
            total = total.saturating_add(domain.sched.weight.load(Ordering::Relaxed));
        }
    }
    let cpus = u32::try_from(cpu.hv.serving().iter().count()).unwrap_or(1);
    for domain in cpu.hv.domains.from(DomId::DOM0) {
        let count = domain.sched.active.load(Ordering::Relaxed);
        if count == 0 {
            continue;
        }
        let weight = domain.sched.weight.load(Ordering::Relaxed);
        let cap = domain.sched.cap.load(Ordering::Relaxed);
        // A weight may have been changed meanwhile.
        let share = credit::share(cpus, weight, total.max(weight), count, cap);
        let sharing = |vcpu: &Arc<Vcpu<M>>| vcpu.sched.shares.load(Ordering::Relaxed);
        for vcpu in domain.each_vcpu().filter(sharing) {
            give(&vcpu, share, cap != 0);
        }
    }
    for id in cpu.hv.machine.cpus().iter() {
        cpu.hv.cpu(id).run_queue.resort();
    }
}

/// Notes whether a vCPU ran or waited for a CPU since the last accounting, and tells it.
fn note_active<M: Machine>(vcpu: &Vcpu<M>) -> bool {
    let waits = vcpu.sched.is_running() || crate::sched::is_runnable(vcpu);
    let active = vcpu.sched.active.swap(waits, Ordering::Relaxed) || waits;
    vcpu.sched.shares.store(active, Ordering::Relaxed);
    active
}

fn give<M: Machine>(vcpu: &Vcpu<M>, share: i32, capped: bool) {
    let (credits, priority) = credit::settle(vcpu.sched.credits(), share, capped);
    vcpu.sched.credits.store(credits, Ordering::Relaxed);
    if vcpu.sched.priority() != Priority::Boost || priority != Priority::Under {
        vcpu.sched.set_priority(priority);
    }
}
