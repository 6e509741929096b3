//! What each physical CPU has of its own.

use alloc::sync::Arc;
use core::cell::{Cell, RefCell};

use crate::domain::Domain;
use crate::event::InfoWords;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::tlb::LastFlush;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::types::CpuId;
use crate::vcpu::Vcpu;

/// The longest that a guest's request may take before it goes back to its guest for a moment, in
/// nanoseconds. Interrupts wait that long.
pub(crate) const TURN: u64 = 200_000;

/// The private part: only code that runs on the CPU itself sees it. The machine hands it to each
/// entry into `core`.
pub struct PerCpu<M: Machine> {
    /// Which CPU this is.
    pub id: CpuId,
    /// The hypervisor.
    pub hv: &'static Hypervisor<M>,
    /// The vCPU whose registers are in the register frame; the CPU's idle vCPU when there is
    /// nothing to run.
    pub current: RefCell<Arc<Vcpu<M>>>,
    /// The running vCPU's `vcpu_info`, found once for each switch of vCPUs; `None` = look it up.
    pub info: Cell<Option<InfoWords>>,
    /// This CPU's idle vCPU.
    pub idle: Arc<Vcpu<M>>,
    /// The scheduler's private part.
    pub sched: crate::sched::CpuSched,
    shared: &'static CpuShared<M>,
    /// System time at which the entry's first long operation began; 0 before.
    began: Cell<u64>,
}

impl<M: Machine> PerCpu<M> {
    /// A CPU's data, with its idle vCPU as the one that runs. The hypervisor's idle domain exists.
    pub fn new(hv: &'static Hypervisor<M>, id: CpuId, idle: Arc<Vcpu<M>>) -> Self {
        Self {
            id,
            hv,
            shared: hv.cpu(id),
            info: Cell::new(None),
            current: RefCell::new(Arc::clone(&idle)),
            idle,
            sched: crate::sched::CpuSched::default(),
            began: Cell::new(0),
        }
    }

    /// The part that other CPUs may touch.
    pub fn shared(&self) -> &'static CpuShared<M> {
        self.shared
    }

    /// The running vCPU.
    pub fn current(&self) -> Arc<Vcpu<M>> {
        Arc::clone(&self.current.borrow())
    }

    /// A guest's request begins.
    pub fn entered(&self) {
        self.began.set(0);
    }

    /// Whether something is pending for this CPU's next way out.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.shared().pending.load(Ordering::Acquire) != 0
    }

    /// Whether a long operation should stop here and continue later: something is pending, or it
    /// had its turn. Interrupts are off, so that only the return to the guest lets in what the
    /// interrupt controller holds, this CPU's timer among it.
    pub fn preempt_needed(&self) -> bool {
        self.has_work() || self.turn_is_over()
    }

    fn turn_is_over(&self) -> bool {
        let now = self.hv.machine.now();
        match self.began.get() {
            0 => {
                self.began.set(now);
                false
            }
            began => now.saturating_sub(began) >= TURN,
        }
    }

    /// Runs in the interrupt handler of a flush request ([`Machine::flush_others`]).
    pub fn flush_requested(&self) {
        crate::mm::tlb::flush_local(self);
    }
}

bitflags::bitflags! {
    /// Work that waits for a CPU's next way out to a guest (softirqs).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Pending: u32 {
        /// Pick a vCPU anew.
        const SCHEDULE = 1;
        /// Timers have expired.
        const TIMER = 2;
        /// The console ring has news for its watcher.
        const NEWS = 4;
        /// Stop for the crash handler.
        const STOP = 8;
        /// Print the registers of the vCPU that runs.
        const REGISTERS = 16;
        /// Meet the other CPUs.
        const MEET = 32;
        /// Find memory for the byte heap.
        const MEMORY = 64;
    }
}

/// The part of a CPU that others reach: to give it work.
pub struct CpuShared<M: Machine> {
    /// Bits of [`Pending`].
    pub pending: AtomicU32,
    /// Whether the CPU waits for an interrupt, so that only then a kick is needed.
    pub idling: AtomicBool,
    /// The CPU's last whole flush.
    pub last_flush: LastFlush,
    /// The CPU's timers.
    pub timers: crate::time::TimerQueue<M>,
    /// The scheduler's run queue.
    pub run_queue: crate::sched::RunQueue<M>,
    /// Whether dom0 has taken it out of service: it runs no vCPU.
    pub out_of_service: AtomicBool,
    /// For how long it had nothing to run.
    pub idle_time: IdleTime,
    /// Whose copy of page tables it has loaded.
    pub root: crate::mm::shadow::LoadedRoot,
}

/// For how long a CPU had nothing to run. Written by the CPU itself.
#[derive(Debug, Default)]
pub struct IdleTime {
    /// Nanoseconds, up to the last time that it found something.
    total: AtomicU64,
    /// Since when it has nothing; 0 while it has.
    since: AtomicU64,
}

impl IdleTime {
    /// There is nothing to run from now on.
    pub fn begin(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
    }

    /// There is something.
    pub fn end(&self, now: u64) {
        let since = self.since.swap(0, Ordering::Relaxed);
        if since != 0 {
            let total = self.total.load(Ordering::Relaxed) + now.saturating_sub(since);
            self.total.store(total, Ordering::Relaxed);
        }
    }

    /// Nanoseconds until now. Another CPU may see a moment twice or not at all.
    pub fn until(&self, now: u64) -> u64 {
        let total = self.total.load(Ordering::Relaxed);
        match self.since.load(Ordering::Relaxed) {
            0 => total,
            since => total.saturating_add(now.saturating_sub(since)),
        }
    }
}

impl<M: Machine> Default for CpuShared<M> {
    fn default() -> Self {
        Self {
            pending: AtomicU32::new(0),
            idling: AtomicBool::new(false),
            last_flush: LastFlush::default(),
            timers: crate::time::TimerQueue::default(),
            run_queue: crate::sched::RunQueue::default(),
            out_of_service: AtomicBool::new(false),
            idle_time: IdleTime::default(),
            root: crate::mm::shadow::LoadedRoot::default(),
        }
    }
}

/// The context of a guest's request: who asks, on which CPU.
pub struct Cx<'a, M: Machine> {
    /// The hypervisor.
    pub hv: &'static Hypervisor<M>,
    /// The CPU that runs this.
    pub cpu: &'a PerCpu<M>,
    /// The vCPU that asks.
    pub vcpu: &'a Arc<Vcpu<M>>,
}

impl<M: Machine> Cx<'_, M> {
    /// The machine.
    pub fn machine(&self) -> &'static M {
        &self.hv.machine
    }

    /// The domain that asks.
    pub fn domain(&self) -> &Arc<Domain<M>> {
        &self.vcpu.domain
    }
}

#[cfg(test)]
mod tests {
    use super::TURN;
    use crate::sync::atomic::Ordering;
    use crate::testing::Host;

    #[test]
    fn a_long_request_has_its_turn_and_stops() {
        let host = Host::new();
        let time = &host.machine().time;
        time.store(1, Ordering::Release);
        host.cpu.entered();
        assert!(!host.cpu.preempt_needed(), "the turn begins here");
        time.store(TURN, Ordering::Release);
        assert!(!host.cpu.preempt_needed());
        time.store(TURN + 1, Ordering::Release);
        assert!(host.cpu.preempt_needed());
        host.cpu.entered();
        assert!(!host.cpu.preempt_needed(), "each request has its own");
    }
}
