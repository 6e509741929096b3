//! What the byte heap grows from: free frames that no CPU has a translation of any more.
//!
//! The byte heap asks for memory wherever something is allocated, perhaps with locks held, so it cannot wait there for
//! other CPUs to flush their TLBs. A few blocks are kept ready that need no flush, and what was taken of them is replaced
//! on the way out to a guest, where no lock is held. What it does not need any more comes back here first, and is free
//! memory again as soon as more is ready than is kept.
//!
//! Where an allocation cannot fail, for want of a way to ask for it, `with_room` makes sure beforehand that it will not:
//! one block is left for that whatever happens, and while it is used up nobody else gets anything of it.

use alloc::boxed::Box;

use arrayvec::ArrayVec;
use oxen_abi::errno::Errno;

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::frame::CountWord;
use crate::mm::{flush_last_use, last_use, low_memory, tlb};
use crate::percpu::{Pending, PerCpu};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::types::{CpuId, Mfn};

/// Order of the blocks that are kept: 128 KiB.
const ORDER: u8 = 5;
/// Frames that are kept at least: 512 KiB.
const READY: u64 = 4 << ORDER;
/// Blocks of fewer frames are of no use: an object that fills a page does not fit in.
const SMALLEST: u8 = 1;
/// The largest block that is found for a request which none was large enough for: 16 MiB.
const LARGEST: u8 = 12;
/// Most blocks that are kept: enough for [`READY`] where there are small ones only.
const BLOCKS: usize = 64;

/// A block's first frame and its order.
type Block = (Mfn, u8);

/// Blocks of frames for the byte heap. They are nobody's.
#[derive(Debug, Default)]
pub struct Growth {
    ready: Mutex<ArrayVec<Block, BLOCKS>>,
    /// Frames in them.
    frames: AtomicU64,
    /// Fewer are ready than should be, for the last that was looked.
    short: AtomicBool,
    /// Something has come back.
    returned: AtomicBool,
    /// Order of a block that was asked for and not there; 0 = none.
    missed: AtomicU8,
    /// The CPU in [`with_room`], as its number plus one; 0 = none.
    holder: AtomicU32,
    /// The same, once it uses up the block that was left for it.
    keeper: AtomicU32,
    /// Guests run, so that free frames can have been theirs.
    guests: AtomicBool,
}

