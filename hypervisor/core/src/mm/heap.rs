//! Free frames: a binary buddy allocator over the frame table.
//!
//! Blocks are kept by NUMA node, zone (the number of significant bits of their first frame's
//! number) and order, so that a request for frames below 2^n bytes looks only at zones that fit,
//! and one for memory near a CPU at that CPU's node first. Memory that devices of few address bits
//! reach is handed out last.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use oxen_abi::errno::Errno;

use crate::machine::Machine;
use crate::mm::frame::{Frame, FreeBlock};
use crate::mm::nodes::Nodes;
use crate::mm::tlb;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Mfn, PAGE_SHIFT};

/// The largest block: 2^18 frames, 1 GiB.
pub const MAX_ORDER: u8 = 18;
const ORDERS: usize = MAX_ORDER as usize + 1;
const ZONES: usize = 33;

/// Where frames are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Their addresses fit in so many bits; 64 = any.
    pub bits: u32,
    /// Near this node, if there is one of this number.
    pub node: Option<usize>,
    /// In no other node.
    pub exact: bool,
}

impl From<u32> for Place {
    /// Frames whose addresses fit in so many bits, anywhere.
    fn from(bits: u32) -> Self {
        Self {
            bits,
            node: None,
            exact: false,
        }
    }
}

/// Memory for devices that reach no further (`dma_bits`, `dma_emergency_pool`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Their address bits.
    pub bits: u32,
    /// Frames below that which only requests with a width get.
    pub kept: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self { bits: 30, kept: 0 }
    }
}

/// Free frames of the host.
pub struct Heap {
    lists: Mutex<Lists>,
    free: AtomicU64,
    nodes: Nodes,
    pool: Pool,
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

/// A node's blocks, by zone and order.
type Heads = [[u32; ORDERS]; ZONES];

struct Lists {
    /// First free block of each kind, by node; 0 = none (frame 0 is never in the heap).
    heads: Vec<Heads>,
    /// Free frames, by node and zone.
    free: Vec<[u64; ZONES]>,
}

/// Zone of a frame number.
const fn zone_of(mfn: u64) -> usize {
    let bits = (u64::BITS - mfn.leading_zeros()) as usize;
    if bits < ZONES { bits } else { ZONES - 1 }
}

/// The highest zone whose frames' addresses all fit in so many bits.
fn highest_zone(bits: u32) -> usize {
    (bits.saturating_sub(PAGE_SHIFT) as usize).min(ZONES - 1)
}

fn index(mfn: Mfn) -> u32 {
    u32::try_from(mfn.0).unwrap_or(0)
}

impl Default for Heap {
    fn default() -> Self {
        Self::new(Nodes::default(), Pool::default())
    }
}

impl Heap {
    /// An empty heap.
    pub fn new(nodes: Nodes, pool: Pool) -> Self {
        Self {
            lists: Mutex::new(Lists {
                heads: vec![[[0; ORDERS]; ZONES]; nodes.count()],
                free: vec![[0; ZONES]; nodes.count()],
            }),
            free: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            nodes,
            pool,
        }
    }

    /// The host's nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Free frames of a node.
    pub fn free_in_node(&self, node: usize) -> u64 {
        let lists = self.lists.lock();
        lists.free.get(node).map_or(0, |zones| zones.iter().sum())
    }

    /// Free frames of a node, or of all, in the zones of addresses of `least` to `most` bits. A zone has the frames
    /// whose addresses have the same highest bit.
    pub fn free_between(&self, node: Option<usize>, least: u32, most: u32) -> u64 {
        let (low, high) = (highest_zone(least), highest_zone(most));
        let lists = self.lists.lock();
        let nodes = lists.free.iter().enumerate();
        let wanted = nodes.filter(|(number, _)| node.is_none_or(|node| node == *number));
        wanted
            .flat_map(|(_, zones)| zones.iter().take(high + 1).skip(low))
            .sum()
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
            let node = self.nodes.of_frame(Mfn(at));
            while order > 0
                && (at.trailing_zeros() < u32::from(order)
                    || at + (1 << order) > end.0
                    || self.nodes.of_frame(Mfn(at + (1 << order) - 1)) != node)
            {
                order -= 1;
            }
            self.free(machine, Mfn(at), order);
            at += 1 << order;
        }
    }

    /// For the hypervisor itself, whoever claims what: takes a block of 2^`order` frames at a
    /// place. The frames come with a count word of zero and their old `CountWord::DIRTY` mark in
    /// the first value; the stamp says when their last owner lost them.
    pub fn alloc<M: Machine>(
        &self,
        machine: &M,
        order: u8,
        place: impl Into<Place>,
    ) -> Option<Mfn> {
        self.take(machine, order, place.into(), None)
    }

