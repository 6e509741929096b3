//! What is lock-free, run by loom in all interleavings of two or three CPUs, or of a CPU and a guest. Built with
//! `--cfg loom` only; `cargo xtask test --only interleavings` runs them, by the tests in `tests/interleavings.rs`.
//!
//! A model uses the hypervisor's own functions on words of its own. What the guest does is written as Linux does it.

use alloc::boxed::Box;

use crate::sync::atomic::{AtomicU32, Ordering};

pub use crate::event::fifo::model as fifo;
pub use crate::event::model as event;
pub use crate::grant::model as grant;
pub use crate::mm::growth::model as growth;
pub use crate::mm::model as mm;
pub use crate::sched::model as sched;
pub use crate::time::model as time;

pub(crate) use loom::thread::spawn;

/// Runs a model in all interleavings.
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    loom::model::Builder::new().check(model);
}

/// Runs a model in all interleavings in which CPUs are not stopped more than so often at a place of no need.
pub(crate) fn explore_within(stops: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(stops);
    builder.check(model);
}

/// Something that stays: of the one interleaving, as the frame table and guests' pages do.
pub(crate) fn stays<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// What only one may use at a time.
#[derive(Debug, Default)]
pub(crate) struct Exclusive(AtomicU32);

impl Exclusive {
    /// Uses it; whoever comes meanwhile is one too many.
    pub(crate) fn used(&self) {
        assert_eq!(
            self.0.fetch_add(1, Ordering::Relaxed),
            0,
            "used by two at once"
        );
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
