//! All CPUs at one place, with no guest running and no lock held: for looking at everything at once, or for doing something
//! that no CPU may be left out of.

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
enum Task<M: Machine> {
    /// By the last CPU that comes, while the others wait.
    ByOne(fn(&PerCpu<M>)),
    /// By each, at once.
    ByAll(fn(&PerCpu<M>)),
}

impl<M: Machine> Clone for Task<M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M: Machine> Copy for Task<M> {}

struct State<M: Machine> {
    /// Meetings so far that are over.
    over: u64,
    task: Option<Task<M>>,
    arrived: usize,
    /// The last one has come.
    complete: bool,
    /// CPUs that have done their part.
    done: usize,
}

impl<M: Machine> Default for Meeting<M> {
    fn default() -> Self {
        Self(Mutex::new(State {
            over: 0,
            task: None,
            arrived: 0,
            complete: false,
            done: 0,
        }))
    }
}

impl<M: Machine> Meeting<M> {
    /// Whether the meeting with this number, as [`call_all`] gave it, is over.
    pub(crate) fn is_over(&self, number: u64) -> bool {
        self.0.lock().over > number
    }
}

impl<M: Machine> State<M> {
    fn end(&mut self) {
        *self = Self {
            over: self.over + 1,
            task: None,
            arrived: 0,
            complete: false,
            done: 0,
        };
    }
}

/// Calls all CPUs to meet on their next way out to a guest; the last one does the task while the others wait. Nothing
/// happens while another meeting is on.
pub fn call<M: Machine>(hv: &'static Hypervisor<M>, task: fn(&PerCpu<M>)) {
    if invite(hv, Task::ByOne(task)).is_none() {
        crate::log_always!(hv, "The CPUs are meeting already");
    }
}

/// Calls them in the same way, for each to do its part. It is over when all have done it, or when they did not come
/// together, in which case none has begun. Returns its number; `None` while another meeting is on.
pub(crate) fn call_all<M: Machine>(
    hv: &'static Hypervisor<M>,
    part: fn(&PerCpu<M>),
) -> Option<u64> {
    invite(hv, Task::ByAll(part))
}

fn invite<M: Machine>(hv: &'static Hypervisor<M>, task: Task<M>) -> Option<u64> {
    let number = {
        let mut state = hv.meeting.0.lock();
        if state.task.is_some() {
            return None;
        }
        state.task = Some(task);
        state.over
    };
    for cpu in hv.machine.cpus().iter() {
        let pending = &hv.cpu(cpu).pending;
        pending.fetch_or(Pending::MEET.bits(), crate::sync::atomic::Ordering::AcqRel);
        hv.machine.kick(cpu);
    }
    Some(number)
}

/// This CPU is there ([`Pending::MEET`]).
pub(crate) fn attend<M: Machine>(cpu: &PerCpu<M>) {
    let hv = cpu.hv;
    let all = hv.machine.cpus().iter().count();
    let (number, task, last) = {
        let mut state = hv.meeting.0.lock();
        let Some(task) = state.task else {
            return;
        };
        state.arrived += 1;
        state.complete = state.arrived == all;
        (state.over, task, state.complete)
    };
    match task {
        Task::ByOne(task) if last => {
            task(cpu);
            hv.meeting.0.lock().end();
        }
        Task::ByOne(_) => {
            if !wait(hv, number, |_| false) {
                crate::log_always!(hv, "Some CPU is busy; press the key again");
            }
        }
        Task::ByAll(part) => {
            if wait(hv, number, |state| state.complete) && !hv.meeting.is_over(number) {
                part(cpu);
                let mut state = hv.meeting.0.lock();
                state.done += 1;
                if state.done == all {
                    state.end();
                    return;
                }
                drop(state);
                wait(hv, number, |_| false);
            }
        }
    }
}

/// Waits until the meeting is over, or as far as `enough` says. `false` if this CPU has ended it, because not all have
/// come.
fn wait<M: Machine>(hv: &Hypervisor<M>, number: u64, enough: impl Fn(&State<M>) -> bool) -> bool {
    let deadline = hv.machine.now().saturating_add(PATIENCE);
    loop {
        hv.machine.relax();
        let late = hv.machine.now() >= deadline;
        let mut state = hv.meeting.0.lock();
        if state.over != number || enough(&state) {
            return true;
        }
        if late && !state.complete {
            state.end();
            return false;
        }
    }
}
