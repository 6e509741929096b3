//! A FIFO event word: 32 bits that the hypervisor and the guest change at the same time.
//!
//! PENDING (31), MASKED (30), LINKED (29: on a queue), BUSY (28: the guest must not unmask now)
//! and in the low 17 bits LINK, the next port of the queue. The guest may, on a linked word, set
//! and clear MASKED, clear PENDING, and unlink it. A hostile guest may write anything, so every
//! loop here has a bound.

use oxen_abi::event_channel::{
    EVTCHN_FIFO_BUSY, EVTCHN_FIFO_LINK_MASK, EVTCHN_FIFO_LINKED, EVTCHN_FIFO_MASKED,
    EVTCHN_FIFO_PENDING,
};

use crate::sync::atomic::{AtomicU32, Ordering};

pub(crate) const PENDING: u32 = 1 << EVTCHN_FIFO_PENDING;
pub(crate) const MASKED: u32 = 1 << EVTCHN_FIFO_MASKED;
pub(crate) const LINKED: u32 = 1 << EVTCHN_FIFO_LINKED;
pub(crate) const BUSY: u32 = 1 << EVTCHN_FIFO_BUSY;
pub(crate) const LINK: u32 = EVTCHN_FIFO_LINK_MASK;

/// A shared 32-bit word. Implemented by the atomic, and in tests by one whose guest is hostile.
pub(crate) trait Word {
    /// Reads it.
    fn get(&self) -> u32;
    /// Sets bits; returns the word before.
    fn set(&self, bits: u32) -> u32;
    /// Clears bits; returns the word before.
    fn clear(&self, bits: u32) -> u32;
    /// Replaces `old` by `new`, or returns what is there instead.
    fn exchange(&self, old: u32, new: u32) -> Result<(), u32>;
}

impl Word for AtomicU32 {
    fn get(&self) -> u32 {
        self.load(Ordering::Acquire)
    }
    fn set(&self, bits: u32) -> u32 {
        self.fetch_or(bits, Ordering::AcqRel)
    }
    fn clear(&self, bits: u32) -> u32 {
        self.fetch_and(!bits, Ordering::AcqRel)
    }
    fn exchange(&self, old: u32, new: u32) -> Result<(), u32> {
        self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
}

/// How often the link is tried with the guest kept from unmasking: it has three other changes to
/// make, each once, before it would have to break the protocol.
const TRIES: u32 = 4;

/// What became of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    /// The word is still on its queue and now points to the port.
    Linked,
    /// The guest has taken the word off its queue: the queue is empty.
    Empty,
    /// The guest keeps changing the word against the protocol; its event is lost to it.
    Unstable,
}

/// Points the tail word of a queue to the next port, if the tail is still on the queue.
pub(crate) fn link_to(tail: &impl Word, port: u32) -> Link {
    let mut word = tail.get();
    if let Some(outcome) = attempt(tail, &mut word, port) {
        return outcome;
    }
    // The guest changed it under us. With BUSY set it waits before it unmasks.
    word = tail.set(BUSY) | BUSY;
    for _ in 0..TRIES {
        match attempt(tail, &mut word, port) {
            Some(Link::Linked) => return Link::Linked,
            Some(other) => {
                tail.clear(BUSY);
                return other;
            }
            None => {}
        }
    }
    tail.clear(BUSY);
    Link::Unstable
}

/// One try, from the value last seen; `None` when the word has changed meanwhile.
fn attempt(tail: &impl Word, word: &mut u32, port: u32) -> Option<Link> {
    if *word & LINKED == 0 {
        return Some(Link::Empty);
    }
    let linked = (*word & !(BUSY | LINK)) | (port & LINK);
    match tail.exchange(*word, linked) {
        Ok(()) => Some(Link::Linked),
        Err(now) => {
            *word = now;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A word whose guest side runs between any two accesses.
    struct Hostile<F: Fn(u32) -> u32>(Cell<u32>, F);

    impl<F: Fn(u32) -> u32> Word for Hostile<F> {
        fn get(&self) -> u32 {
            let value = self.0.get();
            self.0.set(self.1(value));
            value
        }
        fn set(&self, bits: u32) -> u32 {
            let value = self.get();
            self.0.set(self.0.get() | bits);
            value
        }
        fn clear(&self, bits: u32) -> u32 {
            let value = self.get();
            self.0.set(self.0.get() & !bits);
            value
        }
        fn exchange(&self, old: u32, new: u32) -> Result<(), u32> {
            let value = self.get();
            if value == old {
                self.0.set(new);
                Ok(())
            } else {
                Err(value)
            }
        }
    }

    #[test]
    fn links_a_quiet_tail() {
        let tail = AtomicU32::new(PENDING | LINKED);
        assert_eq!(link_to(&tail, 77), Link::Linked);
        assert_eq!(tail.get(), PENDING | LINKED | 77);
        let tail = AtomicU32::new(PENDING | MASKED);
        assert_eq!(link_to(&tail, 77), Link::Empty);
        assert_eq!(tail.get(), PENDING | MASKED);
    }

    #[test]
    fn gives_up_on_a_guest_that_never_stops() {
        let tail = Hostile(Cell::new(LINKED), |word| (word ^ MASKED) | LINKED);
        assert_eq!(link_to(&tail, 5), Link::Unstable);
        assert_eq!(tail.0.get() & BUSY, 0);
        let tail = Hostile(Cell::new(LINKED), |word| word.wrapping_add(1) | LINKED);
        assert!(matches!(link_to(&tail, 5), Link::Unstable));
    }

    #[test]
    fn port_numbers_never_reach_the_flags() {
        let tail = AtomicU32::new(LINKED);
        assert_eq!(link_to(&tail, u32::MAX), Link::Linked);
        assert_eq!(tail.get(), LINKED | LINK);
    }
}
