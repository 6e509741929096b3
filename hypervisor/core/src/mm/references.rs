//! A frame's references, as steps on its two words that no other CPU comes between.
//!
//! What a first or a last type reference leads to, validation and flushes, is in [`crate::mm::types`]; here is who has
//! to do it.

use oxen_abi::errno::Errno;

use crate::mm::frame::{CountWord, Frame, PageType, Stamp, TypeWord};
use crate::mm::types::MmError;
use crate::types::DomId;

/// Whether a reference was the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Dropped {
    /// Others remain.
    Held,
    /// It was the last: the frame is to be freed. Its owner was this one.
    Last(DomId),
}

/// General references.
impl Frame {
    /// Takes one general reference if `owner` owns the frame. `false` for I/O memory, frames of others, and frames that
    /// are being freed.
    #[inline(always)]
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
    #[inline(always)]
    pub(crate) fn put_shared(&self) -> bool {
        let word = self.count();
        word.count() > 1 && self.exchange_count(word, CountWord(word.0 - 1)).is_ok()
    }

    /// Takes one more general reference on a frame that is known to have one.
    pub(crate) fn hold(&self) {
        let mut word = self.count();
        while let Err(now) = self.exchange_count(word, CountWord(word.0 + 1)) {
            word = now;
        }
    }

    /// Drops one general reference.
    pub(crate) fn put(&self) -> Dropped {
        let mut word = self.count();
        loop {
            debug_assert!(word.count() != 0, "reference count below zero");
            if word.count() == 0 {
                return Dropped::Held;
            }
            match self.exchange_count(word, CountWord(word.0 - 1)) {
                Ok(()) if word.count() == 1 => return Dropped::Last(word.owner()),
                Ok(()) => return Dropped::Held,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the owner's reference off; the caller has it now, to drop it. `false` if it was gone already.
    pub(crate) fn take_allocation(&self) -> bool {
        let mut word = self.count();
        loop {
            if !word.has(CountWord::ALLOCATED) {
                return false;
            }
            match self.exchange_count(word, CountWord(word.0 & !CountWord::ALLOCATED)) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
    }
}

/// The type of a frame that is to become plain memory and is not flushed out of the TLBs yet.
const CLAIMED: TypeWord = TypeWord::busy(PageType::None);

/// A type reference that has been taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Begun {
    /// The type word before.
    before: TypeWord,
    /// And now.
    now: TypeWord,
}

/// What is left to do before it can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// To say that the frame is flushed ([`Frame::finish_claim`]).
    Claim,
    /// To check its contents, from the first entry on. The frame is the caller's alone.
    Validate,
    /// The same from here on; the reference that the stop held is the caller's, to drop it.
    GoOn(usize),
}

impl Begun {
    /// The frame was of another type: when that was lost. Before anything else it is to be flushed out of the TLBs.
    #[inline]
    pub(crate) fn lost(self) -> Option<Stamp> {
        let changes = !self.before.held()
            && self.before.kind() != self.now.kind()
            && self.before.kind() != PageType::None;
        changes.then(|| self.before.stamp())
    }

    /// What is left then.
    #[inline]
    pub(crate) fn rest(self) -> Rest {
        if self.now == CLAIMED {
            Rest::Claim
        } else if self.now.validated() {
            Rest::Nothing
        } else if self.before.partial() {
            Rest::GoOn(self.before.progress())
        } else {
            Rest::Validate
        }
    }
}

/// What the end of a type reference led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Left {
    /// Nothing to do.
    Done,
    /// It was the last of a page table of this level, which is the caller's alone and to be taken apart.
    Undo(u8),
}

/// Type references.
impl Frame {
    /// Takes one more type reference where that takes no validation and no flush: on a frame that was of this type last
    /// and, if the type is one that is validated, still is. Returns whether it did.
    #[inline(always)]
    pub(crate) fn join_type(&self, want: PageType) -> bool {
        let word = self.types();
        let next = if word.is_validated_as(want) {
            word.up()
        } else if want == PageType::Writable && word.kind_is(want) && !word.held() {
            Some(TypeWord::validated_once(want))
        } else {
            None
        };
        next.is_some_and(|next| self.exchange_types(word, next).is_ok())
    }

