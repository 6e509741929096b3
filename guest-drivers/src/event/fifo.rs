//! The FIFO ABI: a word for each port, linked into 16 queues of each vCPU.

use core::sync::atomic::{AtomicU32, Ordering};

use oxen_abi::event_channel::{
    EVTCHN_FIFO_LINK_MASK, EVTCHN_FIFO_LINKED, EVTCHN_FIFO_MASKED, EVTCHN_FIFO_MAX_QUEUES,
    EVTCHN_FIFO_PENDING,
};

const PENDING: u32 = 1 << EVTCHN_FIFO_PENDING;
const MASKED: u32 = 1 << EVTCHN_FIFO_MASKED;
const LINKED: u32 = 1 << EVTCHN_FIFO_LINKED;

/// The consumer's side of one vCPU's queues.
#[derive(Default)]
pub struct Queues {
    heads: [AtomicU32; EVTCHN_FIFO_MAX_QUEUES],
}

impl Queues {
    /// Empty queues.
    #[must_use]
    pub const fn new() -> Self {
        Queues {
            heads: [const { AtomicU32::new(0) }; EVTCHN_FIFO_MAX_QUEUES],
        }
    }

    /// Forgets everything, before a new control block is registered.
    pub fn clear(&self) {
        for head in &self.heads {
            head.store(0, Ordering::Relaxed);
        }
    }

    /// Takes all events, the highest priority first, and calls `handle` for each that is pending
    /// and not masked. `control` is the control block as words (`ready`, a reserved one, then the
    /// heads), `word` finds a port's event word.
    pub fn consume<'a>(
        &self,
        control: &[AtomicU32],
        word: impl Fn(u32) -> Option<&'a AtomicU32>,
        mut handle: impl FnMut(u32),
    ) {
        let Some((ready, shared)) = control.split_first() else {
            return;
        };
        let mut queues = ready.swap(0, Ordering::AcqRel);
        while queues != 0 {
            let queue = queues.trailing_zeros() as usize;
            let empty = match (self.heads.get(queue), shared.get(queue + 1)) {
                (Some(head), Some(shared)) => take_one(head, shared, &word, &mut handle),
                _ => true,
            };
            if empty {
                queues &= !(1 << queue);
            }
            queues |= ready.swap(0, Ordering::AcqRel);
        }
    }
}

/// Takes the first event of a queue; true if it was the last.
fn take_one<'a>(
    head: &AtomicU32,
    shared: &AtomicU32,
    word: &impl Fn(u32) -> Option<&'a AtomicU32>,
    handle: &mut impl FnMut(u32),
) -> bool {
    let mut port = head.load(Ordering::Relaxed);
    if port == 0 {
        port = shared.load(Ordering::Acquire);
    }
    let Some(event) = (port != 0).then(|| word(port)).flatten() else {
        head.store(0, Ordering::Relaxed);
        return true;
    };
    // Unlink first: the hypervisor may then queue the event again while it is handled.
    let before = event.fetch_and(!(LINKED | EVTCHN_FIFO_LINK_MASK), Ordering::AcqRel);
    let next = before & EVTCHN_FIFO_LINK_MASK;
    head.store(next, Ordering::Relaxed);
    if event.load(Ordering::Acquire) & (PENDING | MASKED) == PENDING {
        event.fetch_and(!PENDING, Ordering::AcqRel);
        handle(port);
    }
    next == 0
}

/// Masks a port.
pub fn mask(event: &AtomicU32) {
    event.fetch_or(MASKED, Ordering::AcqRel);
}

/// Unmasks a port; true if it is pending and needs the unmask hypercall.
#[must_use]
pub fn unmask(event: &AtomicU32) -> bool {
    event.fetch_and(!MASKED, Ordering::AcqRel) & PENDING != 0
}

/// Whether a port is pending.
#[must_use]
pub fn is_pending(event: &AtomicU32) -> bool {
    event.load(Ordering::Acquire) & PENDING != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [AtomicU32; 64] {
        [const { AtomicU32::new(0) }; 64]
    }

    #[test]
    fn takes_queues_by_priority_and_skips_masked_ports() {
        let (control, events, queues) = (words(), words(), Queues::new());
        // Queue 7: 5 -> 6 (masked); queue 0: 9.
        events[5].store(PENDING | LINKED | 6, Ordering::Relaxed);
        events[6].store(PENDING | LINKED | MASKED, Ordering::Relaxed);
        events[9].store(PENDING | LINKED, Ordering::Relaxed);
        control[0].store(1 << 7 | 1, Ordering::Relaxed);
        control[2].store(9, Ordering::Relaxed);
        control[2 + 7].store(5, Ordering::Relaxed);
        let mut seen = [0; 4];
        let mut used = 0;
        queues.consume(
            &control,
            |port| events.get(port as usize),
            |port| {
                seen[used] = port;
                used += 1;
            },
        );
        assert_eq!(&seen[..used], [9, 5]);
        assert!(is_pending(&events[6]));
        assert!(unmask(&events[6]), "pending when unmasked");
        assert_eq!(events[5].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_bad_port_ends_its_queue() {
        let (control, events, queues) = (words(), words(), Queues::new());
        control[0].store(1, Ordering::Relaxed);
        control[2].store(1000, Ordering::Relaxed);
        queues.consume(
            &control,
            |port| events.get(port as usize),
            |_| panic!("no such port"),
        );
    }
}
