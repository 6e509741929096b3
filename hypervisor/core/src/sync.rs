//! Atomics and locks. Under `cfg(loom)` the atomics are loom's, so that lock-free parts can be
//! model-checked.
//!
//! Lock order (take from the left to the right, never back):
//! domain table < domain lifecycle < grant tables (lower domain id first) < event channels
//! (lower domain id first) < vCPU arch < page list < heap < run queue (lower CPU first) < timers
//! < console. Page-type state is lock-free. No lock is held across a return to a guest.

#[cfg(not(loom))]
pub use core::sync::atomic;
#[cfg(loom)]
pub use loom::sync::atomic;

pub use spin::{Mutex, MutexGuard, Once, RwLock};
