//! A CPU's run queue: vCPUs that wait, by priority, first come first served within one.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;

use crate::machine::Machine;
use crate::sched::credit::Priority;
use crate::sched::place::Place;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::types::CpuId;
use crate::vcpu::Vcpu;

/// vCPUs that wait for a CPU.
pub struct RunQueue<M: Machine> {
    waiting: Mutex<VecDeque<Arc<Vcpu<M>>>>,
    /// How many, to look at without the lock.
    length: AtomicUsize,
}

impl<M: Machine> Default for RunQueue<M> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(VecDeque::new()),
            length: AtomicUsize::new(0),
        }
    }
}

impl<M: Machine> RunQueue<M> {
    /// Adds a vCPU whose place is [`Place::Queued`] already.
    pub(super) fn push(&self, vcpu: Arc<Vcpu<M>>) {
        let mut waiting = self.waiting.lock();
        let priority = vcpu.sched.priority();
        let at = waiting.partition_point(|other| other.sched.priority() <= priority);
        waiting.insert(at, vcpu);
        self.length.store(waiting.len(), Ordering::Release);
    }

    /// Takes the first vCPU that may run on `cpu` and goes before `than` (or level with it).
    pub(super) fn pop(&self, cpu: CpuId, than: Priority, level: bool) -> Option<Arc<Vcpu<M>>> {
        if self.length.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let at = waiting.iter().position(|vcpu| {
            let priority = vcpu.sched.priority();
            let first = priority < than || (level && priority == than);
            first && priority != Priority::Parked && vcpu.sched.allows(cpu)
        })?;
        let vcpu = waiting.remove(at)?;
        self.length.store(waiting.len(), Ordering::Release);
        vcpu.sched.set_cpu(cpu);
        vcpu.sched.put(Place::Running);
        Some(vcpu)
    }

    /// Takes the first vCPU, whoever it is, for `cpu` to send it elsewhere.
    pub(super) fn drain(&self, cpu: CpuId) -> Option<Arc<Vcpu<M>>> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let vcpu = waiting.pop_front()?;
        self.length.store(waiting.len(), Ordering::Release);
        vcpu.sched.set_cpu(cpu);
        vcpu.sched.put(Place::Running);
        Some(vcpu)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Acquire)
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that wait, in order, for a debug key; none if there is no memory for the list.
    pub fn snapshot(&self) -> Vec<Arc<Vcpu<M>>> {
        let waiting = self.waiting.lock();
        let mut all = Vec::new();
        if all.try_reserve_exact(waiting.len()).is_ok() {
            all.extend(waiting.iter().cloned());
        }
        all
    }

    /// Sorts anew after priorities have changed: one after the other put where it belongs, which takes no memory.
    pub(super) fn resort(&self) {
        let mut waiting = self.waiting.lock();
        let vcpus = waiting.make_contiguous();
        for end in 1..vcpus.len() {
            let Some((last, sorted)) = vcpus.get(..=end).and_then(|part| part.split_last()) else {
                return;
            };
            let priority = last.sched.priority();
            let at = sorted.partition_point(|other| other.sched.priority() <= priority);
            if let Some(moved) = vcpus.get_mut(at..=end) {
                moved.rotate_right(1);
            }
        }
    }

    /// Room for so many in all, so that to add one takes no memory. `ENOMEM`.
    pub(super) fn make_room(&self, vcpus: usize) -> Result<(), Errno> {
        let mut waiting = self.waiting.lock();
        let more = vcpus.saturating_sub(waiting.len());
        waiting.try_reserve(more).map_err(|_| Errno::ENOMEM)
    }
}
