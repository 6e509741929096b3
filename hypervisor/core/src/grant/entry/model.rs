//! Uses of a grant beside a guest that ends it, as Linux does.

use oxen_abi::grant_table::{GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_WRITING};

use super::{Manner, Marks, Slot, Use};
use crate::grant::Access;
use crate::models::{Exclusive, explore, spawn, stays};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::DomId;

const USED: u64 = (GTF_READING | GTF_WRITING) as u64;
const FLAGS: u64 = 0xffff;

const fn wanted(access: Access) -> Use {
    Use {
        grantee: DomId(5),
        access,
        manner: Manner::Map,
    }
}

fn granted() -> AtomicU64 {
    AtomicU64::new(u64::from(GTF_PERMIT_ACCESS) | 5 << 16)
}

fn version_1() -> Slot {
    Slot::version_1(stays(granted()))
}

fn version_2() -> Slot {
    Slot {
        head: stays(granted()),
        body: Some(stays(AtomicU64::new(7))),
        marks: Marks {
            word: stays(AtomicU64::new(0)),
            shift: 16,
        },
    }
}

/// Ends a grant of version 1, unless it is in use: it is the guest's own again then.
fn guest_ends_1(slot: Slot) -> bool {
    let mut seen = slot.head.load(Ordering::Acquire);
    while seen & USED == 0 {
        let ended = seen & !FLAGS;
        match slot
            .head
            .compare_exchange(seen, ended, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

/// The same in version 2: the flags go, then comes a barrier and a look at the marks.
fn guest_ends_2(slot: Slot) -> bool {
    slot.head.fetch_and(!FLAGS, Ordering::SeqCst);
    u64::from(slot.marks.read()) & USED == 0
}

/// Uses the grant if it can, and returns whether it could.
fn use_once(slot: Slot, access: Access, frame: &Exclusive) -> bool {
    if slot.claim(wanted(access), true).is_err() {
        return false;
    }
    frame.used();
    slot.marks.clear(GTF_READING | GTF_WRITING);
    true
}

fn a_grant_ends_only_unused(slot: impl Fn() -> Slot, ends: fn(Slot) -> bool) {
    let slot = slot();
    let frame: &Exclusive = stays(Exclusive::default());
    let guest = spawn(move || {
        let ended = ends(slot);
        if ended {
            frame.used();
        }
        ended
    });
    use_once(slot, Access::Write, frame);
    let ended = guest.join().unwrap();
    assert_eq!(u64::from(slot.marks.read()) & USED, 0);
    if ended {
        assert!(!use_once(slot, Access::Read, frame));
    }
}

/// What the guest has taken back nobody uses, nor begins to.
pub fn a_grant_of_version_1_ends_only_unused() {
    explore(|| a_grant_ends_only_unused(version_1, guest_ends_1));
}

/// The same with the marks in a status word.
pub fn a_grant_of_version_2_ends_only_unused() {
    explore(|| a_grant_ends_only_unused(version_2, guest_ends_2));
}

/// The guest makes a grant read-only, and believes that it is not written when it sees no mark of that.
fn nobody_writes_what_became_read_only(slot: Slot) {
    let read_only = u64::from(GTF_READONLY);
    let frame: &Exclusive = stays(Exclusive::default());
    slot.claim(wanted(Access::Read), true).unwrap();
    let guest = spawn(move || {
        slot.head.fetch_or(read_only, Ordering::SeqCst);
        if slot.marks.read() & GTF_WRITING == 0 {
            frame.used();
        }
    });
    if slot.claim(wanted(Access::Write), false).is_ok() {
        frame.used();
        slot.marks.clear(GTF_WRITING);
    }
    guest.join().unwrap();
    assert_eq!(u64::from(slot.marks.read()) & USED, GTF_READING.into());
    assert!(
        slot.flags() & GTF_READONLY != 0,
        "the guest's change is there"
    );
}

/// The mark of a reader stays whatever comes of the writer.
pub fn nobody_writes_what_became_read_only_in_version_1() {
    explore(|| nobody_writes_what_became_read_only(version_1()));
}

/// The same with the marks in a status word.
pub fn nobody_writes_what_became_read_only_in_version_2() {
    explore(|| nobody_writes_what_became_read_only(version_2()));
}
