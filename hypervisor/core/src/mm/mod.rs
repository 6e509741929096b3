//! Memory: who owns each frame, what it is used as, and the hypercalls about it.

pub mod audit;
pub mod descriptor;
pub mod entry;
pub mod ext;
pub mod frame;
pub mod growth;
pub mod heap;
pub mod left;
pub(crate) mod loose;
pub mod low_memory;
pub mod memory_op;
#[cfg(loom)]
pub mod model;
pub mod nodes;
pub(crate) mod owned;
pub mod pte;
pub mod ptwr;
pub mod ranges;
pub(crate) mod references;
pub mod shadow;
pub mod tlb;
pub mod types;
pub mod update;
pub mod walk;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use oxen_abi::memory::E820Entry;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::frame::{CountWord, PageType, TypeWord};
use crate::mm::heap::Place;
use crate::mm::owned::OwnedFrames;
use crate::mm::references::Dropped;
use crate::percpu::PerCpu;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, Once};
use crate::types::{DomId, Mfn};

pub use frame::get_page;
pub use types::{MmError, Unfinished};

/// A domain's memory.
#[derive(Default)]
pub struct DomainMemory {
    /// Where its frames are.
    pub(crate) owned: Mutex<OwnedFrames>,
    search: Mutex<Search>,
    /// Frames it has.
    pub total: AtomicU64,
    /// The most it may have (`DOMCTL_max_mem`), in frames.
    pub max: AtomicU64,
    /// Frames of the heap that are set aside for it.
    pub claim: heap::Claim,
    /// Frames of the hypervisor's that it may map (shared info, grant table).
    pub special: AtomicU64,
    /// The frame of `shared_info`.
    pub shared_info: Once<Mfn>,
    /// Copies of its page tables, and the log of what it writes.
    pub shadow: shadow::Shadow,
    /// E820 as `XENMEM_memory_map` shows it.
    pub e820: Mutex<Vec<E820Entry>>,
}

/// The search of a dying domain's memory for what can be let go of, which goes round.
#[derive(Default)]
struct Search {
    /// Number of the frame to look at next.
    at: u64,
    /// There was something in this round, so that there is to be another.
    found: bool,
}

impl DomainMemory {
    /// Frames it has.
    pub fn total_frames(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// The first `limit` frames of the memory of `owner`, whose memory this is.
    pub fn frames<M: Machine>(&self, machine: &M, owner: DomId, limit: usize) -> Vec<Mfn> {
        let owned = self.owned.lock();
        let mut frames = Vec::new();
        let mut at = Mfn(0);
        while frames.len() < limit
            && let Some(mfn) = owned.next(at, |mfn| is_ram_of(machine, mfn, owner))
        {
            frames.push(mfn);
            at = mfn.offset(1);
        }
        frames
    }

    /// The next frame of the search; `None` at the end of a round in which nothing was found.
    fn search<M: Machine>(&self, machine: &M, owner: DomId) -> Option<Mfn> {
        let mut search = self.search.lock();
        let owned = self.owned.lock();
        let owns = |mfn| is_ram_of(machine, mfn, owner);
        let mut next = owned.next(Mfn(search.at), owns);
        if next.is_none() && core::mem::take(&mut search.found) {
            next = owned.next(Mfn(0), owns);
        }
        search.at = next.map_or(0, |mfn| mfn.0 + 1);
        next
    }
}

fn is_ram_of<M: Machine>(machine: &M, mfn: Mfn, owner: DomId) -> bool {
    machine
        .frame(mfn)
        .is_some_and(|frame| frame.is_ram_of(owner))
}

/// Takes one more general reference on a frame that is known to have one.
pub(crate) fn hold_page<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) {
    if let Some(frame) = hv.machine.frame(mfn) {
        frame.hold();
    }
}

/// Drops a general reference; the last one frees the frame.
#[inline]
pub fn put_page<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) {
    match hv.machine.frame(mfn) {
        Some(frame) if frame.put_shared() => {}
        Some(_) => put_last(hv, mfn),
        None => {}
    }
}

/// Drops a general reference that seemed to be the last.
#[inline(never)]
pub(crate) fn put_last<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) {
    if let Some(frame) = hv.machine.frame(mfn)
        && let Dropped::Last(owner) = frame.put()
    {
        free_frame(hv, mfn, owner);
    }
}

