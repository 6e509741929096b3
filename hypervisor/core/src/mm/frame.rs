//! The frame table's entry: owner, references and type of one machine frame.
//!
//! Two words carry it, each changed only by compare-and-exchange: 12 bytes. A frame's *type* says what the
//! guest's page tables may do with it: a frame that is a page table can't be mapped writable and
//! the other way round, which is all that keeps guests with direct paging apart. A type is held
//! by a count of references and can only change when that count is zero.

use crate::machine::Machine;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::types::DomId;

/// What a frame is used as while its type count is not zero (Xen's `PGT_*`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PageType {
    /// Nothing in particular: mapped read-only at the most.
    None,
    /// L1 page table.
    L1,
    /// L2 page table.
    L2,
    /// L3 page table.
    L3,
    /// L4 page table.
    L4,
    /// Page of a GDT or LDT.
    Descriptors,
    /// Mapped writable, or written by the hypervisor on the guest's behalf.
    Writable,
}

impl PageType {
    /// The type of a page table of this level (1-4).
    pub const fn table(level: u8) -> Option<Self> {
        match level {
            1 => Some(Self::L1),
            2 => Some(Self::L2),
            3 => Some(Self::L3),
            4 => Some(Self::L4),
            _ => None,
        }
    }

    /// The level of a page table, `None` for other types.
    pub const fn level(self) -> Option<u8> {
        match self {
            Self::L1 => Some(1),
            Self::L2 => Some(2),
            Self::L3 => Some(3),
            Self::L4 => Some(4),
            Self::None | Self::Descriptors | Self::Writable => None,
        }
    }

    const fn to_bits(self) -> u32 {
        (self as u32) << TypeWord::TYPE_SHIFT
    }

    const fn from_bits(word: u32) -> Self {
        match word >> TypeWord::TYPE_SHIFT {
            1 => Self::L1,
            2 => Self::L2,
            3 => Self::L3,
            4 => Self::L4,
            5 => Self::Descriptors,
            6 => Self::Writable,
            _ => Self::None,
        }
    }
}

/// The type word, taken apart: type (3 bits), pin, state (2 bits), and 26 bits whose meaning hangs
/// on the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeWord(pub(crate) u32);

impl TypeWord {
    const TYPE_SHIFT: u32 = 29;
    const VALUE_BITS: u32 = 26;
    /// The most type references to a frame: 67,108,863. And the TLB clock's part that is kept.
    const VALUE: u32 = (1 << Self::VALUE_BITS) - 1;
    /// The guest has pinned it: one type reference is held for that.
    const PINNED: u32 = 1 << 28;
    const STATE: u32 = 3 << Self::VALUE_BITS;
    /// No references to the type. The value is the TLB clock when the last one was dropped.
    const UNUSED: u32 = 0;
    /// One reference, by whoever is checking the contents, or undoing that.
    const BUSY: u32 = 1 << Self::VALUE_BITS;
    /// The contents have been checked against the type. The value counts references.
    const VALIDATED: u32 = 2 << Self::VALUE_BITS;
    /// Checking (or undoing that) stopped half way and nobody is at it. The stop itself holds
    /// one type and one general reference. The value says how far it came.
    const PARTIAL: u32 = 3 << Self::VALUE_BITS;

    const fn new(kind: PageType, state: u32, value: u32) -> Self {
        Self(kind.to_bits() | state | value)
    }

