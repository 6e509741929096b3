//! A vCPU that blocks, is paused and is woken, with its place, and its CPU's pending work.

use crate::models::{explore, explore_within, spawn, stays};
use crate::sched::place::{Place, VcpuSched, Woken};
use crate::sched::wake::wait;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::vcpu::Paused;

/// A vCPU, and the CPU that it runs on.
#[derive(Default)]
struct Model {
    sched: VcpuSched,
    paused: AtomicU32,
    pause_count: AtomicU32,
    /// An upcall can be delivered.
    ready: AtomicBool,
    /// How often it is on a run queue.
    queued: Mutex<u32>,
    /// Its CPU is to choose anew.
    pending: AtomicBool,
    /// An interrupt is on its way to it.
    kicked: AtomicBool,
    /// It is its turn on a CPU.
    runs: AtomicU32,
}

impl Model {
    /// It runs.
    fn running() -> &'static Self {
        let model = Self::default();
        model.sched.put(Place::Running);
        model.runs.store(1, Ordering::Relaxed);
        stays(model)
    }

    /// It waits for an event.
    fn blocked() -> &'static Self {
        let model = Self::default();
        model
            .paused
            .store(Paused::BLOCKED.bits(), Ordering::Relaxed);
        stays(model)
    }

    fn runnable(&self) -> bool {
        self.paused.load(Ordering::SeqCst) == 0 && self.pause_count.load(Ordering::SeqCst) == 0
    }

    /// An event comes, from another CPU.
    fn send(&self) {
        self.ready.swap(true, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        self.paused
            .fetch_and(!Paused::BLOCKED.bits(), Ordering::SeqCst);
        match self.sched.wake(|| self.runnable()) {
            Woken::Nothing => {}
            Woken::Queued => {
                self.enqueue();
                self.pending.swap(true, Ordering::AcqRel);
                self.kicked.store(true, Ordering::Release);
            }
            Woken::Runs => self.kicked.store(true, Ordering::Release),
        }
    }

    fn enqueue(&self) {
        let mut queued = self.queued.lock();
        assert_eq!(*queued, 0, "queued twice");
        *queued += 1;
    }

    /// A CPU takes it off the queue, and lets it run or puts it off. Whether it runs.
    fn take(&self) -> bool {
        {
            let mut queued = self.queued.lock();
            if *queued == 0 {
                return false;
            }
            *queued = 0;
            self.sched.put(Place::Running);
        }
        let runs = self.runnable();
        if runs {
            assert_eq!(self.runs.fetch_add(1, Ordering::Relaxed), 0, "runs twice");
        } else if self.sched.leave(|| self.runnable()) {
            self.enqueue();
            self.pending.swap(true, Ordering::AcqRel);
        }
        runs
    }

    /// The way out of the CPU that it runs on, which has nothing else to run.
    fn way_out(&self) {
        let waits = self.runnable();
        if waits {
            return;
        }
        self.runs.fetch_sub(1, Ordering::Relaxed);
        if self.sched.leave(|| self.runnable()) {
            self.enqueue();
            if !waits {
                self.pending.swap(true, Ordering::AcqRel);
            }
        }
        while self.pending.swap(false, Ordering::AcqRel) {
            if self.take() {
                return;
            }
        }
    }

    /// Whether it waits on a queue that nobody looks at, or sleeps though there is an event for it.
    fn is_forgotten(&self) -> bool {
        let looks = self.pending.load(Ordering::Acquire) || self.kicked.load(Ordering::Acquire);
        match self.sched.place() {
            Place::Off => {
                self.ready.load(Ordering::Acquire) && self.pause_count.load(Ordering::Acquire) == 0
            }
            Place::Queued => !looks,
            Place::Running | Place::Woken => false,
        }
    }
}

/// A vCPU blocks while an event comes.
pub fn an_event_finds_a_vcpu_that_blocks() {
    explore(|| {
        let model = Model::running();
        let sender = spawn(|| model.send());
        wait(&model.paused, || model.ready.load(Ordering::Acquire));
        model.way_out();
        sender.join().unwrap();
        assert!(!model.is_forgotten());
    });
}

/// The same with two events from two CPUs.
pub fn two_events_find_a_vcpu_that_blocks() {
    explore_within(3, || {
        let model = Model::running();
        let sender = spawn(|| model.send());
        let other = spawn(|| model.send());
        wait(&model.paused, || model.ready.load(Ordering::Acquire));
        model.way_out();
        sender.join().unwrap();
        other.join().unwrap();
        assert!(!model.is_forgotten());
    });
}

/// Two events wake a vCPU that sleeps, while a CPU takes what it finds on its queue: it runs once.
pub fn a_vcpu_runs_on_one_cpu() {
    explore_within(3, || {
        let model = Model::blocked();
        let sender = spawn(|| model.send());
        let cpu = spawn(|| model.take());
        model.send();
        sender.join().unwrap();
        let runs = cpu.join().unwrap();
        assert!(runs == (model.sched.place() != Place::Queued));
        assert!(!model.is_forgotten());
    });
}

/// Someone pauses a vCPU that waits on a queue, and a CPU takes it: when it is paused and has stopped, it does not run.
pub fn who_has_paused_and_stopped_does_not_run() {
    explore(|| {
        let model = Model::blocked();
        model.send();
        let cpu = spawn(|| model.take());
        model.pause_count.fetch_add(1, Ordering::SeqCst);
        if !model.sched.is_running() {
            assert_eq!(model.runs.load(Ordering::Relaxed), 0);
            let runs = cpu.join().unwrap();
            assert!(!runs);
        } else {
            cpu.join().unwrap();
        }
    });
}

/// A paused vCPU goes on while an event wakes it: one of the two queues it.
pub fn an_event_finds_a_vcpu_that_goes_on() {
    explore(|| {
        let model = Model::blocked();
        model.pause_count.store(1, Ordering::Relaxed);
        let sender = spawn(|| model.send());
        model.pause_count.fetch_sub(1, Ordering::SeqCst);
        // As `wake_paused` does.
        if model.runnable() {
            model.wake();
        }
        sender.join().unwrap();
        assert_eq!(model.sched.place(), Place::Queued);
        assert!(!model.is_forgotten());
    });
}