    /// The same for a domain, which leaves alone what is set aside for others.
    pub fn alloc_claimed<M: Machine>(
        &self,
        machine: &M,
        order: u8,
        place: Place,
        claim: &Claim,
    ) -> Option<Mfn> {
        self.take(machine, order, place, Some(claim))
    }

    fn take<M: Machine>(
        &self,
        machine: &M,
        order: u8,
        place: Place,
        claim: Option<&Claim>,
    ) -> Option<Mfn> {
        if order > MAX_ORDER {
            return None;
        }
        let frames = 1 << order;
        let wanted = place.node.filter(|node| *node < self.nodes.count());
        if place.exact && wanted.is_none() {
            return None;
        }
        let first = wanted.unwrap_or(0);
        let only = [first];
        let nodes = if place.exact {
            &only
        } else {
            self.nodes.nearest(first)
        };
        let (top, low) = (highest_zone(place.bits), highest_zone(self.pool.bits));
        let mut lists = self.lists.lock();
        let short = self.claimed_frames().saturating_add(frames) > self.free_frames();
        if short && claim.is_some_and(|claim| claim.frames() < frames) {
            return None;
        }
        let mut block = lists.take(machine, nodes, low + 1..=top, order);
        let ordinary = place.bits >= u64::BITS;
        let kept = if ordinary { self.pool.kept } else { 0 };
        if block.is_none() && (kept == 0 || lists.free_below(low) >= kept.saturating_add(frames)) {
            block = lists.take(machine, nodes, 0..=top.min(low), order);
        }
        if block.is_some() {
            self.free.fetch_sub(frames, Ordering::AcqRel);
            if let Some(claim) = claim {
                let used = claim.frames().min(frames);
                claim.0.fetch_sub(used, Ordering::AcqRel);
                self.claimed.fetch_sub(used, Ordering::AcqRel);
            }
        }
        block
    }

    /// Gives a block back. Its frames' count words must be zero but for `DIRTY`.
    pub fn free<M: Machine>(&self, machine: &M, first: Mfn, order: u8) {
        let mut lists = self.lists.lock();
        let (mut block, mut size) = (first, order);
        let node = self.nodes.of_frame(first);
        while size < MAX_ORDER {
            let buddy = Mfn(block.0 ^ (1 << size));
            let mergeable = buddy.0 != 0
                && zone_of(buddy.0) == zone_of(block.0)
                && self.nodes.of_frame(buddy) == node
                && machine
                    .frame(buddy)
                    .and_then(|frame| frame.free_block())
                    .is_some_and(|free| free.order == size);
            if !mergeable {
                break;
            }
            lists.unlink(machine, node, buddy, size);
            block = Mfn(block.0 & !(1 << size));
            size += 1;
        }
        lists.push(machine, node, block, size);
        self.free.fetch_add(1 << order, Ordering::AcqRel);
    }
}

/// The block behind a link, `None` at the list's end.
fn listed<M: Machine>(machine: &M, link: u32) -> Option<(Frame, FreeBlock)> {
    let frame = machine.frame(Mfn(u64::from(link))).filter(|_| link != 0)?;
    Some((frame, frame.free_block()?))
}

impl Lists {
    fn head(&mut self, node: usize, zone: usize, order: u8) -> Option<&mut u32> {
        let zones = self.heads.get_mut(node)?;
        zones.get_mut(zone)?.get_mut(usize::from(order))
    }

    fn free(&mut self, node: usize, block: Mfn) -> Option<&mut u64> {
        self.free.get_mut(node)?.get_mut(zone_of(block.0))
    }

    /// Free frames in zones up to this one, of all nodes.
    fn free_below(&self, zone: usize) -> u64 {
        let zones = self
            .free
            .iter()
            .flat_map(|zones| zones.iter().take(zone + 1));
        zones.sum()
    }

    /// Takes a block out of the first node that has one, from its highest zone, and splits it.
    fn take<M: Machine>(
        &mut self,
        machine: &M,
        nodes: &[usize],
        zones: RangeInclusive<usize>,
        order: u8,
    ) -> Option<Mfn> {
        for node in nodes {
            for zone in zones.clone().rev() {
                for found in order..=MAX_ORDER {
                    let Some(head) = self.pop(machine, *node, zone, found) else {
                        continue;
                    };
                    for size in (order..found).rev() {
                        self.push(machine, *node, head.offset(1 << size), size);
                    }
                    return Some(head);
                }
            }
        }
        None
    }

    fn push<M: Machine>(&mut self, machine: &M, node: usize, block: Mfn, order: u8) {
        if let Some(free) = self.free(node, block) {
            *free += 1 << order;
        }
        let (Some(frame), Some(head)) = (
            machine.frame(block),
            self.head(node, zone_of(block.0), order),
        ) else {
            return;
        };
        frame.set_free_block(FreeBlock {
            order,
            before: 0,
            next: *head,
        });
        if let Some((next, free)) = listed(machine, *head) {
            let before = index(block);
            next.set_free_block(FreeBlock { before, ..free });
        }
        *head = index(block);
    }