    /// Without references, the last one dropped when the TLB clock was this.
    #[allow(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    pub(crate) const fn unused(kind: PageType, clock: u64) -> Self {
        Self::new(kind, Self::UNUSED, clock as u32 & Self::VALUE)
    }

    /// With one reference, by whoever works on it.
    pub(crate) const fn busy(kind: PageType) -> Self {
        Self::new(kind, Self::BUSY, 0)
    }

    /// With one reference, and as it should be.
    pub(crate) const fn validated_once(kind: PageType) -> Self {
        Self::new(kind, Self::VALIDATED, 1)
    }

    /// What it is used as.
    pub const fn kind(self) -> PageType {
        PageType::from_bits(self.0)
    }

    /// Whether it is used as this: quicker than to find out as what.
    pub(crate) const fn kind_is(self, kind: PageType) -> bool {
        self.0 >> Self::TYPE_SHIFT == kind as u32
    }

    /// Whether it is used as this and its contents are known to fit.
    pub(crate) const fn is_validated_as(self, kind: PageType) -> bool {
        self.0 & !(Self::PINNED | Self::VALUE) == kind.to_bits() | Self::VALIDATED
    }

    /// Whether there are type references: [`TypeWord::count`] is not 0.
    pub(crate) const fn held(self) -> bool {
        self.0 & Self::STATE != Self::UNUSED
    }

    /// Type references.
    pub const fn count(self) -> u32 {
        match self.0 & Self::STATE {
            Self::UNUSED => 0,
            Self::VALIDATED => self.0 & Self::VALUE,
            _ => 1,
        }
    }

    /// The low bits of the TLB clock when the last type reference was dropped, while there is none.
    pub(crate) const fn stamp(self) -> Stamp {
        Stamp(self.0 & Self::VALUE)
    }

    /// How far checking (or undoing that) came, while it is partial.
    pub(crate) fn progress(self) -> usize {
        usize::try_from(self.0 & Self::VALUE).unwrap_or(0)
    }

    /// Whether the guest has pinned it.
    pub const fn pinned(self) -> bool {
        self.0 & Self::PINNED != 0
    }

    /// Whether its contents are known to fit its type, and the type is held.
    pub const fn validated(self) -> bool {
        self.0 & Self::STATE == Self::VALIDATED
    }

    /// Whether validation stopped half way.
    pub const fn partial(self) -> bool {
        self.0 & Self::STATE == Self::PARTIAL
    }

    /// With a pin.
    pub(crate) const fn pin(self) -> Self {
        Self(self.0 | Self::PINNED)
    }

    /// Without a pin.
    pub(crate) const fn unpin(self) -> Self {
        Self(self.0 & !Self::PINNED)
    }

    /// With one reference and in this state instead of the one that it is in.
    const fn once(self, state: u32, value: u32) -> Self {
        Self(self.0 & !(Self::STATE | Self::VALUE) | state | value)
    }

    /// From busy to validated.
    pub(crate) const fn now_validated(self) -> Self {
        self.once(Self::VALIDATED, 1)
    }

    /// From partial, or from validated with its last reference, to busy.
    pub(crate) const fn now_busy(self) -> Self {
        self.once(Self::BUSY, 0)
    }

    /// From busy to partial, after so many entries.
    pub(crate) fn now_partial(self, progress: u16) -> Self {
        self.once(Self::PARTIAL, progress.into())
    }

    /// One reference more to a validated type, or `None` at the ceiling.
    pub(crate) const fn up(self) -> Option<Self> {
        if self.0 & Self::VALUE == Self::VALUE {
            None
        } else {
            Some(Self(self.0 + 1))
        }
    }

    /// One reference less to a validated type, or `None` if there is no other.
    pub(crate) const fn down(self) -> Option<Self> {
        if self.0 & Self::VALUE <= 1 {
            None
        } else {
            Some(Self(self.0 - 1))
        }
    }
}

/// The low bits of a moment of the TLB clock ([`crate::mm::tlb::stamped`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp(pub(crate) u32);

impl Stamp {
    /// How many bits it has.
    pub const BITS: u32 = TypeWord::VALUE_BITS;
}

/// The count word, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountWord(pub(crate) u64);

