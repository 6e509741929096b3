//! Handing out credits: every 30 ms, whichever CPU comes first shares the host's time among the
//! domains that were active, by weight, and each domain's among its vCPUs.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::percpu::PerCpu;
use crate::sched::credit::{self, Priority};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::types::DomId;
use crate::vcpu::Vcpu;

/// A domain's scheduling parameters.
#[derive(Debug)]
pub struct DomainSched {
    /// 1-65535.
    pub weight: AtomicU32,
    /// Per cent of one CPU; 0 = no cap.
    pub cap: AtomicU32,
}

impl Default for DomainSched {
    fn default() -> Self {
        Self {
            weight: AtomicU32::new(credit::DEFAULT_WEIGHT),
            cap: AtomicU32::new(0),
        }
    }
}

/// When the next accounting is due, in system time.
static NEXT: AtomicU64 = AtomicU64::new(0);

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

/// A domain with its vCPUs that were active.
type Active<M> = (Arc<Domain<M>>, Vec<Arc<Vcpu<M>>>);

fn account<M: Machine>(cpu: &PerCpu<M>) {
    let domains = cpu.hv.domains.from(DomId(0), usize::MAX);
    let active: Vec<Active<M>> = domains
        .into_iter()
        .map(|domain| {
            let vcpus = domain
                .vcpus
                .read()
                .iter()
                .filter(|vcpu| was_active(vcpu))
                .cloned()
                .collect();
            (domain, vcpus)
        })
        .filter(|(_, vcpus): &(_, Vec<_>)| !vcpus.is_empty())
        .collect();
    let total: u32 = active
        .iter()
        .map(|(domain, _)| domain.sched.weight.load(Ordering::Relaxed))
        .fold(0, u32::saturating_add);
    let cpus = u32::try_from(cpu.hv.serving().iter().count()).unwrap_or(1);
    for (domain, vcpus) in &active {
        let weight = domain.sched.weight.load(Ordering::Relaxed);
        let cap = domain.sched.cap.load(Ordering::Relaxed);
        let count = u32::try_from(vcpus.len()).unwrap_or(u32::MAX);
        let share = credit::share(cpus, weight, total, count, cap);
        for vcpu in vcpus {
            give(vcpu, share, cap != 0);
        }
    }
    for id in cpu.hv.machine.cpus().iter() {
        cpu.hv.cpu(id).run_queue.resort();
    }
}

/// Whether a vCPU ran or waited for a CPU since the last accounting.
fn was_active<M: Machine>(vcpu: &Vcpu<M>) -> bool {
    let waits = vcpu.sched.is_running() || crate::sched::is_runnable(vcpu);
    vcpu.sched.active.swap(waits, Ordering::Relaxed) || waits
}

fn give<M: Machine>(vcpu: &Vcpu<M>, share: i32, capped: bool) {
    let (credits, priority) = credit::settle(vcpu.sched.credits(), share, capped);
    vcpu.sched.credits.store(credits, Ordering::Relaxed);
    if vcpu.sched.priority() != Priority::Boost || priority != Priority::Under {
        vcpu.sched.set_priority(priority);
    }
}