    fn pop<M: Machine>(&mut self, machine: &M, node: usize, zone: usize, order: u8) -> Option<Mfn> {
        let first = *self.head(node, zone, order)?;
        if first == 0 {
            return None;
        }
        let block = Mfn(u64::from(first));
        self.unlink(machine, node, block, order);
        Some(block)
    }

    fn unlink<M: Machine>(&mut self, machine: &M, node: usize, block: Mfn, order: u8) {
        if let Some(free) = self.free(node, block) {
            *free -= 1 << order;
        }
        let Some((frame, FreeBlock { before, next, .. })) = listed(machine, index(block)) else {
            return;
        };
        if let Some((next, free)) = listed(machine, next) {
            next.set_free_block(FreeBlock { before, ..free });
        }
        match listed(machine, before) {
            Some((before, free)) => before.set_free_block(FreeBlock { next, ..free }),
            None => {
                if let Some(head) = self.head(node, zone_of(block.0), order) {
                    *head = next;
                }
            }
        }
        frame.clear_free_block(tlb::clock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sim;

    /// Frames 1 to 4095, of which the upper half is node 1's; low memory ends at frame 1024.
    fn heap(kept: u64) -> (Sim, Heap) {
        let machine = Sim::new(4096);
        let memory = vec![(Mfn(0), Mfn(2048), 0), (Mfn(2048), Mfn(4096), 1)];
        let nodes = Nodes::new(2, memory, vec![0, 1], |_, _| 10);
        let heap = Heap::new(nodes, Pool { bits: 22, kept });
        heap.add(&machine, Mfn(1), Mfn(4096));
        (machine, heap)
    }

    fn near(node: usize, exact: bool) -> Place {
        Place {
            bits: 64,
            node: Some(node),
            exact,
        }
    }

    #[test]
    fn frames_come_from_the_wanted_node_first() {
        let (machine, heap) = heap(0);
        let mut got = [0; 2];
        for _ in 0..2048 {
            let mfn = heap
                .alloc(&machine, 0, near(1, true))
                .expect("node 1 has frames");
            got[heap.nodes().of_frame(mfn)] += 1;
        }
        assert_eq!((got, heap.free_in_node(1)), ([0, 2048], 0));
        assert_eq!(heap.alloc(&machine, 0, near(1, true)), None);
        let other = heap
            .alloc(&machine, 0, near(1, false))
            .expect("node 0 has frames");
        assert!(other.0 < 2048);
        assert_eq!(heap.alloc(&machine, 0, near(2, true)), None);
        assert_eq!(heap.free_frames(), 4095 - 2049);
        assert_eq!(heap.free_in_node(0), heap.free_frames());
    }

    #[test]
    fn blocks_of_two_nodes_do_not_merge() {
        let (machine, heap) = heap(0);
        let mut all = Vec::new();
        while let Some(mfn) = heap.alloc(&machine, 0, 64) {
            all.push(mfn);
        }
        assert_eq!(all.len(), 4095);
        for mfn in all {
            heap.free(&machine, mfn, 0);
        }
        // 2048 frames from frame 2048 on are one block; with a neighbour it would be larger.
        assert!(heap.alloc(&machine, 12, 64).is_none());
        assert_eq!(heap.alloc(&machine, 11, near(1, true)), Some(Mfn(2048)));
        assert_eq!(heap.free_in_node(0), 2047);
    }

    #[test]
    fn free_memory_is_told_by_the_width_of_addresses() {
        let machine = Sim::new(256);
        let heap = Heap::default();
        heap.add(&machine, Mfn(16), Mfn(200));
        let bits = |frames: u32| frames.ilog2() + PAGE_SHIFT;
        assert_eq!(heap.free_between(None, 0, u64::BITS), 184);
        // Below frame 32, 64 and 128; from 64 on.
        assert_eq!(heap.free_between(None, 0, bits(32)), 16);
        assert_eq!(heap.free_between(None, 0, bits(64)), 48);
        assert_eq!(heap.free_between(Some(0), 0, bits(128)), 112);
        assert_eq!(heap.free_between(None, bits(128), bits(128)), 64);
        assert_eq!(heap.free_between(None, bits(256), u64::BITS), 72);
        assert_eq!(heap.free_between(Some(1), 0, u64::BITS), 0);
    }

    #[test]
    fn low_memory_is_used_last_and_kept() {
        let (machine, heap) = heap(100);
        let mut low = 0;
        while let Some(mfn) = heap.alloc(&machine, 0, 64) {
            assert!(mfn.0 >= 1024 || heap.free_frames() < 1023, "{mfn:?}");
            low += u64::from(mfn.0 < 1024);
        }
        assert_eq!(low, 1023 - 100);
        assert_eq!(heap.free_frames(), 100);
        assert!(heap.alloc(&machine, 0, 22).is_some());
    }
}
