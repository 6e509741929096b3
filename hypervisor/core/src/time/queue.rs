//! A CPU's armed timers, the earliest at the end of a sorted vector: there are about as many as
//! vCPUs wait on the CPU, so moving a few entries is cheaper than any tree.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;

use crate::machine::Machine;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
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
    /// When the first expires, to look at without the lock; `u64::MAX` = never.
    first: AtomicU64,
}

impl<M: Machine> Default for TimerQueue<M> {
    fn default() -> Self {
        Self {
            timers: Mutex::new(Vec::new()),
            first: AtomicU64::new(u64::MAX),
        }
    }
}

/// The place of a vCPU's timer among sorted ones.
fn find<M: Machine>(
    timers: &[Timer<M>],
    vcpu: &Arc<Vcpu<M>>,
    kind: Kind,
    deadline: u64,
) -> Option<usize> {
    let first = timers.partition_point(|other| other.deadline > deadline);
    timers
        .iter()
        .enumerate()
        .skip(first)
        .take_while(|(_, timer)| timer.deadline == deadline)
        .find(|(_, timer)| timer.kind == kind && Arc::ptr_eq(&timer.vcpu, vcpu))
        .map(|(at, _)| at)
}

impl<M: Machine> TimerQueue<M> {
    /// Arms a timer.
    pub(super) fn insert(&self, timer: Timer<M>) {
        let mut timers = self.timers.lock();
        let at = timers.partition_point(|other| other.deadline > timer.deadline);
        timers.insert(at, timer);
        self.note(&timers);
    }

    /// Disarms a vCPU's timer; whether it was armed here.
    pub(super) fn remove(&self, vcpu: &Arc<Vcpu<M>>, kind: Kind, deadline: u64) -> bool {
        let mut timers = self.timers.lock();
        find(&timers, vcpu, kind, deadline).is_some_and(|at| {
            timers.remove(at);
            self.note(&timers);
            true
        })
    }

    /// Moves a timer that is armed here from time `old` to time `deadline`; whether there is one.
    pub(super) fn rearm(&self, vcpu: &Arc<Vcpu<M>>, kind: Kind, old: u64, deadline: u64) -> bool {
        let mut timers = self.timers.lock();
        let Some(mut at) = find(&timers, vcpu, kind, old) else {
            return false;
        };
        let later = |timers: &[Timer<M>], at: usize| {
            timers
                .get(at)
                .is_some_and(|other| other.deadline > deadline)
        };
        let sooner = |timers: &[Timer<M>], at: usize| {
            timers
                .get(at)
                .is_some_and(|other| other.deadline < deadline)
        };
        if let Some(timer) = timers.get_mut(at) {
            timer.deadline = deadline;
        }
        while later(&timers, at + 1) {
            timers.swap(at, at + 1);
            at += 1;
        }
        while at > 0 && sooner(&timers, at - 1) {
            timers.swap(at, at - 1);
            at -= 1;
        }
        self.note(&timers);
        true
    }

    /// Takes the earliest timer off if it has expired.
    pub(super) fn pop_expired(&self, now: u64) -> Option<Timer<M>> {
        let mut timers = self.timers.lock();
        if timers.last()?.deadline > now {
            return None;
        }
        let timer = timers.pop();
        self.note(&timers);
        timer
    }

    fn note(&self, timers: &[Timer<M>]) {
        let first = timers.last().map_or(u64::MAX, |timer| timer.deadline);
        self.first.store(first, Ordering::Release);
    }

    /// Room for so many timers in all, so that to arm one takes no memory. `ENOMEM`.
    pub(crate) fn make_room(&self, count: usize) -> Result<(), Errno> {
        let mut timers = self.timers.lock();
        let more = count.saturating_sub(timers.len());
        timers.try_reserve(more).map_err(|_| Errno::ENOMEM)
    }

    /// All timers, for a debug key: deadline, kind, whose; none if there is no memory for the list.
    pub fn snapshot(&self) -> Vec<(u64, Kind, DomId, VcpuId)> {
        let timers = self.timers.lock();
        let mut all = Vec::new();
        if all.try_reserve_exact(timers.len()).is_ok() {
            let line = |t: &Timer<M>| (t.deadline, t.kind, t.vcpu.domain.id, t.vcpu.id);
            all.extend(timers.iter().rev().map(line));
        }
        all
    }

    /// When the earliest expires.
    pub fn earliest(&self) -> Option<u64> {
        Some(self.first.load(Ordering::Acquire)).filter(|first| *first != u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is armed, moved and disarmed, timers expire in order and at their time.
        #[test]
        fn timers_keep_their_order(steps in prop::collection::vec((0usize..4, 0u8..3, 1u64..20), 0..60)) {
            let host = Host::new();
            let domain = host.domain(1, 4, 8);
            let queue = TimerQueue::default();
            let mut armed = [None; 4];
            for (number, step, deadline) in steps {
                let vcpu = domain.vcpus.read()[number].clone();
                match (armed[number], step) {
                    (None, _) => {
                        queue.insert(Timer { deadline, kind: Kind::Poll, vcpu });
                        armed[number] = Some(deadline);
                    }
                    (Some(old), 0) => {
                        prop_assert!(queue.remove(&vcpu, Kind::Poll, old));
                        prop_assert!(!queue.rearm(&vcpu, Kind::Poll, old, deadline));
                        armed[number] = None;
                    }
                    (Some(old), _) => {
                        prop_assert!(queue.rearm(&vcpu, Kind::Poll, old, deadline));
                        armed[number] = Some(deadline);
                    }
                }
                let mut wanted: Vec<u64> = armed.iter().flatten().copied().collect();
                wanted.sort_unstable();
                let now: Vec<u64> = queue.snapshot().iter().map(|timer| timer.0).collect();
                prop_assert_eq!(queue.earliest(), wanted.first().copied());
                prop_assert_eq!(now, wanted);
            }
        }
    }
}