    /// Drops one type reference unless it is a validated type's last; returns whether it did. `clock` is the TLB clock.
    #[inline(always)]
    pub(crate) fn leave_type(&self, clock: u64) -> bool {
        let word = self.types();
        if !word.validated() {
            return false;
        }
        let next = match word.down() {
            Some(next) => next,
            None if word.kind_is(PageType::Writable) => TypeWord::unused(PageType::Writable, clock),
            None => return false,
        };
        self.exchange_types(word, next).is_ok()
    }

    /// Takes a type reference that may be the first one. `EINVAL` if it is of another type, `EBUSY` at the ceiling,
    /// `Restart` while another CPU works on it.
    #[inline]
    pub(crate) fn begin_type(&self, want: PageType) -> Result<Begun, MmError> {
        let plain = matches!(want, PageType::Writable | PageType::None);
        let mut word = self.types();
        loop {
            let unused = !word.held();
            let changes = unused && word.kind() != want && word.kind() != PageType::None;
            let next = match (unused, plain) {
                // Claimed first and flushed then: the other way round another CPU could take the old type once more.
                (true, true) if changes => CLAIMED,
                (true, true) => TypeWord::validated_once(want),
                (true, false) => TypeWord::busy(want),
                (false, _) if word == CLAIMED => return Err(MmError::Restart),
                (false, _) if word.kind() != want => return Err(Errno::EINVAL.into()),
                (false, _) if word.validated() => word.up().ok_or(Errno::EBUSY)?,
                (false, _) if word.partial() => word.now_busy(),
                (false, _) => return Err(MmError::Restart),
            };
            match self.exchange_types(word, next) {
                Ok(()) => {
                    return Ok(Begun {
                        before: word,
                        now: next,
                    });
                }
                Err(now) => word = now,
            }
        }
    }

    /// A claimed frame has been flushed: it is plain memory with one reference.
    #[inline]
    pub(crate) fn finish_claim(&self, want: PageType) {
        self.set_types(TypeWord::validated_once(want));
    }

    /// The contents of a frame that is the caller's alone fit its type.
    pub(crate) fn finish_validation(&self) {
        self.set_types(self.types().now_validated());
    }

    /// Nobody uses a frame, which was the caller's alone, as what it was. `clock` is the TLB clock.
    pub(crate) fn lose_type(&self, clock: u64) {
        self.set_types(TypeWord::unused(self.types().kind(), clock));
    }

    /// Leaves a frame, which is the caller's alone, half way: it owns itself until someone goes on.
    pub(crate) fn park(&self, progress: u16) {
        self.hold();
        self.set_types(self.types().now_partial(progress));
    }

    /// Takes over a frame that was left half way: its level, and how far it came. `None` if it is not, or not any more.
    pub(crate) fn take_over(&self) -> Option<(u8, usize)> {
        let word = self.types();
        let level = word.kind().level()?;
        if !word.partial() || self.exchange_types(word, word.now_busy()).is_err() {
            return None;
        }
        Some((level, word.progress()))
    }

    /// Drops a type reference that may be the last. `clock` says the TLB clock.
    #[inline]
    pub(crate) fn end_type(&self, clock: impl Fn() -> u64) -> Left {
        let mut word = self.types();
        loop {
            if !word.validated() {
                debug_assert!(false, "type count below zero");
                return Left::Done;
            }
            let (lower, table) = (word.down(), word.kind().level());
            let (next, left) = match (lower, table) {
                (Some(next), _) => (next, Left::Done),
                (None, Some(level)) => (word.now_busy(), Left::Undo(level)),
                (None, None) => (TypeWord::unused(word.kind(), clock()), Left::Done),
            };
            match self.exchange_types(word, next) {
                Ok(()) => return left,
                Err(now) => word = now,
            }
        }
    }

    /// Pins it; the caller holds its type. `false` if it is pinned already.
    pub(crate) fn pin(&self) -> bool {
        let mut word = self.types();
        loop {
            if word.pinned() {
                return false;
            }
            match self.exchange_types(word, word.pin()) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the pin off; its references are the caller's then. `false` if it is not pinned.
    pub(crate) fn take_pin(&self) -> bool {
        let mut word = self.types();
        loop {
            if !word.pinned() {
                return false;
            }
            match self.exchange_types(word, word.unpin()) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
    }
}
