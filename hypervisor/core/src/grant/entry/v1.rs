//! Version 1: one 8-byte word, changed by compare-and-exchange.

use oxen_abi::grant_table::GNTST_GENERAL_ERROR;

use super::{Granted, Head, TRIES, Target, Use, marks_of};
use crate::grant::Status;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Checks that the entry grants this use and marks it.
pub(super) fn claim(word: &AtomicU64, wanted: Use) -> Result<Granted, Status> {
    let mut seen = Head(word.load(Ordering::Acquire));
    for _ in 0..TRIES {
        seen.check(wanted, false)?;
        let marked = seen.0 | u64::from(marks_of(wanted.access));
        match word.compare_exchange(seen.0, marked, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                return Ok(Granted {
                    target: Target::Frame(seen.frame()),
                    part: None,
                });
            }
            Err(now) => seen = Head(now),
        }
    }
    Err(GNTST_GENERAL_ERROR)
}

#[cfg(test)]
mod tests {
    use oxen_abi::grant_table::*;

    use super::super::Manner;
    use super::*;
    use crate::grant::Access;
    use crate::types::{DomId, Mfn};

    fn word(flags: u16, domid: u16, frame: u32) -> AtomicU64 {
        AtomicU64::new(u64::from(flags) | u64::from(domid) << 16 | u64::from(frame) << 32)
    }

    fn wanted(access: Access, manner: Manner) -> Use {
        Use {
            grantee: DomId(5),
            access,
            manner,
        }
    }

    #[test]
    fn claims_what_is_granted() {
        let entry = word(GTF_PERMIT_ACCESS, 5, 0x1234);
        let claimed = claim(&entry, wanted(Access::Write, Manner::Map)).unwrap();
        assert_eq!(claimed.target, Target::Frame(Mfn(0x1234)));
        assert_eq!(claimed.part, None);
        let flags = Head(entry.into_inner()).flags();
        assert_eq!(flags, GTF_PERMIT_ACCESS | GTF_READING | GTF_WRITING);
    }

    #[test]
    fn refuses_the_rest_and_leaves_it_alone() {
        let sub_page = GTF_PERMIT_ACCESS | GTF_SUB_PAGE;
        for (flags, domid, access) in [
            (0, 5, Access::Read),
            (GTF_ACCEPT_TRANSFER, 5, Access::Read),
            (GTF_TRANSITIVE, 5, Access::Read),
            (GTF_PERMIT_ACCESS, 4, Access::Read),
            (sub_page, 5, Access::Read),
            (GTF_PERMIT_ACCESS | GTF_READONLY, 5, Access::Write),
        ] {
            let entry = word(flags, domid, 9);
            let refused = claim(&entry, wanted(access, Manner::Map));
            assert_eq!(refused, Err(GNTST_GENERAL_ERROR));
            assert_eq!(entry.into_inner(), word(flags, domid, 9).into_inner());
        }
        let read_only = word(GTF_PERMIT_ACCESS | GTF_READONLY, 5, 9);
        assert!(claim(&read_only, wanted(Access::Read, Manner::Map)).is_ok());
        // The flag of version 2 keeps an entry from being mapped, but means nothing to a copy.
        let part = claim(&word(sub_page, 5, 9), wanted(Access::Read, Manner::Copy)).unwrap();
        assert_eq!(part.part, None);
    }
}