impl Growth {
    /// Whether fewer frames are ready than should be.
    #[inline]
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Frames that are ready.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Acquire)
    }

    /// The smallest block of at least 2^`order` frames; but none that is left for [`with_room`], unless `cpu` is there.
    fn pop(&self, cpu: CpuId, order: u8) -> Option<Block> {
        let mut ready = self.ready.lock();
        let holds = self.holder.load(Ordering::SeqCst) == number(cpu);
        let order = if holds { order.max(ORDER) } else { order };
        let fitting = ready.iter().enumerate();
        let (at, &(_, size)) = fitting
            .filter(|(_, block)| block.1 >= order)
            .min_by_key(|(_, block)| block.1)?;
        if !holds && size >= ORDER && large(&ready) <= 1 {
            return None;
        }
        let block = ready.swap_remove(at);
        if holds {
            self.keeper.store(number(cpu), Ordering::SeqCst);
        }
        self.frames.fetch_sub(1 << block.1, Ordering::AcqRel);
        Some(block)
    }

    /// A block without which there are enough.
    fn pop_surplus(&self) -> Option<Block> {
        let mut ready = self.ready.lock();
        let surplus = self.frames().checked_sub(READY)?;
        let one_large = large(&ready) <= 1;
        let dispensable =
            |block: &Block| 1 << block.1 <= surplus && !(one_large && block.1 >= ORDER);
        let at = ready.iter().position(dispensable)?;
        let block = ready.swap_remove(at);
        self.frames.fetch_sub(1 << block.1, Ordering::AcqRel);
        Some(block)
    }

    /// The CPU is in [`with_room`] from now on, unless another one is.
    fn enter(&self, cpu: CpuId) -> bool {
        self.holder
            .compare_exchange(0, number(cpu), Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether there is a block for it.
    fn is_left(&self) -> bool {
        large(&self.ready.lock()) > 0
    }

    /// And not any more.
    fn leave(&self) {
        self.keeper.store(0, Ordering::SeqCst);
        self.holder.store(0, Ordering::SeqCst);
    }

    /// Whether another CPU uses up the block that was left for it.
    #[inline]
    fn is_kept_from(&self, cpu: impl FnOnce() -> CpuId) -> bool {
        let keeper = self.keeper.load(Ordering::SeqCst);
        keeper != 0 && keeper != number(cpu())
    }

    /// Whether there was a place for it.
    fn push(&self, block: Block) -> bool {
        let mut ready = self.ready.lock();
        let added = ready.try_push(block).is_ok();
        if added {
            // Under the lock, so that nobody takes it off who does not find it counted.
            self.frames.fetch_add(1 << block.1, Ordering::AcqRel);
        }
        added
    }
}

const fn number(cpu: CpuId) -> u32 {
    cpu.0 as u32 + 1
}

/// How many blocks are enough for [`with_room`].
fn large(ready: &[Block]) -> usize {
    ready.iter().filter(|block| block.1 >= ORDER).count()
}

/// Whether CPU `cpu` is to get no bytes now: another one uses up the block that was left for it. Asked with the byte
/// heap locked.
#[inline]
pub fn refuses<M: Machine>(hv: &Hypervisor<M>, cpu: impl FnOnce() -> CpuId) -> bool {
    hv.growth.is_kept_from(cpu)
}

/// Runs something in which allocations are not asked for in a way that can fail, of 64 KiB in all at the most. `ENOMEM`,
/// without running it, if there is not so much. With no lock held that another CPU could wait for with interrupts off.
pub(crate) fn with_room<M: Machine, T, E: From<Errno>>(
    cpu: &PerCpu<M>,
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let growth = &cpu.hv.growth;
    let me = number(cpu.id);
    if !growth.guests.load(Ordering::Acquire) || growth.holder.load(Ordering::Relaxed) == me {
        return run();
    }
    while !growth.enter(cpu.id) {
        cpu.hv.machine.relax();
    }
    let left = || growth.is_left();
    let outcome = if left() || (add(cpu, ORDER) && left()) {
        run()
    } else {
        Err(Errno::ENOMEM.into())
    };
    growth.leave();
    outcome
}

/// A box, or `ENOMEM`. As [`with_room`].
pub(crate) fn boxed<M: Machine, T>(cpu: &PerCpu<M>, value: T) -> Result<Box<T>, Errno> {
    with_room(cpu, || Ok(Box::new(value)))
}

/// For the byte heap, on CPU `cpu`: a block of at least 2^`order` frames that is its own from now on, as first frame and
/// order. It waits for nobody and takes no bytes.
pub fn take<M: Machine>(hv: &Hypervisor<M>, cpu: CpuId, order: u8) -> Option<(Mfn, u8)> {
    let growth = &hv.growth;
    if !growth.guests.load(Ordering::Acquire) {
        return free_block(hv, order, |_| true);
    }
    let flushed = |(first, order): Block| tlb::all_flushed(hv, last_use(hv, first, order));
    let block = growth
        .pop(cpu, order)
        .or_else(|| free_block(hv, order, flushed));
    if block.is_none() {
        growth.missed.fetch_max(order, Ordering::AcqRel);
    }
    if block.is_none() || growth.frames() < READY {
        growth.short.store(true, Ordering::Relaxed);
        hv.raise(cpu, Pending::MEMORY, cpu);
    }
    block
}

/// For the byte heap, on CPU `cpu`: a block that [`take`] gave is not its own any more. Whether there was a place for
/// it; if not, the heap keeps it.
pub fn give_back<M: Machine>(hv: &Hypervisor<M>, cpu: CpuId, block: (Mfn, u8)) -> bool {
    let taken = hv.growth.push(block);
    if hv.growth.frames() > READY && !hv.growth.returned.swap(true, Ordering::AcqRel) {
        hv.raise(cpu, Pending::MEMORY, cpu);
    }
    taken
}

/// A free block of the usual order or, if there is none or it does not please, of the order that is needed.
fn free_block<M: Machine>(
    hv: &Hypervisor<M>,
    order: u8,
    pleases: impl Fn(Block) -> bool,
) -> Option<Block> {
    let try_one = |order| {
        let block = (hv.heap.alloc(&hv.machine, order, u64::BITS)?, order);
        if !pleases(block) {
            hv.heap.free(&hv.machine, block.0, order);
            return None;
        }
        Some(block)
    };
    try_one(order.max(ORDER)).or_else(|| try_one(order.max(SMALLEST)))
}

/// Guests are going to run: from now on free frames may have been theirs.
pub(crate) fn start<M: Machine>(cpu: &PerCpu<M>) {
    cpu.hv.growth.guests.store(true, Ordering::Release);
    refill(cpu);
}

/// Replaces what the byte heap has taken, and frees what it has given back. With no lock held, for it waits for other
/// CPUs.
pub(crate) fn refill<M: Machine>(cpu: &PerCpu<M>) {
    let growth = &cpu.hv.growth;
    let missed = growth.missed.swap(0, Ordering::AcqRel);
    if (ORDER + 1..=LARGEST).contains(&missed) {
        add(cpu, missed);
    }
    growth.short.store(!fill(cpu), Ordering::Relaxed);
    if growth.returned.swap(false, Ordering::AcqRel) {
        free_surplus(cpu.hv);
    }
    low_memory::check(cpu.hv);
}

/// Makes blocks ready until there are enough. Whether there are.
fn fill<M: Machine>(cpu: &PerCpu<M>) -> bool {
    let mut order = ORDER;
    while cpu.hv.growth.frames() < READY {
        if add(cpu, order) {
            continue;
        }
        if order == SMALLEST {
            return false;
        }
        order -= 1;
    }
    true
}

/// Makes free memory of what is ready beyond what is kept.
fn free_surplus<M: Machine>(hv: &Hypervisor<M>) {
    while let Some((first, order)) = hv.growth.pop_surplus() {
        for mfn in first.0..first.0 + (1 << order) {
            if let Some(frame) = hv.machine.frame(Mfn(mfn)) {
                // The byte heap has written it.
                frame.set_count(CountWord(CountWord::DIRTY));
            }
        }
        hv.heap.free(&hv.machine, first, order);
    }
}

/// Makes one more block ready; whether there was one, and a place for it.
fn add<M: Machine>(cpu: &PerCpu<M>, order: u8) -> bool {
    let hv = cpu.hv;
    let Some(first) = hv.heap.alloc(&hv.machine, order, u64::BITS) else {
        return false;
    };
    flush_last_use(cpu, first, order);
    let added = hv.growth.push((first, order));
    if !added {
        hv.heap.free(&hv.machine, first, order);
    }
    added
}

/// CPUs that want memory at once.
#[cfg(loom)]
pub mod model {
    use super::{Growth, ORDER};
    use crate::models::{explore_within, spawn, stays};
    use crate::types::{CpuId, Mfn};

    fn two_blocks() -> &'static Growth {
        let growth = Growth::default();
        assert!(growth.push((Mfn(64), ORDER)) && growth.push((Mfn(128), ORDER)));
        stays(growth)
    }

    /// Whatever others take meanwhile, who was told that a block is left gets one, and keeps it for himself.
    pub fn what_was_left_is_there() {
        explore_within(4, || {
            let growth = two_blocks();
            let other = spawn(|| {
                let taken = [1, 1].map(|order| growth.pop(CpuId(1), order));
                taken.iter().flatten().count()
            });
            let me = CpuId(0);
            assert!(growth.enter(me));
            let mut mine = 0;
            if growth.is_left() {
                assert!(growth.pop(me, 1).is_some());
                assert!(growth.is_kept_from(|| CpuId(1)) && !growth.is_kept_from(|| me));
                mine = 1;
            }
            growth.leave();
            let others = other.join().unwrap();
            assert_eq!(mine, 1, "others leave one");
            let left = u64::try_from(2 - mine - others).unwrap();
            assert_eq!(growth.frames(), left << ORDER);
        });
    }

    /// A block comes while another goes: the count of frames never says more than there are.
    pub fn the_count_is_never_more() {
        explore_within(4, || {
            let growth = two_blocks();
            let other = spawn(|| assert!(growth.push((Mfn(192), ORDER))));
            for order in [1, 1] {
                growth.pop(CpuId(0), order);
                assert!(growth.frames() <= 2 << ORDER);
            }
            other.join().unwrap();
            assert_eq!(
                growth.frames(),
                u64::try_from(growth.ready.lock().len()).unwrap() << ORDER
            );
        });
    }

    /// One CPU at a time has the block that is left, and nothing of that stays.
    pub fn one_is_within() {
        explore_within(4, || {
            let growth = two_blocks();
            let within = |cpu| {
                if growth.enter(cpu) {
                    if growth.pop(cpu, 1).is_some() {
                        assert!(!growth.is_kept_from(|| cpu), "another one has it too");
                    }
                    growth.leave();
                }
            };
            let other = spawn(move || within(CpuId(1)));
            within(CpuId(0));
            other.join().unwrap();
            assert!(!growth.is_kept_from(|| CpuId(0)) && growth.enter(CpuId(2)));
        });
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use super::*;
    use crate::domain::Domain;
    use crate::mm::{put_page, take_allocation};
    use crate::testing::{Host, Sim};

    const CPU: CpuId = CpuId(0);

    /// A host whose every free frame was a guest's a moment ago, but for those that are ready.
    fn used_up() -> (Host, Arc<Domain<Sim>>) {
        let host = Host::new();
        start(&host.cpu);
        let domain = host.domain(1, 1, 2048);
        let mut frames = Vec::new();
        while host.hv.heap.free_frames() > 0 {
            frames.push(host.ram(&domain));
        }
        for mfn in frames {
            assert!(take_allocation(host.hv, mfn));
            put_page(host.hv, mfn);
        }
        host.machine().flushes.store(0, Ordering::Release);
        (host, domain)
    }

    /// Takes all that is ready for anyone.
    fn use_up(hv: &Hypervisor<Sim>) {
        for left in (1..4).rev() {
            assert_eq!(take(hv, CPU, 1).map(|block| block.1), Some(ORDER));
            assert_eq!(hv.growth.frames(), left << ORDER);
        }
        assert_eq!(take(hv, CPU, 1), None);
    }

    #[test]
    fn one_block_is_left_for_what_must_not_fail() {
        let (host, domain) = used_up();
        let (hv, other) = (host.hv, CpuId(1));
        while host.hv.heap.free_frames() > 0 {
            host.ram(&domain);
        }
        use_up(hv);
        let inside = || {
            assert!(!refuses(hv, || other));
            assert_eq!(take(hv, other, 1), None);
            assert_eq!(take(hv, CPU, 1).map(|block| block.1), Some(ORDER));
            assert!(refuses(hv, || other) && !refuses(hv, || CPU));
            // Within it the same is no second use.
            with_room(&host.cpu, || Ok::<_, Errno>(()))
        };
        assert_eq!(with_room(&host.cpu, inside), Ok(()));
        assert!(!refuses(hv, || other));
        assert_eq!(hv.growth.frames(), 0);
        assert_eq!(with_room(&host.cpu, || Ok(())), Err(Errno::ENOMEM));
        assert_eq!(boxed(&host.cpu, 1), Err(Errno::ENOMEM));
        // Someone gives memory back.
        let given = domain.memory.frames(host.machine(), domain.id, 64);
        for mfn in given {
            assert!(take_allocation(hv, mfn));
            put_page(hv, mfn);
        }
        assert_eq!(with_room(&host.cpu, || Ok::<_, Errno>(())), Ok(()));
    }

    #[test]
    fn before_guests_run_it_grows_without_a_flush() {
        let host = Host::new();
        assert_eq!(take(host.hv, CPU, 1).map(|block| block.1), Some(ORDER));
        assert_eq!(take(host.hv, CPU, 9).map(|block| block.1), Some(9));
        assert_eq!(host.machine().flushes.load(Ordering::Acquire), 0);
        assert!(!host.cpu.has_work());
    }

    #[test]
    fn what_a_tlb_may_have_is_flushed_before_it_is_taken() {
        let (host, _domain) = used_up();
        let hv = host.hv;
        assert_eq!(hv.growth.frames(), READY);
        use_up(hv);
        // There is more, but other CPUs may still write it.
        assert_eq!(take(hv, CPU, 1), None);
        assert_eq!(host.machine().flushes.load(Ordering::Acquire), 0);
        assert!(hv.growth.is_short());
        let pending =
            Pending::from_bits_truncate(host.cpu.shared().pending.load(Ordering::Acquire));
        assert_eq!(pending, Pending::MEMORY);
        // Not before the flush is over.
        *host.machine().meanwhile.lock() =
            Some(Box::new(move || assert_eq!(take(hv, CPU, 1), None)));
        refill(&host.cpu);
        assert!(host.machine().meanwhile.lock().is_none());
        assert!(!hv.growth.is_short());
        assert!(take(hv, CPU, 1).is_some());
    }

    #[test]
    fn what_all_cpus_have_flushed_is_taken_at_once() {
        let (host, _domain) = used_up();
        use_up(host.hv);
        tlb::flush_local(&host.cpu);
        assert_eq!(take(host.hv, CPU, 1), None, "the other one has not");
        host.hv.cpu(CpuId(1)).last_flush.is_last();
        assert!(take(host.hv, CPU, 1).is_some());
    }

    #[test]
    fn fragmented_memory_serves_in_small_pieces() {
        let host = Host::new();
        let domain = host.domain(1, 1, 2048);
        let mut frames = Vec::new();
        while host.hv.heap.free_frames() > 0 {
            frames.push(host.ram(&domain));
        }
        // Pairs of frames with pairs between that stay.
        frames.sort_unstable();
        for mfn in frames.into_iter().filter(|mfn| mfn.0 & 2 == 0) {
            assert!(take_allocation(host.hv, mfn));
            put_page(host.hv, mfn);
        }
        start(&host.cpu);
        assert_eq!(host.hv.growth.frames(), READY);
        assert_eq!(take(host.hv, CPU, 1).map(|block| block.1), Some(1));
        assert_eq!(take(host.hv, CPU, 2), None);
        assert_eq!(with_room(&host.cpu, || Ok(())), Err(Errno::ENOMEM));
    }

    #[test]
    fn what_comes_back_is_free_memory_again_and_is_cleared() {
        let (host, _domain) = used_up();
        let hv = host.hv;
        refill(&host.cpu);
        let before = hv.heap.free_frames();
        let blocks = [1, 2, ORDER, ORDER, ORDER].map(|_| {
            let block = take(hv, CPU, 1).unwrap();
            refill(&host.cpu);
            block
        });
        assert_eq!(hv.heap.free_frames(), before - (5 << ORDER));
        for block in blocks {
            for mfn in block.0.0..block.0.0 + (1 << block.1) {
                let page = host.machine().page(Mfn(mfn)).unwrap();
                page[0].store(0x5a, Ordering::Release);
            }
            assert!(give_back(hv, CPU, block));
        }
        assert!(host.cpu.has_work());
        refill(&host.cpu);
        assert_eq!(hv.growth.frames(), READY);
        assert_eq!(hv.heap.free_frames(), before);
        // None of it is seen by a guest.
        let guest = host.domain(2, 1, 2048);
        while hv.heap.free_frames() > 0 {
            let mfn = host.ram(&guest);
            let page = host.machine().page(mfn).unwrap();
            assert!(page.iter().all(|word| word.load(Ordering::Acquire) == 0));
        }
    }

    #[test]
    fn without_a_place_for_it_the_byte_heap_keeps_a_block() {
        let host = Host::new();
        let block = || (host.hv.heap.alloc(host.machine(), 1, u64::BITS).unwrap(), 1);
        for _ in 0..BLOCKS {
            assert!(give_back(host.hv, CPU, block()));
        }
        assert!(!give_back(host.hv, CPU, block()));
        assert_eq!(host.hv.growth.frames(), 2 * BLOCKS as u64);
    }

    #[test]
    fn a_large_block_that_was_missed_is_there_next_time() {
        let (host, _domain) = used_up();
        assert_eq!(take(host.hv, CPU, 9), None);
        refill(&host.cpu);
        assert_eq!(take(host.hv, CPU, 9).map(|block| block.1), Some(9));
        assert_eq!(take(host.hv, CPU, LARGEST + 1), None);
        refill(&host.cpu);
        assert_eq!(host.hv.growth.frames(), READY);
    }
}
