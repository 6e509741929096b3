//! All CPUs at one place, with no guest running and no lock held: for looking at everything at once.

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::{Pending, PerCpu};
use crate::sync::Mutex;

/// How long CPUs wait for the last one, in nanoseconds. One that waits itself for a CPU which is here already would
/// never come.
const PATIENCE: u64 = 200_000_000;

/// The meeting that is on, if one is.
pub struct Meeting<M: Machine>(Mutex<State<M>>);

/// What is to be done, once all are there. It says itself what came of it.
pub type Task<M> = fn(&PerCpu<M>);

struct State<M: Machine> {
    /// Meetings so far that are over.
    over: u64,
    task: Option<Task<M>>,
    arrived: usize,
    /// The last one has come.
    complete: bool,
}

impl<M: Machine> Default for Meeting<M> {
    fn default() -> Self {
        Self(Mutex::new(State {
            over: 0,
            task: None,
            arrived: 0,
            complete: false,
        }))
    }
}

impl<M: Machine> State<M> {
    fn end(&mut self) {
        *self = Self {
            over: self.over + 1,
            task: None,
            arrived: 0,
            complete: false,
        };
    }
}

/// Calls all CPUs to meet on their next way out to a guest; the last one does the task while the others wait. Nothing
/// happens while another meeting is on.
pub fn call<M: Machine>(hv: &'static Hypervisor<M>, task: Task<M>) {
    {
        let mut state = hv.meeting.0.lock();
        if state.task.is_some() {
            crate::log_always!(hv, "The CPUs are meeting already");
            return;
        }
        state.task = Some(task);
    }
    for cpu in hv.machine.cpus().iter() {
        let pending = &hv.cpu(cpu).pending;
        pending.fetch_or(Pending::MEET.bits(), crate::sync::atomic::Ordering::AcqRel);
        hv.machine.kick(cpu);
    }
}

/// This CPU is there ([`Pending::MEET`]).
pub(crate) fn attend<M: Machine>(cpu: &PerCpu<M>) {
    let hv = cpu.hv;
    let all = hv.machine.cpus().iter().count();
    let (number, last) = {
        let mut state = hv.meeting.0.lock();
        let Some(task) = state.task else {
            return;
        };
        state.arrived += 1;
        state.complete = state.arrived == all;
        (state.over, state.complete.then_some(task))
    };
    if let Some(task) = last {
        task(cpu);
        hv.meeting.0.lock().end();
        return;
    }
    let deadline = hv.machine.now().saturating_add(PATIENCE);
    loop {
        hv.machine.relax();
        let late = hv.machine.now() >= deadline;
        let mut state = hv.meeting.0.lock();
        if state.over != number {
            return;
        }
        if late && !state.complete {
            state.end();
            drop(state);
            crate::log_always!(hv, "Some CPU is busy; press the key again");
            return;
        }
    }
}
