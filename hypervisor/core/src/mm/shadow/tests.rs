//! Copies against what a processor may do: with them it gets at exactly what the guest's own tables allow, and no write
//! goes unnoticed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::BTreeSet;

use oxen_abi::errno::Errno;
use proptest::prelude::*;

use super::{Access, disable, enable, fault, load_root, log, own_fault, shed};
use crate::machine::Machine;
use crate::mm::entry::{EntryPlace, Update, replace_entry};
use crate::mm::frame::PageType;
use crate::mm::types::{get_type, pin, put_type, read_entry, resume_put, take_pin};
use crate::mm::{get_page, pte, put_page, walk};
use crate::testing::{Host, Sim};
use crate::types::Mfn;

type Domain = Arc<crate::domain::Domain<Sim>>;

/// Frames by the level that each is a table of; 0 = data.
const LEVELS: [u8; 13] = [4, 4, 3, 3, 2, 2, 1, 1, 1, 0, 0, 0, 0];

#[derive(Clone, Debug)]
enum Op {
    /// Entry `index` of table `table` becomes one for `target` with these rights.
    Write {
        table: usize,
        index: usize,
        target: usize,
        flags: u64,
    },
    Clear {
        table: usize,
        index: usize,
    },
    Unpin(usize),
    Pin(usize),
    /// The CPU goes over to another root.
    Load(usize),
    /// An access by way of the loaded root: two choices at each level.
    Access {
        path: u8,
        write: bool,
        by_hypervisor: bool,
    },
    /// The tools read the log and begin a new round.
    Round,
    /// Memory for copies is short.
    Shed,
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop::sample::select(std::vec![
        pte::PRESENT | pte::USER,
        pte::PRESENT | pte::USER | pte::RW,
        pte::PRESENT | pte::USER | pte::RW | pte::DIRTY | pte::ACCESSED,
    ]);
    prop_oneof![
        8 => (0..9usize, 0..2usize, 0..LEVELS.len(), flags)
            .prop_map(|(table, index, target, flags)| Op::Write { table, index, target, flags }),
        2 => (0..9usize, 0..2usize).prop_map(|(table, index)| Op::Clear { table, index }),
        1 => (2..9usize).prop_map(Op::Unpin),
        2 => (2..9usize).prop_map(Op::Pin),
        2 => (0..2usize).prop_map(Op::Load),
        12 => (0..16u8, any::<bool>(), any::<bool>())
            .prop_map(|(path, write, by_hypervisor)| Op::Access { path, write, by_hypervisor }),
        2 => Just(Op::Round),
        1 => Just(Op::Shed),
    ]
}

fn addr(path: u8) -> u64 {
    (1..=4u8).fold(0, |addr, level| {
        addr | u64::from(path >> (level - 1) & 1) << (12 + 9 * (u32::from(level) - 1))
    })
}

struct Bench {
    host: &'static Host,
    domain: Domain,
    frames: Vec<Mfn>,
    root: Mfn,
    written: BTreeSet<Mfn>,
}

impl Bench {
    /// All tables pinned and joined: entry 0 of each leads to the first frame of the level below.
    fn new() -> Self {
        let host: &'static Host =
            std::boxed::Box::leak(std::boxed::Box::new(Host::with_frames(512)));
        let domain = host.domain(1, 1, 64);
        let frames: Vec<Mfn> = LEVELS.iter().map(|_| host.ram(&domain)).collect();
        let mut bench = Self {
            host,
            root: frames[0],
            domain,
            frames,
            written: BTreeSet::new(),
        };
        for number in (0..9).rev() {
            bench.pin(number);
        }
        for (table, target) in [(0, 2), (1, 2), (2, 4), (4, 6), (6, 9)] {
            let flags = pte::PRESENT | pte::USER | pte::RW;
            assert!(bench.write(table, 0, pte::make(bench.frames[target], flags)));
        }
        assert_eq!(enable(&host.cpu, &bench.domain), Ok(()));
        bench.load(0);
        bench
    }

