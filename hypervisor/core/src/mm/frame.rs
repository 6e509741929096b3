//! The frame table's entry: owner, references and type of one machine frame.
//!
//! Two words carry it, each changed only by compare-and-exchange. A frame's *type* says what the
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

/// The type word, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeWord(pub(crate) u32);

impl TypeWord {
    const TYPE_SHIFT: u32 = 28;
    /// The most type references to a frame: 33,554,431.
    const COUNT: u32 = (1 << 25) - 1;
    /// The guest has pinned it: one type reference is held for that.
    pub(crate) const PINNED: u32 = 1 << 25;
    /// Its contents have been checked against its type.
    pub(crate) const VALIDATED: u32 = 1 << 26;
    /// Checking (or undoing that) stopped half way and nobody is at it. The stop itself holds
    /// one type and one general reference.
    pub(crate) const PARTIAL: u32 = 1 << 27;

    /// A word with this type, flags and count.
    pub(crate) const fn new(kind: PageType, flags: u32, count: u32) -> Self {
        Self(kind.to_bits() | flags | count)
    }

    /// What it is used as.
    pub const fn kind(self) -> PageType {
        PageType::from_bits(self.0)
    }

    /// Whether it is used as this: quicker than to find out as what.
    pub(crate) const fn kind_is(self, kind: PageType) -> bool {
        self.0 >> Self::TYPE_SHIFT == kind as u32
    }

    /// Type references.
    pub const fn count(self) -> u32 {
        self.0 & Self::COUNT
    }

    /// Whether the guest has pinned it.
    pub const fn pinned(self) -> bool {
        self.0 & Self::PINNED != 0
    }

    /// Whether its contents are known to fit its type.
    pub const fn validated(self) -> bool {
        self.0 & Self::VALIDATED != 0
    }

    /// Whether validation stopped half way.
    pub const fn partial(self) -> bool {
        self.0 & Self::PARTIAL != 0
    }

    pub(crate) const fn with(self, flags: u32) -> Self {
        Self(self.0 | flags)
    }

    pub(crate) const fn without(self, flags: u32) -> Self {
        Self(self.0 & !flags)
    }

    /// One reference more, or `None` at the ceiling.
    pub(crate) const fn up(self) -> Option<Self> {
        if self.count() == Self::COUNT {
            None
        } else {
            Some(Self(self.0 + 1))
        }
    }

    /// One reference less, or `None` at zero.
    pub(crate) const fn down(self) -> Option<Self> {
        if self.count() == 0 {
            None
        } else {
            Some(Self(self.0 - 1))
        }
    }
}

/// The count word, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountWord(pub(crate) u64);

impl CountWord {
    const COUNT: u64 = (1 << 40) - 1;
    const OWNER_SHIFT: u32 = 48;
    /// The owner holds its reference (gone once the frame was given back).
    pub(crate) const ALLOCATED: u64 = 1 << 40;
    /// On no page list: a frame of the hypervisor that the owner may map (shared info, grants).
    pub(crate) const SPECIAL: u64 = 1 << 41;
    /// The hypervisor's own: never to be mapped by anyone.
    pub(crate) const HYPERVISOR: u64 = 1 << 42;
    /// Free, and the first of a block in the buddy allocator: the order is where the owner is in
    /// others, the block before it in its list (0 = none) where the count is.
    pub(crate) const FREE: u64 = 1 << 43;
    /// Holds a guest's old data: to be zeroed before anyone else gets it.
    pub(crate) const DIRTY: u64 = 1 << 44;
    /// Device memory or firmware's, not RAM.
    pub(crate) const IO: u64 = 1 << 45;

    pub(crate) const fn new(owner: DomId, flags: u64, count: u64) -> Self {
        Self(((owner.0 as u64) << Self::OWNER_SHIFT) | flags | count)
    }

    /// A free block of 2^`order` frames that follows another in a list.
    pub(crate) const fn free(order: u8, before: u32, dirty: bool) -> Self {
        let dirty = if dirty { Self::DIRTY } else { 0 };
        Self::new(DomId(order as u16), Self::FREE | dirty, before as u64)
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

/// What is known of a frame. Its words are only changed by [`crate::mm`]'s operations.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Frame {
    count: AtomicU64,
    /// Of a free block's first frame: the next block of its list (0 = none), with the heap locked.
    types: AtomicU32,
    /// The TLB clock's low half when the frame last lost its type or owner. While a validation is
    /// partial, which begins and ends with a frame of no use to anyone else, how many entries hold
    /// references.
    stamp: AtomicU32,
}

const _: () = assert!(core::mem::size_of::<Frame>() == 16);

impl Frame {
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

    pub(crate) fn exchange_count(&self, old: CountWord, new: CountWord) -> Result<(), CountWord> {
        self.count
            .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(CountWord)
    }

