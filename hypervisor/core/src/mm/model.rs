//! References to a frame, types and flushes, with CPUs that want different things of it at once.

use oxen_abi::errno::Errno;

use crate::mm::MmError;
use crate::mm::frame::{CountWord, Frame, PageType, TypeWord};
use crate::mm::references::{Dropped, Left, Rest};
use crate::mm::tlb::{self, DirtyCpus, LastFlush};
use crate::models::{Exclusive, explore, explore_within, spawn, stays};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::types::{CpuId, DomId};

const OWNER: DomId = DomId(5);

/// A frame of a domain's.
#[derive(Clone, Copy)]
struct Model {
    frame: Frame,
    /// Who works on the frame's contents.
    contents: &'static Exclusive,
    /// How many use it as memory that they write, and above that as a page table.
    users: &'static AtomicU32,
    /// How often it was freed.
    freed: &'static AtomicU32,
    /// A translation for writing in the TLB of CPU 1.
    cached: &'static AtomicBool,
    /// CPU 1's last flush.
    last_flush: &'static LastFlush,
}

const TABLE: u32 = 1 << 16;

impl Model {
    fn new(types: TypeWord) -> Self {
        let frame = Frame::new(stays(AtomicU64::new(0)), stays(AtomicU32::new(0)));
        frame.set_types(types);
        frame.give_to(OWNER);
        Self {
            frame,
            contents: stays(Exclusive::default()),
            users: stays(AtomicU32::new(0)),
            freed: stays(AtomicU32::new(0)),
            cached: stays(AtomicBool::new(false)),
            last_flush: stays(LastFlush::default()),
        }
    }