    fn pin(&mut self, number: usize) {
        let (cpu, mfn) = (&self.host.cpu, self.frames[number]);
        assert!(get_page(self.host.machine(), mfn, self.domain.id));
        if pin(cpu, &self.domain, mfn, LEVELS[number]).is_err() {
            put_page(self.host.hv, mfn);
        }
    }

    fn unpin(&mut self, number: usize) {
        let (cpu, mfn) = (&self.host.cpu, self.frames[number]);
        if take_pin(cpu, mfn) {
            self.settle(put_type(cpu, mfn).err());
            put_page(self.host.hv, mfn);
        }
    }

    fn settle(&self, mut left: Option<crate::mm::Unfinished>) {
        while let Some(unfinished) = left {
            left = resume_put(&self.host.cpu, unfinished).err();
        }
    }

    /// As `mmu_update` does it; whether the frame was a table and took the entry.
    fn write(&mut self, number: usize, index: usize, value: u64) -> bool {
        let (cpu, table) = (&self.host.cpu, self.frames[number]);
        let kind = PageType::table(LEVELS[number]).unwrap();
        let word = self.host.machine().frame(table).unwrap().types();
        if word.kind() != kind || word.count() == 0 {
            return false;
        }
        assert!(get_page(self.host.machine(), table, self.domain.id));
        assert!(get_type(cpu, &self.domain, table, kind).is_ok());
        let place = EntryPlace {
            table,
            level: LEVELS[number],
            index,
        };
        let outcome = replace_entry(
            cpu,
            &self.domain,
            self.domain.id,
            place,
            value,
            Update::Plain,
        );
        if let Ok(left) = outcome {
            self.settle(left);
            self.written.insert(table);
        }
        self.settle(put_type(cpu, table).err());
        put_page(self.host.hv, table);
        outcome.is_ok()
    }

    fn load(&mut self, number: usize) {
        self.root = self.frames[number];
        load_root(&self.host.cpu, &self.domain, Some(self.root));
    }

    /// What the processor finds by way of the loaded copy: the frame and whether it may write.
    fn processor(&self, addr: u64) -> Option<(Mfn, bool)> {
        let copy = self.domain.memory.shadow.tables.lock().copy_of(self.root);
        let mut table = copy.expect("a loaded root has a copy");
        let mut writable = true;
        for level in (1..=4).rev() {
            let entry = read_entry(self.host.machine(), table, pte::index(addr, level));
            if !pte::present(entry) {
                return None;
            }
            assert!(entry & pte::ACCESSED != 0 && entry & pte::DIRTY != 0);
            writable &= entry & pte::RW != 0;
            table = pte::frame(entry);
        }
        Some((table, writable))
    }

    fn access(&mut self, addr: u64, write: bool, by_hypervisor: bool) {
        let allowed = walk::translate(self.host.machine(), self.root, addr)
            .filter(|(_, rights)| !write || rights & pte::RW != 0);
        let cpu = &self.host.cpu;
        let mut granted = None;
        for _ in 0..4 {
            granted = self
                .processor(addr)
                .filter(|(_, writable)| *writable || !write);
            let access = Access {
                write,
                fetch: false,
            };
            let again = granted.is_none()
                && if by_hypervisor {
                    own_fault(cpu, addr, write)
                } else {
                    fault(cpu, &self.domain, self.root, addr, access)
                };
            if !again {
                break;
            }
        }
        assert_eq!(
            granted.map(|(frame, _)| frame),
            allowed.map(|(entry, _)| pte::frame(entry))
        );
        if let Some((entry, _)) = allowed {
            let (table, index) = walk::find_l1(self.host.machine(), self.root, addr).unwrap();
            let now = read_entry(self.host.machine(), table, index);
            assert_ne!(now & pte::ACCESSED, 0);
            if write {
                assert_ne!(now & pte::DIRTY, 0, "the guest sees that it was written to");
                self.written.insert(pte::frame(entry));
            }
        }
    }

