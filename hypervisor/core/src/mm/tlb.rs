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
use crate::types::{CpuId, MAX_CPUS};

atomic_statics! {
    /// The clock. It never wraps.
    static CLOCK: AtomicU64 = 1;
}

/// The clock now: what a frame is stamped with.
pub fn clock() -> u64 {
    CLOCK.load(Ordering::SeqCst)
}

/// The latest time that a stamp, of which frames keep the low bits, can stand for. The true one may
/// be earlier, by as many turns of these bits as the stamp is old; then a flush too many is made.
pub fn stamped(stamp: Stamp) -> u64 {
    // Read after the stamp was, so not earlier than the stamp.
    latest(clock(), stamp.0.into(), Stamp::BITS)
}

/// When a CPU's TLB was flushed whole for the last time.
#[derive(Debug, Default)]
pub struct LastFlush(AtomicU64);

impl LastFlush {
    /// Notes that `flush` flushes the TLB, on the CPU itself.
    pub(crate) fn by(&self, flush: impl FnOnce()) {
        // Later than every stamp taken before the flush, and than none taken during it: the processor may fetch
        // translations ahead as soon as the flush is done, while another CPU still removes them. Who removes one does that
        // with a locked instruction too, before he reads the clock.
        let now = CLOCK.fetch_add(1, Ordering::SeqCst) + 1;
        flush();
        self.0.store(now, Ordering::Release);
    }

    /// Whether the TLB can hold no stale translation of a frame that was stamped then.
    pub(crate) fn is_after(&self, stamp: u64) -> bool {
        self.0.load(Ordering::Acquire) > stamp
    }

    /// As if it came after all stamps.
    #[cfg(test)]
    pub(crate) fn is_last(&self) {
        self.0.store(u64::MAX, Ordering::Release);
    }
}

/// The CPUs whose TLB may hold translations of a domain's.
#[derive(Debug, Default)]
pub struct DirtyCpus([AtomicU64; MAX_CPUS / 64]);

impl DirtyCpus {
    /// Which they are.
    pub(crate) fn now(&self) -> CpuMask {
        let mut mask = CpuMask::EMPTY;
        for (word, bits) in mask.0.iter_mut().zip(&self.0) {
            *word = bits.load(Ordering::Acquire);
        }
        mask
    }

    /// One of the domain's page tables is going to be loaded, on the CPU itself.
    pub(crate) fn mark(&self, cpu: CpuId) {
        let bit = 1 << (cpu.index() % 64);
        // Only the CPU itself sets and clears its bit, and mostly it has it.
        if let Some(word) = self.0.get(cpu.index() / 64)
            && word.load(Ordering::Acquire) & bit == 0
        {
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Another domain's is loaded, on the CPU itself.
    pub(crate) fn clear(&self, cpu: CpuId) {
        if let Some(word) = self.0.get(cpu.index() / 64) {
            word.fetch_and(!(1 << (cpu.index() % 64)), Ordering::AcqRel);
        }
    }
}

/// Notes that `flush` flushes this CPU's TLB whole (by a CR3 load, say).
pub fn flushed_by<M: Machine>(cpu: &PerCpu<M>, flush: impl FnOnce()) {
    cpu.shared().last_flush.by(flush);
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
    hv.cpu(id).last_flush.is_after(stamp)
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
