//! A version 1 grant entry: one 8-byte word in the granting guest's memory, read once and changed
//! by compare-and-exchange, so that flags, grantee and frame always belong together.

use oxen_abi::grant_table::{
    GNTST_BAD_GNTREF, GNTST_GENERAL_ERROR, GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY,
    GTF_SUB_PAGE, GTF_TYPE_MASK, GTF_WRITING,
};

use crate::grant::{Access, Status};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{DomId, Mfn};

/// Entries in a frame.
pub(super) const PER_FRAME: usize = 512;

/// How often a claim is tried against a guest that keeps changing the entry.
const TRIES: u32 = 5;

/// An entry as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry(pub(super) u64);

#[allow(clippy::cast_possible_truncation, reason = "the fields of the word")]
impl Entry {
    pub(super) const fn flags(self) -> u16 {
        self.0 as u16
    }

    const fn grantee(self) -> DomId {
        DomId((self.0 >> 16) as u16)
    }

    pub(super) const fn frame(self) -> Mfn {
        Mfn(self.0 >> 32)
    }

    const fn with(self, flags: u16) -> Self {
        Self(self.0 | flags as u64)
    }
}

/// Checks that the entry grants this access to `grantee` and marks it in use for it.
pub(super) fn claim(word: &AtomicU64, grantee: DomId, access: Access) -> Result<Entry, Status> {
    let mut seen = Entry(word.load(Ordering::Acquire));
    for _ in 0..TRIES {
        let kind = seen.flags() & (GTF_TYPE_MASK | GTF_SUB_PAGE);
        if kind != GTF_PERMIT_ACCESS || seen.grantee() != grantee {
            return Err(GNTST_BAD_GNTREF);
        }
        let mark = match access {
            Access::Read => GTF_READING,
            Access::Write if seen.flags() & GTF_READONLY != 0 => return Err(GNTST_BAD_GNTREF),
            Access::Write => GTF_READING | GTF_WRITING,
        };
        let marked = seen.with(mark);
        match word.compare_exchange(seen.0, marked.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(marked),
            Err(now) => seen = Entry(now),
        }
    }
    Err(GNTST_GENERAL_ERROR)
}

/// Takes marks off again; whatever else the guest has written stays.
pub(super) fn clear(word: &AtomicU64, flags: u16) {
    word.fetch_and(!u64::from(flags), Ordering::AcqRel);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(flags: u16, domid: u16, frame: u32) -> AtomicU64 {
        AtomicU64::new(u64::from(flags) | u64::from(domid) << 16 | u64::from(frame) << 32)
    }

    #[test]
    fn claims_what_is_granted() {
        let entry = word(GTF_PERMIT_ACCESS, 5, 0x1234);
        let claimed = claim(&entry, DomId(5), Access::Write).unwrap();
        assert_eq!(claimed.frame(), Mfn(0x1234));
        let flags = Entry(entry.load(Ordering::Acquire)).flags();
        assert_eq!(flags, GTF_PERMIT_ACCESS | GTF_READING | GTF_WRITING);
        clear(&entry, GTF_READING | GTF_WRITING);
        assert_eq!(
            entry.load(Ordering::Acquire),
            word(GTF_PERMIT_ACCESS, 5, 0x1234).into_inner()
        );
    }

    #[test]
    fn refuses_the_rest_and_leaves_it_alone() {
        for (flags, domid, access) in [
            (0, 5, Access::Read),
            (2, 5, Access::Read),
            (3, 5, Access::Read),
            (GTF_PERMIT_ACCESS, 4, Access::Read),
            (GTF_PERMIT_ACCESS | GTF_SUB_PAGE, 5, Access::Read),
            (GTF_PERMIT_ACCESS | GTF_READONLY, 5, Access::Write),
        ] {
            let entry = word(flags, domid, 9);
            assert_eq!(claim(&entry, DomId(5), access), Err(GNTST_BAD_GNTREF));
            assert_eq!(entry.into_inner(), word(flags, domid, 9).into_inner());
        }
        let read_only = word(GTF_PERMIT_ACCESS | GTF_READONLY, 5, 9);
        assert!(claim(&read_only, DomId(5), Access::Read).is_ok());
    }
}
