//! Telling dom0 that memory runs low (`VIRQ_ENOMEM`).
//!
//! The first word comes at 64 MiB, the next ones at half of it, a quarter, and so on. A threshold
//! counts again once four times as much is free. What is set aside by claims is not free.

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The order of the first threshold: 64 MiB of frames.
const FIRST: u32 = 14;

/// When dom0 is told next. Frames outside of the two bounds have something to say.
#[derive(Debug)]
pub struct LowMemory {
    /// At or below it dom0 is told.
    low: AtomicU64,
    /// At or above it the threshold before counts again.
    high: AtomicU64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The order of the threshold that is next.
    order: u32,
    /// The order of the first one.
    first: u32,
}

impl Default for LowMemory {
    /// Says nothing before [`LowMemory::start`].
    fn default() -> Self {
        Self {
            low: AtomicU64::new(0),
            high: AtomicU64::new(u64::MAX),
            state: Mutex::new(State {
                order: FIRST,
                first: FIRST,
            }),
        }
    }
}

impl LowMemory {
    /// Begins, with `free` frames left after dom0 was built: they are no news, however few.
    pub fn start(&self, free: u64) {
        let order = (free / 2).max(1).ilog2().min(FIRST);
        let mut state = self.state.lock();
        *state = State {
            order,
            first: order,
        };
        self.set(*state);
    }

    fn set(&self, state: State) {
        let high = if state.order == state.first {
            u64::MAX
        } else {
            1 << (state.order + 3)
        };
        self.low.store(1 << state.order, Ordering::Release);
        self.high.store(high, Ordering::Release);
    }

    /// Takes notice of how many frames are free; whether dom0 is to be told.
    fn is_news(&self, free: u64) -> bool {
        let quiet = self.low.load(Ordering::Relaxed)..self.high.load(Ordering::Relaxed);
        if quiet.contains(&free) && quiet.start != free {
            return false;
        }
        let mut state = self.state.lock();
        let news = free <= self.low.load(Ordering::Relaxed);
        if news && state.order > 0 {
            state.order -= 1;
        } else if !news && free >= self.high.load(Ordering::Relaxed) {
            state.order = (state.order + 1).min(state.first);
        }
        self.set(*state);
        news
    }
}

/// Tells dom0 if memory has run low. Called after an allocation, with no lock held.
pub(super) fn check<M: Machine>(hv: &'static Hypervisor<M>) {
    let heap = &hv.heap;
    let free = heap.free_frames().saturating_sub(heap.claimed_frames());
    if hv.low_memory.is_news(free) {
        crate::event::send_global_virq(hv, oxen_abi::xen::VIRQ_ENOMEM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_at_each_threshold() {
        let low = LowMemory::default();
        assert!(!low.is_news(1));
        low.start(1 << 20);
        assert!(!low.is_news(16_385));
        assert!(low.is_news(16_384));
        assert!(!low.is_news(16_384));
        assert!(!low.is_news(8193));
        assert!(low.is_news(8000));
        // Not back yet, then back at the second, then at the first.
        assert!(!low.is_news(20_000));
        assert!(!low.is_news(8000));
        assert!(!low.is_news(1 << 15));
        assert!(low.is_news(8000));
        assert!(!low.is_news(1 << 17));
        assert!(!low.is_news(1 << 17));
        assert!(low.is_news(16_000));
    }

    #[test]
    fn down_to_nothing_and_with_little_from_the_start() {
        let low = LowMemory::default();
        low.start(1000);
        assert!(!low.is_news(999));
        let told = (0..=256).rev().filter(|free| low.is_news(*free)).count();
        // 256, 128, ... 1, and the last frame.
        assert_eq!(told, 10);
        low.start(0);
        assert!(low.is_news(0));
    }
}
