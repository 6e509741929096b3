//! A CPU's run queue: vCPUs that wait, by priority, first come first served within one.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

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

    /// Those that wait, in order, for a debug key.
    pub fn snapshot(&self) -> alloc::vec::Vec<Arc<Vcpu<M>>> {
        self.waiting.lock().iter().map(Arc::clone).collect()
    }

    /// Sorts anew after priorities have changed.
    pub(super) fn resort(&self) {
        self.waiting
            .lock()
            .make_contiguous()
            .sort_by_key(|vcpu| vcpu.sched.priority());
    }
}