    pub(crate) fn exchange_types(&self, old: TypeWord, new: TypeWord) -> Result<(), TypeWord> {
        self.types
            .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(TypeWord)
    }

    /// The TLB clock's low half at the last loss of type or owner ([`crate::mm::tlb::stamped`]).
    pub(crate) fn stamp(&self) -> u32 {
        self.stamp.load(Ordering::Acquire)
    }

    /// Sets the TLB clock, and forgets validation progress.
    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub(crate) fn set_stamp(&self, clock: u64) {
        self.stamp.store(clock as u32, Ordering::Release);
    }

    /// Entries that hold references, while partial.
    pub(crate) fn progress(&self) -> usize {
        usize::try_from(self.stamp.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// Notes how many entries hold references. The stamp is forgotten: it counted until the frame
    /// got its type, and there will be another when it loses it.
    pub(crate) fn set_progress(&self, entries: u16) {
        self.stamp.store(entries.into(), Ordering::Release);
    }

    /// The block after this one in its free list; 0 = none. The heap is locked.
    pub(crate) fn next_free(&self) -> u32 {
        self.types.load(Ordering::Relaxed)
    }

    /// Sets the block after this one in its free list.
    pub(crate) fn set_next_free(&self, next: u32) {
        self.types.store(next, Ordering::Relaxed);
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

    /// Marks a frame as the hypervisor's own, at boot.
    pub fn claim_for_hypervisor(&self) {
        self.set_count(CountWord::new(DomId::XEN, CountWord::HYPERVISOR, 1));
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

impl Frame {
    /// Takes one general reference if `owner` owns the frame. `false` for I/O memory, frames of others, and frames that
    /// are being freed.
    #[inline]
    pub(crate) fn get(&self, owner: DomId) -> bool {
        let mut word = self.count();
        loop {
            if word.count() == 0
                || word.count() == CountWord::COUNT
                || word.owner() != owner
                || word.has(CountWord::HYPERVISOR | CountWord::IO | CountWord::FREE)
            {
                return false;
            }
            match self.exchange_count(word, CountWord(word.0 + 1)) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Drops one general reference unless it is the last; returns whether it did.
    #[inline]
    pub(crate) fn put_shared(&self) -> bool {
        let word = self.count();
        word.count() > 1 && self.exchange_count(word, CountWord(word.0 - 1)).is_ok()
    }

    /// Takes one more type reference where that takes no validation and no flush: on a frame that was of this type last
    /// and, if the type is one that is validated, still is. Returns whether it did.
    #[inline]
    pub(crate) fn join_type(&self, want: PageType) -> bool {
        let word = self.types();
        if !word.kind_is(want) {
            return false;
        }
        let next = if want == PageType::Writable {
            word.with(TypeWord::VALIDATED).up()
        } else if word.validated() && word.count() != 0 {
            word.up()
        } else {
            None
        };
        next.is_some_and(|next| self.exchange_types(word, next).is_ok())
    }

    /// Drops one type reference unless it is a validated type's last; returns whether it did. `clock` is the TLB clock.
    #[inline]
    pub(crate) fn leave_type(&self, clock: u64) -> bool {
        let word = self.types();
        let next = match word.count() {
            0 => return false,
            1 if word.kind_is(PageType::Writable) => {
                self.set_stamp(clock);
                TypeWord(word.0 - 1).without(TypeWord::VALIDATED)
            }
            1 => return false,
            _ => TypeWord(word.0 - 1),
        };
        self.exchange_types(word, next).is_ok()
    }
}

/// Takes one general reference if `owner` owns the frame. `false` for holes, I/O memory, frames
/// of others, and frames that are being freed.
#[inline]
pub fn get_page<M: Machine>(machine: &M, mfn: crate::Mfn, owner: DomId) -> bool {
    machine.frame(mfn).is_some_and(|frame| frame.get(owner))
}

/// Whether a reference was the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Dropped {
    /// Others remain.
    Held,
    /// It was the last: the frame is to be freed. Its owner was this one.
    Last(DomId),
}

/// Drops one general reference.
pub(crate) fn drop_page<M: Machine>(machine: &M, mfn: crate::Mfn) -> Dropped {
    let Some(frame) = machine.frame(mfn) else {
        return Dropped::Held;
    };
    let mut word = frame.count();
    loop {
        debug_assert!(word.count() != 0, "reference count of {mfn:?} below zero");
        if word.count() == 0 {
            return Dropped::Held;
        }
        match frame.exchange_count(word, CountWord(word.0 - 1)) {
            Ok(()) if word.count() == 1 => return Dropped::Last(word.owner()),
            Ok(()) => return Dropped::Held,
            Err(now) => word = now,
        }
    }
}
