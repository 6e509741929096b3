//! A grant entry in the granting guest's memory: what it says, and the marks that the hypervisor
//! puts on it while it is in use.
//!
//! The guest writes entries whenever it likes. Each 8-byte word is read once for what is decided
//! by it, so that flags, grantee and what else is in the word always belong together.

#[cfg(loom)]
pub mod model;
mod v1;
mod v2;

use oxen_abi::grant_table::{
    GNTST_GENERAL_ERROR, GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_SUB_PAGE,
    GTF_TRANSITIVE, GTF_TYPE_MASK, GTF_WRITING,
};

use crate::grant::{Access, Status};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{DomId, Mfn};

/// How often an entry is tried against a guest that keeps changing it.
const TRIES: u32 = 5;

/// What a grant is used for, and by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// The domain that uses it.
    pub(super) grantee: DomId,
    /// Reading or writing.
    pub(super) access: Access,
    /// Mapping or copying.
    pub(super) manner: Manner,
}

/// How a grant is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// The whole frame is mapped.
    Map,
    /// Bytes are copied: parts of frames and grants that are passed on are good for that.
    Copy,
}

/// What an entry leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// A frame. Whether it is the granting domain's is not yet known.
    Frame(Mfn),
    /// Another domain's grant to the granting domain, which it passes on.
    Onward {
        /// That domain.
        domain: DomId,
        /// The reference there.
        reference: u32,
    },
}

/// The bytes of a frame that are granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// The first one.
    pub(super) first: u16,
    /// How many; with `first` it may lead past the frame's end, where there is nothing.
    pub(super) len: u16,
}

impl Part {
    /// All of it.
    pub(super) const WHOLE: Self = Self {
        first: 0,
        len: 4096,
    };

    /// Whether `len` bytes from `at` on are in it.
    pub(super) const fn has(self, at: usize, len: usize) -> bool {
        at >= self.first as usize && at + len <= self.first as usize + self.len as usize
    }
}

/// What a claimed entry grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Granted {
    /// Where it leads.
    pub(super) target: Target,
    /// `None` for a whole frame, which alone can be mapped.
    pub(super) part: Option<Part>,
}

/// An entry's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Flags and grantee; in version 1 the frame too.
    pub(super) head: &'static AtomicU64,
    /// Version 2: the frame, or the reference that is passed on.
    pub(super) body: Option<&'static AtomicU64>,
    /// Where the marks of use go.
    pub(super) marks: Marks,
}

/// The place of `GTF_reading` and `GTF_writing`: the entry's own flags in version 1, a status
/// word in version 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// The word that they are in.
    pub(super) word: &'static AtomicU64,
    /// The lowest bit of their 16.
    pub(super) shift: u32,
}

#[allow(clippy::cast_possible_truncation, reason = "16 bits of the word")]
impl Marks {
    fn set(self, flags: u16) {
        self.word
            .fetch_or(u64::from(flags) << self.shift, Ordering::SeqCst);
    }

    /// Takes marks off again; whatever else the guest has written stays.
    pub(super) fn clear(self, flags: u16) {
        self.word
            .fetch_and(!(u64::from(flags) << self.shift), Ordering::SeqCst);
    }

    /// All 16 bits.
    pub(super) fn read(self) -> u16 {
        (self.word.load(Ordering::SeqCst) >> self.shift) as u16
    }

    /// Replaces all 16 bits.
    pub(super) fn write(self, value: u16) {
        self.clear(u16::MAX);
        self.set(value);
    }
}

/// The first word of an entry, as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head(u64);

#[allow(clippy::cast_possible_truncation, reason = "the fields of the word")]
impl Head {
    const fn flags(self) -> u16 {
        self.0 as u16
    }

    const fn domain(self) -> DomId {
        DomId((self.0 >> 16) as u16)
    }

    /// Bits 32 to 47: a part's first byte, or the domain whose grant is passed on.
    const fn third(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Bits 48 to 63: a part's length.
    const fn fourth(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Version 1: the frame.
    const fn frame(self) -> Mfn {
        Mfn(self.0 >> 32)
    }

    /// Whether an entry of this kind grants that use; `transitive` when the version has such
    /// entries.
    fn check(self, wanted: Use, transitive: bool) -> Result<(), Status> {
        let kind = self.flags() & GTF_TYPE_MASK;
        let fits = match wanted.manner {
            Manner::Map => kind == GTF_PERMIT_ACCESS && self.flags() & GTF_SUB_PAGE == 0,
            Manner::Copy => kind == GTF_PERMIT_ACCESS || (transitive && kind == GTF_TRANSITIVE),
        };
        let writes = wanted.access == Access::Write;
        if !fits || self.domain() != wanted.grantee || (writes && self.flags() & GTF_READONLY != 0)
        {
            return Err(GNTST_GENERAL_ERROR);
        }
        Ok(())
    }
}

/// The marks of a use.
const fn marks_of(access: Access) -> u16 {
    match access {
        Access::Read => GTF_READING,
        Access::Write => GTF_READING | GTF_WRITING,
    }
}

impl Slot {
    /// An entry of version 1, which is one word.
    pub(super) const fn version_1(word: &'static AtomicU64) -> Self {
        Self {
            head: word,
            body: None,
            marks: Marks { word, shift: 0 },
        }
    }

    /// Checks that the entry grants this use and marks it. `idle` if nobody uses it yet: marks
    /// that were put on it in vain are then all taken off again.
    pub(super) fn claim(&self, wanted: Use, idle: bool) -> Result<Granted, Status> {
        match self.body {
            None => v1::claim(self.head, wanted),
            Some(body) => v2::claim(self.head, body, self.marks, wanted, idle),
        }
    }

    /// The flags as the guest has them now; in version 2 without the marks.
    pub(super) fn flags(&self) -> u16 {
        Head(self.head.load(Ordering::Acquire)).flags()
    }
}
