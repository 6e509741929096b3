//! A CPU's armed timers, the earliest at the end of a sorted vector: there are about as many as
//! vCPUs wait on the CPU, so moving a few entries is cheaper than any tree.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::machine::Machine;
use crate::sync::Mutex;
use crate::time::timer::Kind;
use crate::types::{DomId, VcpuId};
use crate::vcpu::Vcpu;

/// An armed timer of a vCPU.
pub(super) struct Timer<M: Machine> {
    /// System time at which it expires.
    pub(super) deadline: u64,
    /// Which of the vCPU's timers.
    pub(super) kind: Kind,
    /// Whose.
    pub(super) vcpu: Arc<Vcpu<M>>,
}

/// The timers of one CPU.
pub struct TimerQueue<M: Machine> {
    timers: Mutex<Vec<Timer<M>>>,
}

impl<M: Machine> Default for TimerQueue<M> {
    fn default() -> Self {
        Self {
            timers: Mutex::new(Vec::new()),
        }
    }
}

impl<M: Machine> TimerQueue<M> {
    /// Arms a timer.
    pub(super) fn insert(&self, timer: Timer<M>) {
        let mut timers = self.timers.lock();
        let at = timers.partition_point(|other| other.deadline > timer.deadline);
        timers.insert(at, timer);
    }

    /// Disarms a vCPU's timer; whether it was armed here.
    pub(super) fn remove(&self, vcpu: &Arc<Vcpu<M>>, kind: Kind, deadline: u64) -> bool {
        let mut timers = self.timers.lock();
        let first = timers.partition_point(|other| other.deadline > deadline);
        let found = timers
            .iter()
            .enumerate()
            .skip(first)
            .take_while(|(_, timer)| timer.deadline == deadline)
            .find(|(_, timer)| timer.kind == kind && Arc::ptr_eq(&timer.vcpu, vcpu))
            .map(|(at, _)| at);
        found.is_some_and(|at| {
            timers.remove(at);
            true
        })
    }

    /// Takes the earliest timer off if it has expired.
    pub(super) fn pop_expired(&self, now: u64) -> Option<Timer<M>> {
        let mut timers = self.timers.lock();
        if timers.last()?.deadline > now {
            return None;
        }
        timers.pop()
    }

    /// All timers, for a debug key: deadline, kind, whose.
    pub fn snapshot(&self) -> Vec<(u64, Kind, DomId, VcpuId)> {
        let timers = self.timers.lock();
        timers
            .iter()
            .rev()
            .map(|t| (t.deadline, t.kind, t.vcpu.domain.id, t.vcpu.id))
            .collect()
    }

    /// When the earliest expires.
    pub fn earliest(&self) -> Option<u64> {
        self.timers.lock().last().map(|timer| timer.deadline)
    }
}
