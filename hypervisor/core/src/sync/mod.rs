//! Atomics and locks.
//!
//! Under `cfg(loom)` both are loom's, so that what is lock-free can be run in all its interleavings (`crate::models`).
//!
//! Lock order (take from the left to the right, never back):
//! microcode < meeting < domain table < wall clock < domain lifecycle < a domain's PIRQs < PCI devices < GSIs < interrupt lines
//! < event channels (lower domain id first) < vCPU arch < page list < heap < run queue (lower CPU
//! first) < timers < console. Grant tables and grant handles are locked with no other lock taken
//! after them. Whoever waits for a vCPU to stand still holds that lock (which is tried, never
//! waited for) and no other. Page-type state is lock-free. No lock is held across a return to a guest.

#[cfg(loom)]
mod modelled;

#[cfg(not(loom))]
pub use core::sync::atomic;
#[cfg(loom)]
pub use modelled::atomic;

#[cfg(loom)]
pub use modelled::{Mutex, MutexGuard};
#[cfg(not(any(loom, test)))]
pub use spin::{Mutex, MutexGuard};
pub use spin::{Once, RwLock};

// Host tests let another CPU come first wherever a lock is about to be taken.
#[cfg(all(test, not(loom)))]
pub use crate::testing::{Mutex, MutexGuard};

/// Statics that are atomics of the hypervisor's: loom's are made anew for each interleaving.
macro_rules! atomic_statics {
    ($($(#[$about:meta])* static $name:ident: $kind:ident = $value:expr;)*) => {$(
        #[cfg(not(loom))]
        $(#[$about])*
        static $name: $kind = $kind::new($value);
        #[cfg(loom)]
        loom::lazy_static! {
            $(#[$about])*
            static ref $name: $kind = $kind::new($value);
        }
    )*};
}
pub(crate) use atomic_statics;