/// A frame nobody refers to any more goes back to the heap.
fn free_frame<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn, owner: DomId) {
    let Some(frame) = hv.machine.frame(mfn) else {
        return;
    };
    let word = frame.count();
    if let Some(domain) = hv.domains.get(owner) {
        if word.has(CountWord::SPECIAL) {
            domain.memory.special.fetch_sub(1, Ordering::AcqRel);
        } else {
            domain.memory.owned.lock().remove(mfn);
            domain.memory.total.fetch_sub(1, Ordering::AcqRel);
        }
    }
    debug_assert!(
        frame.types().count() == 0,
        "{mfn:?} freed with type references"
    );
    frame.set_types(TypeWord::unused(PageType::None, tlb::clock()));
    frame.set_count(CountWord(CountWord::DIRTY));
    hv.machine.set_m2p(mfn, u64::MAX);
    hv.heap.free(&hv.machine, mfn, 0);
    if let Some(domain) = hv.domains.get(owner).filter(|domain| domain.is_dying()) {
        crate::domain::finish(hv, &domain);
    }
}

/// What a frame is allocated as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The domain's own memory; counts against its limit.
    Ram,
    /// The domain's memory while the hypervisor itself builds it: the builder writes it whole.
    Built,
    /// A frame of the hypervisor's that the domain may map: shared info, grant frames. It comes
    /// zeroed, with one general and one writable type reference held by the hypervisor.
    Shared,
}

/// Allocates 2^`order` frames at a place for a domain, near this CPU if no node is named. `None`
/// when there are none, when the domain may not have more, or when it dies. (Frames of
/// [`Purpose::Shared`] are given back by whoever asked for them, who has to look at that himself.)
pub fn alloc_frames<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    order: u8,
    place: impl Into<Place>,
    purpose: Purpose,
) -> Option<Mfn> {
    let hv = cpu.hv;
    let place = place.into();
    let place = Place {
        node: place.node.or_else(|| Some(hv.heap.nodes().of_cpu(cpu.id))),
        ..place
    };
    let frames = 1u64 << order;
    match purpose {
        Purpose::Shared => {}
        Purpose::Ram | Purpose::Built if reserve(&domain.memory, frames) => {}
        Purpose::Ram | Purpose::Built => return None,
    }
    let none = heap::Claim::default();
    let claim = match purpose {
        Purpose::Shared => &none,
        Purpose::Ram | Purpose::Built => &domain.memory.claim,
    };
    let counted = purpose != Purpose::Shared;
    let Some(block) = Block::take(hv, order, place, claim) else {
        if counted {
            unreserve(&domain.memory, frames);
        }
        return None;
    };
    if counted && !domain.memory.owned.lock().add(block.first, frames) {
        unreserve(&domain.memory, frames);
        return None;
    }
    block.hand_over(cpu, domain, purpose)
}

/// 2^`order` frames from the heap that are nobody's yet. Dropped, they are free again.
#[must_use]
pub(crate) struct Block<M: Machine> {
    hv: &'static Hypervisor<M>,
    first: Mfn,
    order: u8,
}

impl<M: Machine> Block<M> {
    /// Takes them, at a place; `None` if there are none but what is set aside for other claims than this.
    pub(crate) fn take(
        hv: &'static Hypervisor<M>,
        order: u8,
        place: Place,
        claim: &heap::Claim,
    ) -> Option<Self> {
        let first = hv.heap.alloc_claimed(&hv.machine, order, place, claim)?;
        Some(Self { hv, first, order })
    }

    /// The first of them.
    pub(crate) const fn first(&self) -> Mfn {
        self.first
    }

    fn frames(&self) -> impl Iterator<Item = Mfn> + use<M> {
        let first = self.first;
        (0..1u64 << self.order).map(move |n| first.offset(n))
    }

    /// Makes them a domain's, which has counted them among its own already unless they are [`Purpose::Shared`]. `None` if
    /// it dies: it may have been searched for frames already, so that they are given up again.
    pub(crate) fn hand_over(
        self,
        cpu: &PerCpu<M>,
        domain: &Domain<M>,
        purpose: Purpose,
    ) -> Option<Mfn> {
        let hv = self.hv;
        flush_last_use(cpu, self.first, self.order);
        for mfn in self.frames() {
            hand_over(hv, domain, mfn, purpose);
        }
        let (first, frames) = (self.first, self.frames());
        core::mem::forget(self);
        low_memory::check(hv);
        if purpose != Purpose::Shared && domain.is_dying() {
            for mfn in frames {
                if take_allocation(hv, mfn) {
                    put_page(hv, mfn);
                }
            }
            return None;
        }
        Some(first)
    }
}

impl<M: Machine> Drop for Block<M> {
    fn drop(&mut self) {
        self.hv.heap.free(&self.hv.machine, self.first, self.order);
    }
}

/// When the last of 2^`order` frames that came from the heap was lost by its owner, by the TLB clock.
fn last_use<M: Machine>(hv: &Hypervisor<M>, first: Mfn, order: u8) -> u64 {
    let frames = (0..1u64 << order).filter_map(|n| hv.machine.frame(first.offset(n)));
    frames
        .map(|frame| tlb::stamped(frame.types().stamp()))
        .max()
        .unwrap_or(0)
}

