//! TLB flushes, and which of them can be left out.
//!
//! A global clock counts whole flushes. Each CPU notes the clock of its last one, each frame the
//! clock at which it last lost its type or owner. A stale translation of the frame can only be in
//! the TLB of a CPU whose last flush is not later than that.

use crate::machine::{CpuMask, Machine};
use crate::percpu::PerCpu;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The clock. It never wraps: 48 bits last years at a million flushes a second.
static CLOCK: AtomicU64 = AtomicU64::new(1);

/// The clock now: what a frame is stamped with.
pub fn clock() -> u64 {
    CLOCK.load(Ordering::Acquire)
}

/// Notes that `flush` flushes this CPU's TLB whole (by a CR3 load, say).
pub fn flushed_by<M: Machine>(cpu: &PerCpu<M>, flush: impl FnOnce()) {
    // Later than every stamp taken before the flush, and than none taken during it: the processor may
    // fetch translations ahead as soon as the flush is done, while another CPU still removes them.
    let now = CLOCK.fetch_add(1, Ordering::AcqRel) + 1;
    flush();
    cpu.shared().flushed_at.store(now, Ordering::Release);
}

/// Flushes this CPU's TLB.
pub fn flush_local<M: Machine>(cpu: &PerCpu<M>) {
    flushed_by(cpu, || cpu.hv.machine.flush_tlb_local());
}

/// Flushes the TLBs of all CPUs in the set.
pub fn flush<M: Machine>(cpu: &PerCpu<M>, cpus: &CpuMask) {
    let mut others = *cpus;
    others.remove(cpu.id);
    if cpus.contains(cpu.id) {
        flush_local(cpu);
    }
    if !others.is_empty() {
        cpu.hv.machine.flush_others(&others);
    }
}

/// A flush that must happen before a frame is used as something else.
#[must_use]
#[derive(Debug)]
pub struct FlushNeeded(CpuMask);

/// Works out which CPUs of `cpus` may hold stale translations of a frame with this stamp.
pub fn needed<M: Machine>(cpu: &PerCpu<M>, mut cpus: CpuMask, stamp: u64) -> FlushNeeded {
    for id in cpus.clone().iter() {
        if cpu.hv.cpu(id).flushed_at.load(Ordering::Acquire) > stamp {
            cpus.remove(id);
        }
    }
    FlushNeeded(cpus)
}

impl FlushNeeded {
    /// Flushes, if any CPU needs it.
    pub fn carry_out<M: Machine>(self, cpu: &PerCpu<M>) {
        if !self.0.is_empty() {
            flush(cpu, &self.0);
        }
    }
}
