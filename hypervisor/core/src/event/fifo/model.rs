//! The hypervisor's link of event words beside a guest that keeps to the protocol.

use super::word::{BUSY, LINK, LINKED, Link, MASKED, PENDING, Word, link_to};
use crate::models::{explore, spawn, stays};
use crate::sync::atomic::AtomicU32;

/// The guest takes the event off its queue, as the protocol asks; returns the link it found.
fn guest_unlinks(word: &AtomicU32) -> u32 {
    let mut seen = word.get();
    loop {
        match word.exchange(seen, seen & !(LINKED | LINK)) {
            Ok(()) => return seen & LINK,
            Err(now) => seen = now,
        }
    }
}

/// The port that comes next is linked, or the guest has found the end of its queue.
pub fn the_next_port_is_linked_or_becomes_the_head() {
    explore(|| {
        let word = stays(AtomicU32::new(PENDING | LINKED));
        let guest = spawn(|| {
            let next = guest_unlinks(word);
            word.clear(PENDING);
            next
        });
        let outcome = link_to(word, 9);
        let next = guest.join().unwrap();
        match outcome {
            Link::Linked => assert_eq!(next, 9),
            Link::Empty => assert_eq!(next, 0),
            Link::Unstable => panic!("a well-behaved guest is never unstable"),
        }
        assert_eq!(word.get() & (BUSY | LINKED), 0);
    });
}

/// Whatever else the guest does to the word, the link is made and nothing of it is lost.
pub fn a_guest_that_masks_and_consumes_does_not_stop_the_link() {
    explore(|| {
        let word = stays(AtomicU32::new(PENDING | LINKED));
        let guest = spawn(|| {
            word.set(MASKED);
            word.clear(PENDING);
        });
        assert_eq!(link_to(word, 9), Link::Linked);
        guest.join().unwrap();
        assert_eq!(word.get(), LINKED | MASKED | 9);
    });
}
