//! TLB flushes, and which of them can be left out.
//!
//! A global clock counts whole flushes. Each CPU notes the clock of its last one, each frame the
//! clock at which it last lost its type or owner. A stale translation of the frame can only be in
//! the TLB of a CPU whose last flush is not later than that.

use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Machine};
use crate::mm::frame::{Stamp, latest};
use crate::percpu::PerCpu;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::atomic_statics;
use crate::types::CpuId;

atomic_statics! {
    /// The clock. It never wraps.
    static CLOCK: AtomicU64 = 1;
}

/// The clock now: what a frame is stamped with.
pub fn clock() -> u64 {
    CLOCK.load(Ordering::Acquire)
}

/// The latest time that a stamp, of which frames keep the low bits, can stand for. The true one may
/// be earlier, by as many turns of these bits as the stamp is old; then a flush too many is made.
pub fn stamped(stamp: Stamp) -> u64 {
    // Read after the stamp was, so not earlier than the stamp.
    latest(clock(), stamp.0.into(), Stamp::BITS)
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

/// Works out which CPUs of `cpus` may hold stale translations of a frame that was stamped then
/// ([`stamped`]).
pub fn needed<M: Machine>(cpu: &PerCpu<M>, mut cpus: CpuMask, stamp: u64) -> FlushNeeded {
    for id in cpus.clone().iter() {
        if has_flushed(cpu.hv, id, stamp) {
            cpus.remove(id);
        }
    }
    FlushNeeded(cpus)
}

/// Whether no CPU can hold a stale translation of a frame that was stamped then.
pub fn all_flushed<M: Machine>(hv: &Hypervisor<M>, stamp: u64) -> bool {
    hv.machine
        .cpus()
        .iter()
        .all(|id| has_flushed(hv, id, stamp))
}

fn has_flushed<M: Machine>(hv: &Hypervisor<M>, id: CpuId, stamp: u64) -> bool {
    hv.cpu(id).flushed_at.load(Ordering::Acquire) > stamp
}

impl FlushNeeded {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Flushes, if any CPU needs it.
    pub fn carry_out<M: Machine>(self, cpu: &PerCpu<M>) {
        if !self.0.is_empty() {
            flush(cpu, &self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::latest;

    const BITS: u32 = 26;

    proptest! {
        /// A stamp never seems older than it is: no flush is left out.
        #[test]
        fn stamps_never_seem_older(now in 1u64..1 << 48, age in 0u64..1 << 34) {
            let stamped = now.saturating_sub(age);
            let seen = latest(now, stamped & ((1 << BITS) - 1), BITS);
            prop_assert!((stamped..=now).contains(&seen));
            if age < 1 << BITS {
                prop_assert_eq!(seen, stamped);
            }
        }
    }
}
