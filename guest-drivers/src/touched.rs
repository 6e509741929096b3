//! Frames that the peer writes to while dom0 watches ([`crate::peer::TOUCH`]).

use core::sync::atomic::Ordering;

use oxen_abi::arch_x86::{PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER};

use crate::pagetable::{self, RO, RW, WINDOW};
use crate::peer::PAGES;
use crate::sys::frame::{Frame, PAGE_SIZE};
use crate::sys::probe;

/// Where they are mapped a second time.
const ELSEWHERE: u64 = WINDOW + (1 << 28);
/// An entry that has not been used yet.
const UNUSED: u64 = PTE_PRESENT | PTE_RW | PTE_USER;

/// The frames, each with how often it was written to in its first word.
pub(crate) struct Touched {
    frames: [Frame; PAGES],
    counts: [u64; PAGES],
}

impl Touched {
    /// Takes the frames, which follow each other.
    pub(crate) fn new() -> Self {
        Self {
            frames: core::array::from_fn(|_| Frame::new()),
            counts: [0; PAGES],
        }
    }

    /// The first of them.
    pub(crate) fn first(&self) -> Frame {
        self.frames[0]
    }

    /// Writes to those of the mask; returns how many of all have not the count that they should.
    pub(crate) fn touch(&mut self, mask: u64) -> u64 {
        let mut wrong = 0;
        for (number, (frame, count)) in self.frames.iter().zip(&mut self.counts).enumerate() {
            if mask >> number & 1 != 0 {
                frame.words()[0].fetch_add(1, Ordering::SeqCst);
                *count += 1;
            }
            wrong += u64::from(frame.words()[0].load(Ordering::SeqCst) != *count);
        }
        wrong
    }

    /// Maps each frame at one address after the other and goes through what rights and bits of an entry mean. Returns
    /// the number of the first step that went wrong, 0 if none did.
    pub(crate) fn remap(&mut self) -> u64 {
        if pagetable::reach(ELSEWHERE).is_err() {
            return 1;
        }
        for (number, (frame, count)) in (0..).zip(self.frames.iter().zip(&mut self.counts)) {
            let address = ELSEWHERE + number % 4 * PAGE_SIZE;
            *count += 1;
            let step = step(*frame, address, *count);
            if step != 0 {
                return step;
            }
        }
        0
    }
}

/// The bits of the entry for an address that the processor sets.
fn used(address: u64) -> u64 {
    pagetable::entry(address, 1).map_or(0, |entry| entry.value & (PTE_ACCESSED | PTE_DIRTY))
}

/// One frame, whose first word is to become `count`.
fn step(frame: Frame, address: u64, count: u64) -> u64 {
    let at = frame.mfn() << 12;
    let maps = |bits| pagetable::update_va(address, at | bits).is_ok();
    let faults = |outcome: probe::Probe<()>| outcome.is_err_and(|fault| fault.vector == probe::PF);
    let checks: [(u64, &dyn Fn() -> bool); 9] = [
        (2, &|| maps(UNUSED) && used(address) == 0),
        (3, &|| {
            probe::read(address) == Ok(count - 1) && used(address) == PTE_ACCESSED
        }),
        (4, &|| probe::write(address, count).is_ok()),
        (5, &|| used(address) == PTE_ACCESSED | PTE_DIRTY),
        (6, &|| frame.words()[0].load(Ordering::SeqCst) == count),
        // The right to write goes, and comes again.
        (7, &|| maps(RO) && faults(probe::write(address, 0))),
        (8, &|| maps(RW) && probe::write(address, count).is_ok()),
        (9, &|| {
            pagetable::update_va(address, 0).is_ok() && faults(probe::read(address).map(|_| ()))
        }),
        (10, &|| frame.words()[0].load(Ordering::SeqCst) == count),
    ];
    let wrong = checks.iter().find(|(_, right)| !right());
    wrong.map_or(0, |(step, _)| *step)
}