/// Takes what is left of the last owners' use of 2^`order` frames, which came from the heap, out of the CPUs' TLBs:
/// before anyone else uses them. With no lock held, for it waits for other CPUs.
fn flush_last_use<M: Machine>(cpu: &PerCpu<M>, first: Mfn, order: u8) {
    let stamp = last_use(cpu.hv, first, order);
    tlb::needed(cpu, cpu.hv.machine.cpus(), stamp).carry_out(cpu);
}

/// Gives frames that were taken from the heap without an owner, and filled, to a domain.
/// Returns whether it may have them.
pub(crate) fn adopt_frames<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain<M>,
    first: Mfn,
    count: u64,
) -> bool {
    if !reserve(&domain.memory, count) {
        return false;
    }
    if !domain.memory.owned.lock().add(first, count) {
        unreserve(&domain.memory, count);
        return false;
    }
    for mfn in (0..count).map(|n| first.offset(n)) {
        hand_over(hv, domain, mfn, Purpose::Built);
    }
    true
}

/// Counts frames against the domain's limit.
fn reserve(memory: &DomainMemory, frames: u64) -> bool {
    let max = memory.max.load(Ordering::Acquire);
    memory
        .total
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |total| {
            total.checked_add(frames).filter(|sum| *sum <= max)
        })
        .is_ok()
}

/// Counts frames that come in exchange for others, which have been taken off the count.
pub(crate) fn count_exchanged(memory: &DomainMemory, frames: u64) {
    memory.total.fetch_add(frames, Ordering::AcqRel);
}

/// Takes frames off the count again.
fn unreserve(memory: &DomainMemory, frames: u64) {
    memory.total.fetch_sub(frames, Ordering::AcqRel);
}

/// Makes a domain the owner of a frame that came from the heap, and that is counted among the
/// domain's already unless it is [`Purpose::Shared`]. That it is the owner comes last: from
/// then on its vCPUs can map the frame, or give it back.
fn hand_over<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>, mfn: Mfn, purpose: Purpose) {
    let Some(frame) = hv.machine.frame(mfn) else {
        return;
    };
    let dirty = frame.count().has(CountWord::DIRTY);
    match purpose {
        Purpose::Ram | Purpose::Built => {
            if dirty && purpose != Purpose::Built {
                hv.machine.zero_page(mfn);
            }
            frame.set_types(TypeWord::unused(PageType::None, tlb::clock()));
            frame.give_to(domain.id);
            shadow::log::mark(hv, domain, mfn);
        }
        Purpose::Shared => {
            hv.machine.zero_page(mfn);
            frame.set_types(TypeWord::validated_once(PageType::Writable));
            domain.memory.special.fetch_add(1, Ordering::AcqRel);
            frame.set_count(CountWord::new(domain.id, CountWord::SPECIAL, 1));
        }
    }
}

/// Gives back the hypervisor's references on a frame of [`Purpose::Shared`].
pub fn release_shared<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) {
    let _ = types::put_type(cpu, mfn);
    put_page(cpu.hv, mfn);
}

/// Takes the owner's reference off a frame (it was given back, or the owner dies). `false` if it
/// was gone already.
pub(crate) fn take_allocation<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) -> bool {
    let frame = hv.machine.frame(mfn);
    frame.is_some_and(|frame| frame.take_allocation())
}

/// Lets go of a dying domain's memory. `false` when it stopped because something is pending; then
/// it is to be called again. `true` when nothing more can be done now: what remains is held by
/// others (frames that other domains map), and goes when they let go.
pub fn relinquish<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) -> bool {
    while let Some(mfn) = domain.memory.search(&cpu.hv.machine, domain.id) {
        let outcome = relinquish_frame(cpu, mfn);
        if outcome != Ok(false) {
            domain.memory.search.lock().found = true;
        }
        if outcome.is_err() || cpu.preempt_needed() {
            return false;
        }
    }
    true
}

/// Takes pin, half-done validation and the owner's reference off one frame. Whether there was
/// anything to take.
fn relinquish_frame<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) -> Result<bool, Unfinished> {
    let hv = cpu.hv;
    let mut progress = false;
    if types::take_pin(cpu, mfn) {
        progress = true;
        let outcome = types::put_type(cpu, mfn);
        put_page(hv, mfn);
        outcome?;
    }
    if hv
        .machine
        .frame(mfn)
        .is_some_and(|frame| frame.types().partial())
    {
        progress = true;
        types::resume_put(cpu, Unfinished(mfn))?;
    }
    if take_allocation(hv, mfn) {
        progress = true;
        put_page(hv, mfn);
    }
    Ok(progress)
}