impl CountWord {
    /// The most general references.
    pub(crate) const COUNT: u64 = (1 << 40) - 1;
    const OWNER_SHIFT: u32 = 48;
    /// The owner holds its reference (gone once the frame was given back).
    pub(crate) const ALLOCATED: u64 = 1 << 40;
    /// On no page list: a frame of the hypervisor that the owner may map (shared info, grants).
    pub(crate) const SPECIAL: u64 = 1 << 41;
    /// The hypervisor's own: never to be mapped by anyone.
    pub(crate) const HYPERVISOR: u64 = 1 << 42;
    /// Free, and the first of a block in the buddy allocator ([`FreeBlock`]).
    pub(crate) const FREE: u64 = 1 << 43;
    /// Holds a guest's old data: to be zeroed before anyone else gets it.
    pub(crate) const DIRTY: u64 = 1 << 44;
    /// Device memory or firmware's, not RAM.
    pub(crate) const IO: u64 = 1 << 45;
    /// Its owner's writes are logged, and it was written to ([`crate::mm::shadow::log`]).
    pub(crate) const WRITTEN: u64 = 1 << 46;

    pub(crate) const fn new(owner: DomId, flags: u64, count: u64) -> Self {
        Self(((owner.0 as u64) << Self::OWNER_SHIFT) | flags | count)
    }

    /// General references; 0 means nobody owns it.
    pub const fn count(self) -> u64 {
        self.0 & Self::COUNT
    }

    /// The owner; meaningless while the count is 0.
    #[allow(clippy::cast_possible_truncation, reason = "16 bits remain")]
    pub const fn owner(self) -> DomId {
        DomId((self.0 >> Self::OWNER_SHIFT) as u16)
    }

    pub(crate) const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// What the words of a free block's first frame say.
///
/// The type word is the next block of the list. The count word has the order, the block before in
/// the list, and the low bits of the frame's stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FreeBlock {
    /// 2^`order` frames.
    pub(crate) order: u8,
    /// The block before it in its list; 0 = none, for frame 0 is never handed out.
    pub(crate) before: u32,
    /// The block after it; 0 = none.
    pub(crate) next: u32,
}

impl FreeBlock {
    const BEFORE: u64 = 0xffff_ffff;
    const ORDER_SHIFT: u32 = 32;
    const ORDER: u64 = 0x1f;
    const STAMP_SHIFT: u32 = 48;
    const STAMP_BITS: u32 = 16;
}

/// What is known of a frame: its two words, wherever they lie. They are only changed by
/// [`crate::mm`]'s operations.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    count: &'static AtomicU64,
    types: &'static AtomicU32,
}

impl Frame {
    /// The frame with these words, both 0 at first.
    pub const fn new(count: &'static AtomicU64, types: &'static AtomicU32) -> Self {
        Self { count, types }
    }

    /// The count word now.
    pub fn count(&self) -> CountWord {
        CountWord(self.count.load(Ordering::Acquire))
    }

    /// The type word now.
    pub fn types(&self) -> TypeWord {
        TypeWord(self.types.load(Ordering::Acquire))
    }

    pub(crate) fn set_count(&self, word: CountWord) {
        self.count.store(word.0, Ordering::Release);
    }

    pub(crate) fn set_types(&self, word: TypeWord) {
        self.types.store(word.0, Ordering::Release);
    }

    /// Makes it a domain's own. Whoever does that looks then whether the domain dies, and who takes a domain apart says that
    /// it dies before he looks for its frames: one of the two sees the other.
    pub(crate) fn give_to(&self, owner: DomId) {
        let word = CountWord::new(owner, CountWord::ALLOCATED, 1);
        // A locked instruction, which the processor does before the look.
        self.count.swap(word.0, Ordering::SeqCst);
    }

