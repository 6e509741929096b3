//! Free frames: a binary buddy allocator over the frame table.
//!
//! Blocks are kept by zone (the number of significant bits of their first frame's number) and
//! order, so that a request for frames below 2^n bytes looks only at zones that fit.

use oxen_abi::errno::Errno;

use crate::machine::Machine;
use crate::mm::frame::{CountWord, Frame, TypeWord};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{DomId, Mfn, PAGE_SHIFT};

/// The largest block: 2^18 frames, 1 GiB.
pub const MAX_ORDER: u8 = 18;
const ORDERS: usize = MAX_ORDER as usize + 1;
const ZONES: usize = 33;

/// Free frames of the host.
pub struct Heap {
    lists: Mutex<Lists>,
    free: AtomicU64,
    /// Frames that are set aside for domains, together; changed with the lists locked.
    claimed: AtomicU64,
}

/// Frames of the heap that are set aside for one domain and that it has not got yet
/// (`XENMEM_claim_pages`).
#[derive(Debug, Default)]
pub struct Claim(AtomicU64);

impl Claim {
    /// How many.
    pub fn frames(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

struct Lists {
    /// First free block; 0 = none (frame 0 is never in the heap).
    heads: [[u32; ORDERS]; ZONES],
}

/// Zone of a frame number.
const fn zone_of(mfn: u64) -> usize {
    let bits = (u64::BITS - mfn.leading_zeros()) as usize;
    if bits < ZONES { bits } else { ZONES - 1 }
}

fn index(mfn: Mfn) -> u32 {
    u32::try_from(mfn.0).unwrap_or(0)
}

impl Default for Heap {
    fn default() -> Self {
        Self {
            lists: Mutex::new(Lists {
                heads: [[0; ORDERS]; ZONES],
            }),
            free: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
        }
    }
}

impl Heap {
    /// An empty heap.
    pub fn new() -> Self {
        Self::default()
    }

    /// Free frames.
    pub fn free_frames(&self) -> u64 {
        self.free.load(Ordering::Acquire)
    }

    /// Frames that are set aside.
    pub fn claimed_frames(&self) -> u64 {
        self.claimed.load(Ordering::Acquire)
    }

    /// Sets frames aside. `EINVAL` if the claim has some already, `ENOMEM` if not so many are
    /// free and nobody's.
    pub fn set_aside(&self, claim: &Claim, frames: u64) -> Result<(), Errno> {
        let _lists = self.lists.lock();
        if claim.frames() != 0 {
            return Err(Errno::EINVAL);
        }
        if frames > self.free_frames().saturating_sub(self.claimed_frames()) {
            return Err(Errno::ENOMEM);
        }
        claim.0.store(frames, Ordering::Release);
        self.claimed.fetch_add(frames, Ordering::AcqRel);
        Ok(())
    }

    /// Ends a claim.
    pub fn let_go(&self, claim: &Claim) {
        let _lists = self.lists.lock();
        let frames = claim.0.swap(0, Ordering::AcqRel);
        self.claimed.fetch_sub(frames, Ordering::AcqRel);
    }

    /// Adds frames `first..end` that were nobody's (at boot). Frame 0 is left out.
    pub fn add<M: Machine>(&self, machine: &M, first: Mfn, end: Mfn) {
        let mut at = first.0.max(1);
        while at < end.0 {
            let mut order = MAX_ORDER;
            while order > 0 && (at.trailing_zeros() < u32::from(order) || at + (1 << order) > end.0)
            {
                order -= 1;
            }
            self.free(machine, Mfn(at), order);
            at += 1 << order;
        }
    }

    /// For the hypervisor itself, whoever claims what: takes a block of 2^`order` frames whose addresses fit in `bits` bits (64 = any). The
    /// frames come with a count word of zero and their old `CountWord::DIRTY` mark in the
    /// first value; the stamp says when their last owner lost them.
    pub fn alloc<M: Machine>(&self, machine: &M, order: u8, bits: u32) -> Option<Mfn> {
        self.take(machine, order, bits, None)
    }

    /// The same for a domain, which leaves alone what is set aside for others.
    pub fn alloc_claimed<M: Machine>(
        &self,
        machine: &M,
        order: u8,
        bits: u32,
        claim: &Claim,
    ) -> Option<Mfn> {
        self.take(machine, order, bits, Some(claim))
    }

    fn take<M: Machine>(
        &self,
        machine: &M,
        order: u8,
        bits: u32,
        claim: Option<&Claim>,
    ) -> Option<Mfn> {
        if order > MAX_ORDER {
            return None;
        }
        let frames = 1 << order;
        let top = (bits.saturating_sub(PAGE_SHIFT) as usize).min(ZONES - 1);
        let mut lists = self.lists.lock();
        let short = self.claimed_frames().saturating_add(frames) > self.free_frames();
        if short && claim.is_some_and(|claim| claim.frames() < frames) {
            return None;
        }
        // High zones first, so that low memory is left for those who need it.
        for zone in (0..=top).rev() {
            for found in order..=MAX_ORDER {
                let Some(head) = lists.pop(machine, zone, found) else {
                    continue;
                };
                let mut size = found;
                while size > order {
                    size -= 1;
                    lists.push(machine, head.offset(1 << size), size);
                }
                self.free.fetch_sub(frames, Ordering::AcqRel);
                if let Some(claim) = claim {
                    let used = claim.frames().min(frames);
                    claim.0.fetch_sub(used, Ordering::AcqRel);
                    self.claimed.fetch_sub(used, Ordering::AcqRel);
                }
                return Some(head);
            }
        }
        None
    }

    /// Gives a block back. Its frames' count words must be zero but for `DIRTY`.
    pub fn free<M: Machine>(&self, machine: &M, first: Mfn, order: u8) {
        let mut lists = self.lists.lock();
        let (mut block, mut size) = (first, order);
        while size < MAX_ORDER {
            let buddy = Mfn(block.0 ^ (1 << size));
            let mergeable = buddy.0 != 0
                && zone_of(buddy.0) == zone_of(block.0)
                && machine
                    .frame(buddy)
                    .is_some_and(|frame| free_order(frame) == Some(size));
            if !mergeable {
                break;
            }
            lists.unlink(machine, buddy, size);
            block = Mfn(block.0 & !(1 << size));
            size += 1;
        }
        lists.push(machine, block, size);
        self.free.fetch_add(1 << order, Ordering::AcqRel);
    }
}

/// The order of the free block that starts at this frame.
#[allow(clippy::cast_possible_truncation, reason = "orders are below 19")]
fn free_order(frame: &Frame) -> Option<u8> {
    let word = frame.count();
    word.has(CountWord::FREE)
        .then_some(((word.0 >> 48) & 0xff) as u8)
}

impl Lists {
    fn head(&mut self, zone: usize, order: u8) -> Option<&mut u32> {
        self.heads.get_mut(zone)?.get_mut(usize::from(order))
    }

    fn push<M: Machine>(&mut self, machine: &M, block: Mfn, order: u8) {
        let (Some(frame), Some(head)) = (machine.frame(block), self.head(zone_of(block.0), order))
        else {
            return;
        };
        let dirty = frame.count().0 & CountWord::DIRTY;
        frame.set_count(CountWord::new(
            DomId(u16::from(order)),
            CountWord::FREE | dirty,
            0,
        ));
        frame.prev.store(0, Ordering::Relaxed);
        frame.next.store(*head, Ordering::Relaxed);
        if let Some(next) = machine.frame(Mfn(u64::from(*head))).filter(|_| *head != 0) {
            next.prev.store(index(block), Ordering::Relaxed);
        }
        *head = index(block);
    }

    fn pop<M: Machine>(&mut self, machine: &M, zone: usize, order: u8) -> Option<Mfn> {
        let first = *self.head(zone, order)?;
        if first == 0 {
            return None;
        }
        let block = Mfn(u64::from(first));
        self.unlink(machine, block, order);
        Some(block)
    }

    fn unlink<M: Machine>(&mut self, machine: &M, block: Mfn, order: u8) {
        let Some(frame) = machine.frame(block) else {
            return;
        };
        let next = frame.next.swap(0, Ordering::Relaxed);
        let prev = frame.prev.swap(0, Ordering::Relaxed);
        if next != 0
            && let Some(next) = machine.frame(Mfn(u64::from(next)))
        {
            next.prev.store(prev, Ordering::Relaxed);
        }
        if prev == 0 {
            if let Some(head) = self.head(zone_of(block.0), order) {
                *head = next;
            }
        } else if let Some(prev) = machine.frame(Mfn(u64::from(prev))) {
            prev.next.store(next, Ordering::Relaxed);
        }
        frame.set_count(CountWord(frame.count().0 & CountWord::DIRTY));
        frame.set_types(TypeWord(0));
    }
}
