//! The credit scheduler, and what leads up to it: who can run, waking, blocking, stopping.
//!
//! Each CPU has a run queue ordered by priority. A CPU takes the head of its own queue, else one
//! of another CPU's (`queue`). Credits are burnt while a vCPU runs and handed out anew every
//! 30 ms by weight ([`credit`]). A vCPU's place is one atomic state, so that a wake-up can't be
//! lost between a vCPU's last look at its events and its leaving the CPU (`place`).

pub mod account;
pub mod credit;
mod idle;
#[cfg(loom)]
pub mod model;
mod ops;
mod place;
pub(crate) mod places;
mod queue;
mod service;
mod switch;
mod wake;
mod watchdog;

pub use account::DomainSched;
pub use idle::idle;
pub use ops::{compat_sched_op, sched_op};
pub use place::VcpuSched;
pub use places::Places;
pub use queue::RunQueue;
pub use service::{Service, put_back, take_out};
pub use switch::{CpuSched, deadline_moved, is_due, work};
pub use wake::{block, is_runnable, kick, stop, stopped, wake, wake_paused, yield_now};