    pub(crate) fn exchange_count(&self, old: CountWord, new: CountWord) -> Result<(), CountWord> {
        self.count
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Acquire)
            .map(|_| ())
            .map_err(CountWord)
    }

    pub(crate) fn exchange_types(&self, old: TypeWord, new: TypeWord) -> Result<(), TypeWord> {
        self.types
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Acquire)
            .map(|_| ())
            .map_err(TypeWord)
    }

    /// What it says of the free block that begins with it, if one does. The heap is locked.
    #[allow(clippy::cast_possible_truncation, reason = "parts of a word")]
    pub(crate) fn free_block(&self) -> Option<FreeBlock> {
        let word = self.count();
        word.has(CountWord::FREE).then(|| FreeBlock {
            order: (word.0 >> FreeBlock::ORDER_SHIFT & FreeBlock::ORDER) as u8,
            before: (word.0 & FreeBlock::BEFORE) as u32,
            next: self.types().0,
        })
    }

    /// Makes it the first frame of a free block; its frames' stamps stay. The heap is locked.
    pub(crate) fn set_free_block(&self, block: FreeBlock) {
        let word = self.count();
        let stamp = if word.has(CountWord::FREE) {
            word.0 >> FreeBlock::STAMP_SHIFT
        } else {
            // One that is a little too late is made of the low bits again: no flush is left out.
            u64::from(self.types().stamp().0) & ((1 << FreeBlock::STAMP_BITS) - 1)
        };
        let order = u64::from(block.order) & FreeBlock::ORDER;
        self.set_types(TypeWord(block.next));
        self.set_count(CountWord(
            stamp << FreeBlock::STAMP_SHIFT
                | word.0 & CountWord::DIRTY
                | CountWord::FREE
                | order << FreeBlock::ORDER_SHIFT
                | u64::from(block.before),
        ));
    }

    /// Takes it off its free list: it is nobody's now. `clock` is the TLB clock. The heap is locked.
    pub(crate) fn clear_free_block(&self, clock: u64) {
        let word = self.count();
        let stamp = latest(
            clock,
            word.0 >> FreeBlock::STAMP_SHIFT,
            FreeBlock::STAMP_BITS,
        );
        self.set_types(TypeWord::unused(PageType::None, stamp));
        self.set_count(CountWord(word.0 & CountWord::DIRTY));
    }

    /// Whether it is the first frame of a free block.
    pub(crate) fn is_free(&self) -> bool {
        self.count().has(CountWord::FREE)
    }

    /// Whether it is RAM that this domain was given (and perhaps gave back, while others use it).
    pub(crate) fn is_ram_of(&self, owner: DomId) -> bool {
        const OTHER: u64 =
            CountWord::SPECIAL | CountWord::HYPERVISOR | CountWord::IO | CountWord::FREE;
        let word = self.count();
        word.count() != 0 && word.owner() == owner && !word.has(OTHER)
    }

    /// Marks a frame as the hypervisor's own: at boot, or one that it has taken from the heap.
    pub fn claim_for_hypervisor(&self) {
        self.set_count(CountWord::new(DomId::XEN, CountWord::HYPERVISOR, 1));
    }

    /// Makes such a frame nobody's again. `clock` is the TLB clock.
    pub(crate) fn release_from_hypervisor(&self, clock: u64) {
        self.set_types(TypeWord::unused(PageType::None, clock));
        self.set_count(CountWord(CountWord::DIRTY));
    }

    /// Whether it was written to since [`Frame::clear_written`].
    #[inline]
    pub(crate) fn is_written(&self) -> bool {
        self.count().has(CountWord::WRITTEN)
    }

    /// Notes that it was written to; returns whether that is new.
    pub(crate) fn set_written(&self) -> bool {
        let before = self.count.fetch_or(CountWord::WRITTEN, Ordering::AcqRel);
        !CountWord(before).has(CountWord::WRITTEN)
    }

    /// Notes it no more; returns whether it was noted.
    pub(crate) fn clear_written(&self) -> bool {
        let before = self.count.fetch_and(!CountWord::WRITTEN, Ordering::AcqRel);
        CountWord(before).has(CountWord::WRITTEN)
    }

    /// Marks a frame as not being RAM, at boot.
    pub fn mark_io(&self) {
        self.set_count(CountWord::new(DomId::IO, CountWord::IO, 1));
    }

    /// Whether the hypervisor uses it for itself (or it is free): nothing may map it.
    pub fn is_hypervisor(&self) -> bool {
        let word = self.count();
        word.count() == 0 || word.has(CountWord::HYPERVISOR | CountWord::FREE)
    }

    /// Gives a frame that the hypervisor has used since boot, and nobody has referred to, a reference of its own.
    pub(crate) fn keep(&self) {
        let kept = CountWord::new(DomId::XEN, CountWord::HYPERVISOR, 1);
        // If there is one already, all is well.
        let _ = self.exchange_count(CountWord(0), kept);
    }

    /// Whether it is device memory.
    pub fn is_io(&self) -> bool {
        self.count().has(CountWord::IO)
    }

    /// Whether a guest owns it (RAM handed to a domain, or shared with one).
    pub fn is_guest(&self) -> bool {
        let word = self.count();
        word.count() != 0 && !word.has(CountWord::HYPERVISOR | CountWord::IO | CountWord::FREE)
    }
}

