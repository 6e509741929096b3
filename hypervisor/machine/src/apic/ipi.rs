//! CPUs asking each other for something.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_core::CpuId;
use oxen_core::machine::CpuMask;

use super::lapic;
use crate::layout::MAX_CPUS;
use crate::percpu;
use crate::trap::{core_cpu, vectors};
use crate::x86::X86;

/// A CPU's flush requests: how many were made, and up to which one it has flushed.
struct Requests {
    made: AtomicU64,
    done: AtomicU64,
}

static REQUESTS: [Requests; MAX_CPUS] = [const {
    Requests {
        made: AtomicU64::new(0),
        done: AtomicU64::new(0),
    }
}; MAX_CPUS];

/// Interrupts a CPU so that it looks at its work.
pub(crate) fn kick(cpu: CpuId) {
    if let Some(data) = percpu::get(u32::from(cpu.0)) {
        lapic::send_interrupt(data.apic_id, vectors::KICK);
    }
}

/// Makes the CPUs of the set but this one flush, and waits for them. While it waits it serves what others ask of this
/// CPU, so that two CPUs can do this at once.
pub(crate) fn flush_others(cpus: &CpuMask) {
    let here = core_cpu();
    let mut waiting = CpuMask::EMPTY;
    let mut tickets = [0u64; MAX_CPUS];
    for cpu in cpus.iter().filter(|cpu| *cpu != here.id) {
        let (Some(data), Some(requests), Some(ticket)) = (
            percpu::get(u32::from(cpu.0)),
            REQUESTS.get(cpu.index()),
            tickets.get_mut(cpu.index()),
        ) else {
            continue;
        };
        if !data.online.load(Ordering::Acquire) {
            continue;
        }
        *ticket = requests.made.fetch_add(1, Ordering::AcqRel) + 1;
        waiting.insert(cpu);
        lapic::send_interrupt(data.apic_id, vectors::FLUSH);
    }
    while !waiting.is_empty() {
        for cpu in waiting.clone().iter() {
            let done = REQUESTS
                .get(cpu.index())
                .map_or(u64::MAX, |r| r.done.load(Ordering::Acquire));
            if done >= tickets.get(cpu.index()).copied().unwrap_or(0) {
                waiting.remove(cpu);
            }
        }
        serve_flush(here);
        // If this lasts, the other one is to blame.
        crate::watchdog::alive();
        core::hint::spin_loop();
    }
}

/// Serves what others ask of this CPU while it waits for something else.
pub(crate) fn relax() {
    serve_flush(core_cpu());
    core::hint::spin_loop();
}

/// Flushes this CPU if another has asked for it.
pub(crate) fn serve_flush(cpu: &oxen_core::PerCpu<X86>) {
    let Some(requests) = REQUESTS.get(cpu.id.index()) else {
        return;
    };
    let made = requests.made.load(Ordering::Acquire);
    if requests.done.load(Ordering::Relaxed) < made {
        cpu.flush_requested();
        requests.done.store(made, Ordering::Release);
    }
}