    /// Drops a general reference.
    fn put(self) {
        if !self.frame.put_shared() && self.frame.put() != Dropped::Held {
            assert_eq!(self.users.load(Ordering::Relaxed), 0);
            self.freed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The owner gives it back.
    fn give_up(self) -> bool {
        let taken = self.frame.take_allocation();
        if taken {
            self.put();
        }
        taken
    }

    /// Takes a type as [`crate::mm::types::get_type`] does. A page table has one step to validate; `stops` before it.
    fn get(self, want: PageType, stops: bool) -> Result<(), MmError> {
        if self.frame.join_type(want) {
            return Ok(());
        }
        let begun = self.frame.begin_type(want)?;
        if let Some(lost) = begun.lost() {
            self.flush(tlb::stamped(lost));
        }
        match begun.rest() {
            Rest::Nothing => return Ok(()),
            Rest::Claim => {
                self.frame.finish_claim(want);
                return Ok(());
            }
            Rest::GoOn(progress) => {
                assert_eq!(progress, 1);
                self.put();
            }
            Rest::Validate => {}
        }
        self.contents.used();
        if stops {
            self.frame.park(1);
            return Err(MmError::Restart);
        }
        self.frame.finish_validation();
        Ok(())
    }

    /// Flushes CPU 1's TLB if it may hold what was lost then.
    fn flush(self, lost: u64) {
        if !self.last_flush.is_after(lost) {
            self.last_flush
                .by(|| self.cached.store(false, Ordering::Relaxed));
        }
    }

    /// Drops a type reference as [`crate::mm::types::put_type`] does.
    fn leave(self) {
        if self.frame.leave_type(tlb::clock()) {
            return;
        }
        if let Left::Undo(_) = self.frame.end_type(tlb::clock) {
            self.contents.used();
            self.frame.lose_type(tlb::clock());
        }
    }

    /// As [`crate::mm::types::resume_put`]: takes apart what was left half way.
    fn resume(self) {
        if self.frame.take_over().is_some() {
            self.contents.used();
            self.frame.lose_type(tlb::clock());
            self.put();
        }
    }

    /// Uses the frame for a while, if it can be had so.
    fn use_as(self, want: PageType) -> Result<(), MmError> {
        if !self.frame.get(OWNER) {
            return Err(Errno::EINVAL.into());
        }
        assert_eq!(self.freed.load(Ordering::Relaxed), 0);
        let got = self.get(want, false);
        if got.is_ok() {
            self.uses(want);
            self.leave();
        }
        self.put();
        got
    }

    /// Reads it as a page table, or writes it.
    fn uses(self, want: PageType) {
        let (mine, others) = if want == PageType::Writable {
            (1, !(TABLE - 1))
        } else {
            (TABLE, TABLE - 1)
        };
        let before = self.users.fetch_add(mine, Ordering::Relaxed);
        assert_eq!(before & others, 0, "writable and a page table at once");
        self.users.fetch_sub(mine, Ordering::Relaxed);
    }

    /// All references are gone but the owner's.
    fn is_at_rest(self) {
        assert_eq!(self.frame.types().count(), 0);
        assert_eq!(
            self.frame.count(),
            CountWord::new(OWNER, CountWord::ALLOCATED, 1)
        );
        assert_eq!(self.freed.load(Ordering::Relaxed), 0);
    }
}

/// CPUs use a frame as a page table and for writing: never both at once, and nothing is left of it.
pub fn a_page_table_is_never_writable() {
    for before in [PageType::None, PageType::Writable, PageType::L1] {
        explore_within(4, move || {
            let model = Model::new(TypeWord::unused(before, tlb::clock()));
            let table = spawn(move || model.use_as(PageType::L1));
            let _ = model.use_as(PageType::Writable);
            let _ = table.join().unwrap();
            model.is_at_rest();
        });
    }
}

/// The same with a second writer.
pub fn a_page_table_has_no_writers() {
    explore_within(2, move || {
        let model = Model::new(TypeWord::unused(PageType::Writable, tlb::clock()));
        let use_as = move |want| {
            if model.get(want, false).is_ok() {
                model.uses(want);
                model.leave();
            }
        };
        let table = spawn(move || use_as(PageType::L1));
        let other = spawn(move || use_as(PageType::Writable));
        use_as(PageType::Writable);
        table.join().unwrap();
        other.join().unwrap();
        model.is_at_rest();
    });
}

/// Two CPUs want a frame as tables of different levels.
pub fn a_page_table_has_one_level() {
    explore(|| {
        let model = Model::new(TypeWord::unused(PageType::None, tlb::clock()));
        let get = move |level| model.get(level, false).is_ok();
        let other = spawn(move || get(PageType::L2));
        let mine = get(PageType::L1);
        assert!(mine != other.join().unwrap());
        assert_eq!(model.frame.types().count(), 1);
    });
}

/// Two CPUs want the same page table: one validates, and each has a reference or is to come again.
pub fn one_validates() {
    explore(|| {
        let model = Model::new(TypeWord::unused(PageType::None, tlb::clock()));
        let get = move || match model.get(PageType::L2, false) {
            Ok(()) => 1,
            Err(error) => {
                assert_eq!(error, MmError::Restart);
                0
            }
        };
        let other = spawn(get);
        let references = get() + other.join().unwrap();
        assert!(references > 0 && model.frame.types().validated());
        assert_eq!(model.frame.types().count(), references);
    });
}

/// A validation stops half way; of those that go on, and one that takes the frame apart, one has it.
pub fn one_takes_over_what_stopped() {
    explore(|| {
        let model = Model::new(TypeWord::unused(PageType::None, tlb::clock()));
        assert_eq!(model.get(PageType::L2, true), Err(MmError::Restart));
        let other = spawn(move || model.get(PageType::L2, false));
        let third = spawn(move || model.resume());
        let outcomes = [model.get(PageType::L2, false), other.join().unwrap()];
        third.join().unwrap();
        let references = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(model.frame.types().count() as usize, references);
        (0..references).for_each(|_| model.leave());
        model.is_at_rest();
    });
}

/// The same where the one that goes on stops again.
pub fn one_takes_over_what_stops_again() {
    explore(|| {
        let model = Model::new(TypeWord::unused(PageType::None, tlb::clock()));
        assert_eq!(model.get(PageType::L2, true), Err(MmError::Restart));
        let other = spawn(move || model.get(PageType::L2, true));
        model.resume();
        assert_eq!(other.join().unwrap(), Err(MmError::Restart));
        model.resume();
        model.is_at_rest();
    });
}

/// Two CPUs unpin a table that each of them has seen pinned: one drops the pin's references.
pub fn a_pin_is_taken_off_once() {
    explore(|| {
        let model = Model::new(TypeWord::unused(PageType::None, tlb::clock()));
        assert_eq!(model.get(PageType::L4, false), Ok(()));
        assert!(model.frame.pin());
        let unpin = move || {
            let taken = model.frame.take_pin();
            if taken {
                model.leave();
            }
            taken
        };
        let other = spawn(unpin);
        assert!(unpin() != other.join().unwrap());
        model.is_at_rest();
    });
}

/// The owner gives a frame back on two CPUs while a third uses it: it is freed once, and not before the last has let go.
pub fn a_frame_is_freed_once() {
    explore_within(3, || {
        let model = Model::new(TypeWord::unused(PageType::Writable, tlb::clock()));
        let user = spawn(move || {
            let _ = model.use_as(PageType::Writable);
        });
        let other = spawn(move || model.give_up());
        let mine = model.give_up();
        assert!(mine != other.join().unwrap());
        user.join().unwrap();
        assert_eq!(model.freed.load(Ordering::Relaxed), 1);
        assert!(!model.frame.get(OWNER));
    });
}

/// CPU 1 takes a frame for writing once more, and lets go of it, while CPU 0 makes a page table of it: when that is one,
/// the TLB of CPU 1 has no translation for writing (the race of XSA-401).
pub fn no_translation_outlives_a_change_of_type() {
    for want in [PageType::L1, PageType::None] {
        explore(move || {
            let model = Model::new(TypeWord::unused(PageType::Writable, tlb::clock()));
            let writer = spawn(move || {
                if model.get(PageType::Writable, false).is_ok() {
                    model.cached.store(true, Ordering::Relaxed);
                    model.leave();
                }
            });
            if model.get(want, false).is_ok() {
                assert!(!model.cached.load(Ordering::Relaxed));
                model.leave();
            }
            writer.join().unwrap();
            assert_eq!(model.frame.types().count(), 0);
        });
    }
}

/// Two CPUs want to write what was a page table: neither has it before it is flushed.
pub fn what_was_a_table_is_flushed_before_it_is_written() {
    explore(|| {
        let model = Model::new(TypeWord::unused(PageType::L1, tlb::clock()));
        model.cached.store(true, Ordering::Relaxed);
        let write = move || {
            if model.get(PageType::Writable, false).is_ok() {
                assert!(!model.cached.load(Ordering::Relaxed));
                model.leave();
            }
        };
        let other = spawn(write);
        write();
        other.join().unwrap();
        model.is_at_rest();
    });
}

/// A domain's page table on CPU 1, with one entry that maps a frame for writing.
#[derive(Default)]
struct Space {
    entry: AtomicU64,
    dirty: DirtyCpus,
    last_flush: LastFlush,
}

const CPU_1: CpuId = CpuId(1);

impl Space {
    /// CPU 0 takes the entry away, drops the frame's type, and takes the frame as something else. Whether it has to flush
    /// the TLB of CPU 1.
    fn is_to_be_flushed(&self, model: Model) -> bool {
        self.entry.swap(0, Ordering::SeqCst);
        model.leave();
        let begun = model.frame.begin_type(PageType::L1).unwrap();
        let lost = tlb::stamped(begun.lost().unwrap());
        self.dirty.now().contains(CPU_1) && !self.last_flush.is_after(lost)
    }

    /// What CPU 1's processor fetches into its TLB.
    fn walk(&self) -> bool {
        self.entry.load(Ordering::Acquire) != 0
    }
}

fn space() -> (&'static Space, Model) {
    let space = stays(Space::default());
    space.entry.store(1, Ordering::Release);
    (
        space,
        Model::new(TypeWord::validated_once(PageType::Writable)),
    )
}

/// CPU 1 flushes its TLB, and fetches translations again at once, while CPU 0 takes one away: no flush is left out that is
/// needed.
pub fn a_flush_left_out_was_not_needed() {
    explore(|| {
        let (space, model) = space();
        space.dirty.mark(CPU_1);
        let processor = spawn(|| {
            let mut cached = true;
            space.last_flush.by(|| cached = false);
            cached | space.walk()
        });
        let flushed = space.is_to_be_flushed(model);
        let cached = processor.join().unwrap();
        assert!(flushed || !cached);
    });
}

/// The same while CPU 1 loads the page table.
pub fn a_cpu_that_comes_is_flushed_if_needed() {
    explore(|| {
        let (space, model) = space();
        let processor = spawn(|| {
            space.dirty.mark(CPU_1);
            let mut cached = false;
            space.last_flush.by(|| cached = space.walk());
            cached
        });
        let flushed = space.is_to_be_flushed(model);
        let cached = processor.join().unwrap();
        assert!(flushed || !cached);
    });
}

/// The same while CPU 1 loads another domain's.
pub fn a_cpu_that_goes_is_flushed_if_needed() {
    explore(|| {
        let (space, model) = space();
        space.dirty.mark(CPU_1);
        let cached: &AtomicBool = stays(AtomicBool::new(true));
        let processor = spawn(|| {
            space
                .last_flush
                .by(|| cached.store(false, Ordering::Relaxed));
            space.dirty.clear(CPU_1);
        });
        if !space.is_to_be_flushed(model) {
            assert!(!cached.load(Ordering::Relaxed));
        }
        processor.join().unwrap();
    });
}

/// A domain gets a frame while it is begun to be taken apart: the one who gives it or the one who searches for what it has
/// takes it away again.
pub fn a_dying_domain_keeps_no_frame() {
    explore(|| {
        let model = Model::new(TypeWord::unused(PageType::None, tlb::clock()));
        model.frame.set_count(CountWord(CountWord::DIRTY));
        let dying: &AtomicBool = stays(AtomicBool::new(false));
        let killer = spawn(move || {
            dying.swap(true, Ordering::SeqCst);
            if model.frame.is_ram_of(OWNER) {
                model.give_up();
            }
        });
        model.frame.give_to(OWNER);
        if dying.load(Ordering::SeqCst) {
            model.give_up();
        }
        killer.join().unwrap();
        assert_eq!(model.freed.load(Ordering::Relaxed), 1);
    });
}
