//! Time: per-CPU timers, the guest's clocks, run states, and the timer hypercalls.

mod clock;
#[cfg(loom)]
pub mod model;
mod queue;
mod runstate;
mod timer;
mod vcpu_op;

pub use clock::{WallClock, publish, refresh, unpublish, update_wallclock};
pub use queue::TimerQueue;
pub use runstate::{RunState, change_runstate, runstate};
pub use timer::{
    Dog, Kind, VcpuTime, arm, cancel, cancel_all, expire, next_deadline, set_timer_op, start_tick,
};
pub use vcpu_op::vcpu_op;