    /// Reads the log and begins a new round.
    fn round(&mut self) -> BTreeSet<Mfn> {
        let (cpu, machine) = (&self.host.cpu, self.host.machine());
        for mfn in &self.frames {
            machine.set_m2p(*mfn, mfn.0);
        }
        let mut found = BTreeSet::new();
        let mut at = Mfn(0);
        while let Some(next) = log::collect(cpu, &self.domain, at, true, |pfn| {
            found.insert(Mfn(pfn));
            Ok::<(), ()>(())
        })
        .unwrap()
        {
            at = next;
        }
        log::begin_round(cpu, &self.domain);
        found
    }

    /// The processor can write only to what is noted.
    fn check(&self) {
        for path in 0..16 {
            if let Some((frame, true)) = self.processor(addr(path)) {
                let frame = self.host.machine().frame(frame).unwrap();
                assert!(frame.is_written());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn the_guest_gets_what_its_tables_allow_and_no_write_is_missed(
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut bench = Bench::new();
        bench.written.clear();
        bench.round();
        for op in &ops {
            match *op {
                Op::Write { table, index, target, flags } => {
                    let value = pte::make(bench.frames[target], flags);
                    bench.write(table, index, value);
                }
                Op::Clear { table, index } => {
                    bench.write(table, index, 0);
                }
                Op::Unpin(number) => bench.unpin(number),
                Op::Pin(number) => bench.pin(number),
                Op::Load(number) => bench.load(number),
                Op::Access { path, write, by_hypervisor } => {
                    bench.access(addr(path), write, by_hypervisor);
                }
                Op::Round => {
                    let found = bench.round();
                    let missed: Vec<_> = bench.written.difference(&found).collect();
                    prop_assert!(missed.is_empty(), "missed {missed:?}");
                    bench.written.clear();
                }
                Op::Shed => shed(&bench.host.cpu, &bench.domain),
            }
            bench.check();
        }
        // The copies are gone with the log, and nothing is left of them.
        let hv = bench.host.hv;
        let used = bench.domain.memory.shadow.tables.lock().frames();
        let free = hv.heap.free_frames();
        load_root(&bench.host.cpu, &bench.domain, None);
        disable(&bench.host.cpu, &bench.domain);
        prop_assert_eq!(hv.heap.free_frames(), free + used);
        let wrong = crate::mm::audit::recount(&hv.machine, &bench.domain, &[]);
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
    }
}

#[test]
fn a_round_has_what_was_written_in_it() {
    let mut bench = Bench::new();
    let data = bench.frames[9];
    bench.round();
    bench.access(addr(0), false, false);
    assert!(
        bench.round().is_disjoint(&BTreeSet::from([data])),
        "a read is no write"
    );
    bench.access(addr(0), true, false);
    assert_eq!(bench.domain.memory.shadow.log.counts().0, 1);
    assert!(bench.round().contains(&data));
    assert!(bench.round().is_empty(), "nothing was written since");
    bench.access(addr(0), true, true);
    assert!(
        bench.round().contains(&data),
        "nor is the next write missed"
    );
}

#[test]
fn a_dying_domain_keeps_no_copies() {
    let bench = Bench::new();
    let (hv, domain) = (bench.host.hv, &bench.domain);
    disable(&bench.host.cpu, domain);
    let free = hv.heap.free_frames();
    domain
        .dying
        .store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(enable(&bench.host.cpu, domain), Err(Errno::ESRCH));
    assert!(!domain.memory.shadow.is_on());
    assert_eq!(hv.heap.free_frames(), free);
}

#[test]
fn without_logging_nothing_is_noted() {
    let mut bench = Bench::new();
    disable(&bench.host.cpu, &bench.domain);
    assert!(bench.round().len() <= LEVELS.len());
    assert!(!log::mark(bench.host.hv, &bench.domain, bench.frames[9]));
    assert!(bench.round().is_empty());
    assert_eq!(
        bench
            .host
            .hv
            .shadowed
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}