/// The latest moment of the TLB clock up to `now` that has these low bits.
pub(crate) const fn latest(now: u64, low: u64, bits: u32) -> u64 {
    let turn = 1 << bits;
    let latest = (now & !(turn - 1)) | low;
    if latest <= now {
        latest
    } else {
        latest.saturating_sub(turn)
    }
}

/// Takes one general reference if `owner` owns the frame. `false` for holes, I/O memory, frames
/// of others, and frames that are being freed.
#[inline]
pub fn get_page<M: Machine>(machine: &M, mfn: crate::Mfn, owner: DomId) -> bool {
    machine.frame(mfn).is_some_and(|frame| frame.get(owner))
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use proptest::prelude::*;

    use super::*;

    fn frame() -> Frame {
        let (count, types) = Box::leak(Box::default());
        Frame::new(count, types)
    }

    proptest! {
        /// What a free block's first frame says is what was put there; nobody can take it for his own,
        /// and it comes back with a stamp that is not older than the one it had.
        #[test]
        fn free_block(
            order in 0u8..19,
            before: u32,
            next: u32,
            lost in 1u64..1 << 40,
            passed in 0u64..1 << 20,
            dirty: bool,
        ) {
            let frame = frame();
            let dirty = if dirty { CountWord::DIRTY } else { 0 };
            frame.set_types(TypeWord::unused(PageType::None, lost));
            frame.set_count(CountWord(dirty));
            let free = FreeBlock { order, before: 1, next };
            frame.set_free_block(free);
            let free = FreeBlock { before, ..free };
            frame.set_free_block(free);
            prop_assert_eq!(frame.free_block(), Some(free));
            prop_assert!(!frame.get(frame.count().owner()) && !frame.is_ram_of(frame.count().owner()));
            prop_assert!(frame.is_hypervisor() && !frame.is_guest());
            let now = lost + passed;
            frame.clear_free_block(now);
            prop_assert_eq!(frame.free_block(), None);
            prop_assert_eq!(frame.count(), CountWord(dirty));
            let seen = latest(now, frame.types().stamp().0.into(), Stamp::BITS);
            prop_assert!((lost..=now).contains(&seen));
        }
    }

    #[test]
    fn type_references_have_a_ceiling() {
        let word = TypeWord::validated_once(PageType::L1).pin();
        let most = TypeWord(word.0 | TypeWord::VALUE);
        assert_eq!((most.count(), most.up()), (TypeWord::VALUE, None));
        assert!(most.pinned() && most.validated() && most.kind() == PageType::L1);
        let partial = word.now_busy().now_partial(0x8000 | 512);
        assert_eq!((partial.count(), partial.progress()), (1, 0x8000 | 512));
        assert!(partial.pinned() && partial.partial() && !partial.validated());
    }
}
