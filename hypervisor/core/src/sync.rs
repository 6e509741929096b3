//! Atomics and locks. Under `cfg(loom)` the atomics are loom's, so that lock-free parts can be
//! model-checked.
//!
//! Lock order (take from the left to the right, never back):
//! microcode < meeting < domain table < domain lifecycle < a domain's PIRQs < PCI devices < GSIs < interrupt lines
//! < event channels (lower domain id first) < vCPU arch < page list < heap < run queue (lower CPU
//! first) < timers < console. Grant tables and grant handles are locked with no other lock taken
//! after them. Whoever waits for a vCPU to stand still holds that lock (which is tried, never
//! waited for) and no other. Page-type state is lock-free. No lock is held across a return to a guest.

#[cfg(not(loom))]
pub use core::sync::atomic;
#[cfg(loom)]
pub use loom::sync::atomic;

pub use spin::{Mutex, MutexGuard, Once, RwLock};
