//! Version 2: two 8-byte words, and the marks in a status word that the guest only reads.
//!
//! A guest ends a grant by clearing the flags and then looking at the status. So the status is
//! marked first and the flags are looked at again: one of the two sees the other.

use oxen_abi::grant_table::{GTF_SUB_PAGE, GTF_TRANSITIVE, GTF_TYPE_MASK, GTF_WRITING};

use super::{Granted, Head, Marks, Part, Target, Use, marks_of};
use crate::grant::{Access, Status};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{DomId, Mfn};

/// Checks that the entry grants this use and marks it.
pub(super) fn claim(
    head: &AtomicU64,
    body: &AtomicU64,
    marks: Marks,
    wanted: Use,
    idle: bool,
) -> Result<Granted, Status> {
    Head(head.load(Ordering::SeqCst)).check(wanted, true)?;
    marks.set(marks_of(wanted.access));
    let seen = Head(head.load(Ordering::SeqCst));
    if let Err(status) = seen.check(wanted, true) {
        // Another use's mark stays.
        let in_vain = match wanted.access {
            _ if idle => marks_of(Access::Write),
            Access::Write => GTF_WRITING,
            Access::Read => 0,
        };
        marks.clear(in_vain);
        return Err(status);
    }
    let body = body.load(Ordering::SeqCst);
    if seen.flags() & GTF_TYPE_MASK == GTF_TRANSITIVE {
        return Ok(Granted {
            target: Target::Onward {
                domain: DomId(seen.third()),
                // The upper half of this word has no meaning.
                reference: u32::try_from(body & 0xffff_ffff).unwrap_or(u32::MAX),
            },
            part: Some(Part::WHOLE),
        });
    }
    let part = (seen.flags() & GTF_SUB_PAGE != 0).then(|| Part {
        first: seen.third(),
        len: seen.fourth(),
    });
    Ok(Granted {
        target: Target::Frame(Mfn(body)),
        part,
    })
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use oxen_abi::grant_table::*;

    use super::super::{Manner, Slot};
    use super::*;

    fn word(value: u64) -> &'static AtomicU64 {
        Box::leak(Box::new(AtomicU64::new(value)))
    }

    fn slot(flags: u16, rest: u64, body: u64) -> Slot {
        Slot {
            head: word(u64::from(flags) | 5 << 16 | rest << 32),
            body: Some(word(body)),
            marks: Marks {
                word: word(0xffff_0000_ffff_ffff),
                shift: 32,
            },
        }
    }

    const fn wanted(access: Access, manner: Manner) -> Use {
        Use {
            grantee: DomId(5),
            access,
            manner,
        }
    }

    const COPY: Use = wanted(Access::Read, Manner::Copy);

    #[test]
    fn marks_go_to_the_status() {
        let entry = slot(GTF_PERMIT_ACCESS, 0, 0x12_3456_789a);
        let granted = entry.claim(wanted(Access::Write, Manner::Map), true);
        let granted = granted.unwrap();
        assert_eq!(granted.target, Target::Frame(Mfn(0x12_3456_789a)));
        assert_eq!(granted.part, None);
        assert_eq!(entry.flags(), GTF_PERMIT_ACCESS);
        assert_eq!(entry.marks.read(), GTF_READING | GTF_WRITING);
        entry.marks.clear(GTF_WRITING);
        let status = entry.marks.word.load(Ordering::SeqCst);
        assert_eq!(status, 0xffff_0008_ffff_ffff, "the neighbours stay");
    }

    #[test]
    fn parts_and_grants_passed_on_are_for_copies() {
        let part = slot(GTF_PERMIT_ACCESS | GTF_SUB_PAGE, 0x0020_0ff0, 7);
        assert!(part.claim(wanted(Access::Read, Manner::Map), true).is_err());
        assert_eq!(part.marks.read(), 0);
        let granted = part.claim(COPY, true).unwrap().part.unwrap();
        assert_eq!((granted.first, granted.len), (0xff0, 0x20));
        assert!(granted.has(0xff0, 16) && granted.has(0x1010, 0));
        assert!(!granted.has(0xfef, 2) && !granted.has(0x1000, 17));

        let onward = slot(GTF_TRANSITIVE, 9, 0xdead_0000_0003);
        assert!(
            onward
                .claim(wanted(Access::Read, Manner::Map), true)
                .is_err()
        );
        let (domain, reference) = (DomId(9), 3);
        assert_eq!(
            onward.claim(COPY, true).unwrap().target,
            Target::Onward { domain, reference }
        );
    }

    #[test]
    fn what_is_refused_is_not_marked() {
        for flags in [0, GTF_ACCEPT_TRANSFER, GTF_PERMIT_ACCESS | GTF_READONLY] {
            let entry = slot(flags, 0, 7);
            let refused = entry.claim(wanted(Access::Write, Manner::Copy), true);
            assert_eq!(refused, Err(GNTST_GENERAL_ERROR));
            assert_eq!(entry.marks.read(), 0);
        }
    }
}
