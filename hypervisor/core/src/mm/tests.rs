//! Page typing against its own definition: after any sequence of operations, stopped anywhere,
//! the counts in the frame table are those of the page tables, and a destroyed domain gives
//! every frame back.

use std::vec::Vec;

use proptest::prelude::*;

use oxen_abi::errno::Errno;

use crate::mm::audit::{recount, recount_all};
use crate::mm::entry::EntryPlace;
use crate::mm::frame::PageType;
use crate::mm::types::{MmError, Unfinished, pin, put_type, resume_put, take_pin};
use crate::mm::{Purpose, alloc_frames, entry, get_page, pte, put_page, relinquish, types};
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::DomId;
use crate::{Machine, Mfn};
use std::sync::Arc;

type Domain = Arc<crate::domain::Domain<Sim>>;

const FRAMES: usize = 8;

#[derive(Clone, Debug)]
enum Op {
    Pin(usize, u8),
    Unpin(usize),
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
    Preempt(bool),
    /// Requests from here on stop when they have looked so often whether they are to; 0 = never.
    Turn(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let frame = 0..FRAMES;
    let index = prop::sample::select(std::vec![0usize, 1, 255, 256, 271, 272, 511]);
    prop_oneof![
        3 => (frame.clone(), 1..=4u8).prop_map(|(frame, level)| Op::Pin(frame, level)),
        2 => frame.clone().prop_map(Op::Unpin),
        8 => (frame.clone(), index.clone(), frame.clone(), prop::sample::select(std::vec![
            pte::PRESENT,
            pte::PRESENT | pte::RW,
            pte::PRESENT | pte::RW | pte::PSE,
        ]))
            .prop_map(|(table, index, target, flags)| Op::Write { table, index, target, flags }),
        2 => (frame, index).prop_map(|(table, index)| Op::Clear { table, index }),
        1 => any::<bool>().prop_map(Op::Preempt),
        // A table has 512 entries, and there is a look before each.
        2 => (0..600u64).prop_map(Op::Turn),
    ]
}

struct Bench {
    host: &'static Host,
    domain: Domain,
    frames: Vec<Mfn>,
    unfinished: Vec<Unfinished>,
    looks: u64,
}

impl Bench {
    fn new() -> Self {
        // Leaked, as its hypervisor is.
        let host: &'static Host =
            std::boxed::Box::leak(std::boxed::Box::new(Host::with_frames(64)));
        let domain = host.domain(1, 1, 32);
        let frames = (0..FRAMES).map(|_| host.ram(&domain)).collect();
        Self {
            host,
            domain,
            frames,
            unfinished: Vec::new(),
            looks: 0,
        }
    }

    fn preempt(&self, on: bool) {
        let bit = crate::percpu::Pending::TIMER.bits();
        self.host
            .hv
            .cpu(crate::CpuId(0))
            .pending
            .store(if on { bit } else { 0 }, Ordering::SeqCst);
    }

    fn note(&mut self, outcome: Result<(), Unfinished>) {
        self.unfinished.extend(outcome.err());
    }

    /// As `mmu_update` does it: a page table's entry, or plain memory.
    fn write(&mut self, table: Mfn, index: usize, value: u64) {
        let cpu = &self.host.cpu;
        let machine = self.host.machine();
        assert!(get_page(machine, table, self.domain.id));
        let word = machine.frame(table).unwrap().types();
        let level = word.kind().level().filter(|_| word.count() > 0);
        let kind = level.map_or(PageType::Writable, |_| word.kind());
        if types::get_type(cpu, &self.domain, table, kind).is_ok() {
            let mut left = None;
            match level {
                Some(level) => {
                    let id = self.domain.id;
                    let how = entry::Update::Plain;
                    let place = EntryPlace {
                        table,
                        level,
                        index,
                    };
                    let outcome = entry::replace_entry(cpu, &self.domain, id, place, value, how);
                    left = outcome.ok().flatten();
                }
                None => machine.page(table).unwrap()[index].store(value, Ordering::SeqCst),
            }
            let dropped = put_type(cpu, table);
            self.unfinished.extend(left);
            self.note(dropped);
        }
        put_page(self.host.hv, table);
    }

    fn apply(&mut self, op: &Op) {
        let cpu = &self.host.cpu;
        self.host.turn_of(self.looks);
        match *op {
            Op::Pin(frame, level) => {
                let mfn = self.frames[frame];
                assert!(get_page(self.host.machine(), mfn, self.domain.id));
                if pin(cpu, &self.domain, mfn, level).is_err() {
                    put_page(self.host.hv, mfn);
                }
            }
            Op::Unpin(frame) => {
                let mfn = self.frames[frame];
                if take_pin(cpu, mfn) {
                    let outcome = put_type(cpu, mfn);
                    put_page(self.host.hv, mfn);
                    self.note(outcome);
                }
            }
            Op::Write {
                table,
                index,
                target,
                flags,
            } => {
                let value = pte::make(self.frames[target], flags);
                self.write(self.frames[table], index, value);
            }
            Op::Clear { table, index } => self.write(self.frames[table], index, 0),
            Op::Preempt(on) => self.preempt(on),
            Op::Turn(looks) => self.looks = looks,
        }
        // As the next stretch of a hypercall does; anyone may come first.
        if let Some(unfinished) = self.unfinished.pop() {
            self.host.turn_of(self.looks);
            let outcome = resume_put(cpu, unfinished);
            self.note(outcome);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn counts_are_what_the_tables_hold(ops in prop::collection::vec(op(), 1..60)) {
        let mut bench = Bench::new();
        for op in &ops {
            bench.apply(op);
            let wrong = recount(bench.host.machine(), &bench.domain, &[]);
            prop_assert!(wrong.is_empty(), "after {:?}: {:?}", op, wrong);
        }
        let free = bench.host.hv.heap.free_frames();
        let whole = recount_all(&bench.host.cpu).unwrap();
        prop_assert_eq!(whole.wrong, 0, "{:?}", whole);
        prop_assert_eq!(bench.host.hv.heap.free_frames(), free);
        // Death, with stops as they come.
        let before = bench.domain.memory.total_frames();
        prop_assert_eq!(before, FRAMES as u64);
        bench.domain.dying.store(true, Ordering::SeqCst);
        let mut rounds = 0;
        while !relinquish(&bench.host.cpu, &bench.domain) {
            bench.preempt(rounds % 2 == 0);
            bench.host.turn_of(bench.looks);
            rounds += 1;
            prop_assert!(rounds < 10_000);
        }
        prop_assert_eq!(bench.domain.memory.total_frames(), 0);
    }
}

#[test]
fn a_recount_finds_a_reference_too_many() {
    let bench = Bench::new();
    let (host, domain, l1) = (bench.host, &bench.domain, bench.frames[0]);
    assert!(get_page(host.machine(), l1, domain.id));
    assert!(pin(&host.cpu, domain, l1, 1).is_ok());
    let whole = recount_all(&host.cpu).unwrap();
    assert_eq!((whole.tables, whole.wrong), (1, 0));
    assert!(types::get_type(&host.cpu, domain, l1, PageType::L1).is_ok());
    let whole = recount_all(&host.cpu).unwrap();
    assert_eq!((whole.tables, whole.wrong), (1, 1));
    assert_eq!((whole.first[0].frame, whole.first[0].counted), (l1, 1));
}

#[test]
fn a_page_table_is_never_writable() {
    let bench = Bench::new();
    let (host, domain) = (bench.host, &bench.domain);
    let (l1, l2) = (bench.frames[0], bench.frames[1]);
    let machine = host.machine();
    // An L1 that maps itself writable is refused...
    machine.page(l1).unwrap()[0].store(pte::make(l1, pte::PRESENT | pte::RW), Ordering::SeqCst);
    assert!(get_page(machine, l1, domain.id));
    assert!(pin(&host.cpu, domain, l1, 1).is_err());
    // ... read-only is not, and gets the user bit.
    machine.page(l1).unwrap()[0].store(pte::make(l1, pte::PRESENT), Ordering::SeqCst);
    assert_eq!(pin(&host.cpu, domain, l1, 1), Ok(()));
    let entry = machine.page(l1).unwrap()[0].load(Ordering::SeqCst);
    assert_eq!(entry, pte::make(l1, pte::PRESENT | pte::USER));
    // An L2 takes an L1, and no frame that is something else.
    let index = 3;
    machine.page(l2).unwrap()[index].store(pte::make(l1, pte::PRESENT | pte::RW), Ordering::SeqCst);
    assert!(get_page(machine, l2, domain.id));
    assert_eq!(pin(&host.cpu, domain, l2, 2), Ok(()));
    assert!(get_page(machine, l1, domain.id));
    assert_eq!(
        types::get_type(&host.cpu, domain, l1, PageType::Writable),
        Err(MmError::Errno(oxen_abi::errno::Errno::EINVAL))
    );
}

#[test]
fn others_frames_and_the_hypervisors_are_refused() {
    let bench = Bench::new();
    let (host, domain) = (bench.host, &bench.domain);
    let other = host.domain(2, 1, 8);
    let foreign = host.ram(&other);
    let own = host.hv.heap.alloc(host.machine(), 0, 64).expect("a frame");
    host.machine().frame(own).unwrap().claim_for_hypervisor();
    for target in [foreign, own, Mfn(1 << 30)] {
        let value = pte::make(target, pte::PRESENT);
        assert!(entry::acquire_entry(&host.cpu, domain, domain.id, 1, value).is_err());
        assert!(entry::acquire_entry(&host.cpu, domain, domain.id, 2, value).is_err());
    }
    assert!(!get_page(host.machine(), foreign, DomId(1)));
    assert!(!get_page(host.machine(), own, DomId::XEN));
}

#[test]
fn what_one_guest_leaves_another_does_not_see() {
    let host = Host::new();
    let (one, two) = (host.domain(1, 1, 2048), host.domain(2, 1, 2048));
    let mfn = host.ram(&one);
    host.machine().page(mfn).unwrap()[7].store(0x5ec2e7, Ordering::SeqCst);
    assert!(crate::mm::take_allocation(host.hv, mfn));
    put_page(host.hv, mfn);
    let mut seen = false;
    while let Some(got) = crate::mm::alloc_frames(&host.cpu, &two, 0, 64, crate::mm::Purpose::Ram) {
        seen |= got == mfn;
        assert_eq!(
            host.machine().page(got).unwrap()[7].load(Ordering::SeqCst),
            0
        );
    }
    assert!(seen, "the frame came round again");
}

#[test]
fn claimed_frames_are_left_for_who_claims_them() {
    let host = Host::with_frames(64);
    let (claimer, other) = (host.domain(1, 1, 64), host.domain(2, 1, 64));
    let heap = &host.hv.heap;
    let get = |domain: &_| alloc_frames(&host.cpu, domain, 0, 64, Purpose::Ram);
    let free = heap.free_frames();
    let claim = &claimer.memory.claim;
    assert_eq!(heap.set_aside(claim, free + 1), Err(Errno::ENOMEM));
    assert_eq!(heap.set_aside(claim, free - 2), Ok(()));
    assert_eq!(heap.set_aside(claim, 1), Err(Errno::EINVAL));
    assert!(get(&other).is_some() && get(&other).is_some());
    assert!(get(&other).is_none(), "the rest is set aside");
    assert!(alloc_frames(&host.cpu, &claimer, 0, 64, Purpose::Shared).is_none());
    for left in (0..free - 2).rev() {
        assert!(get(&claimer).is_some());
        assert_eq!((claim.frames(), heap.claimed_frames()), (left, left));
    }
    assert_eq!(heap.free_frames(), 0);
    // What the hypervisor itself needs, it takes.
    let host = Host::with_frames(64);
    let (claimer, other) = (host.domain(1, 1, 64), host.domain(2, 1, 64));
    let heap = &host.hv.heap;
    assert_eq!(
        heap.set_aside(&claimer.memory.claim, heap.free_frames()),
        Ok(())
    );
    assert!(heap.alloc(host.machine(), 0, 64).is_some());
    assert!(alloc_frames(&host.cpu, &other, 0, 64, Purpose::Ram).is_none());
    heap.let_go(&claimer.memory.claim);
    assert_eq!(heap.claimed_frames(), 0);
    assert!(alloc_frames(&host.cpu, &other, 0, 64, Purpose::Ram).is_some());
}

/// Another CPU takes a frame in its old use once more while it is being flushed out of the TLBs.
#[test]
fn a_frame_is_claimed_before_it_is_flushed() {
    for (old, new) in [
        (PageType::Writable, PageType::L1),
        (PageType::L1, PageType::Writable),
        (PageType::Writable, PageType::Descriptors),
    ] {
        let bench = Bench::new();
        let (host, domain, mfn) = (bench.host, &bench.domain, bench.frames[0]);
        assert!(get_page(host.machine(), mfn, domain.id));
        assert_eq!(types::get_type(&host.cpu, domain, mfn, old), Ok(()));
        assert_eq!(put_type(&host.cpu, mfn), Ok(()));
        domain.mark_dirty(crate::CpuId(1));
        let again = Arc::clone(domain);
        let (hv, idle) = (host.hv, host.cpu.current());
        *host.machine().meanwhile.lock() = Some(std::boxed::Box::new(move || {
            let other = crate::percpu::PerCpu::new(hv, crate::CpuId(1), idle);
            for kind in [old, new] {
                let outcome = types::get_type(&other, &again, mfn, kind);
                assert!(outcome.is_err(), "{kind:?}: {outcome:?}");
            }
        }));
        assert_eq!(types::get_type(&host.cpu, domain, mfn, new), Ok(()));
        assert!(
            host.machine().meanwhile.lock().is_none(),
            "no flush between {old:?} and {new:?}"
        );
        assert_eq!(put_type(&host.cpu, mfn), Ok(()));
    }
}

#[test]
fn a_dying_domain_gets_no_memory() {
    let host = Host::with_frames(64);
    let domain = host.domain(1, 1, 32);
    let free = host.hv.heap.free_frames();
    domain.dying.store(true, Ordering::SeqCst);
    for purpose in [Purpose::Ram, Purpose::Built] {
        assert!(alloc_frames(&host.cpu, &domain, 2, 64, purpose).is_none());
    }
    assert_eq!(domain.memory.total_frames(), 0);
    // It begins to die while a tool has its grant table grown.
    domain.dying.store(false, Ordering::SeqCst);
    let again = Arc::clone(&domain);
    *host.machine().meanwhile.lock() = Some(std::boxed::Box::new(move || {
        again.dying.store(true, Ordering::SeqCst);
    }));
    assert!(domain.grants.frame_or_grow(&host.cpu, &domain, 0).is_none());
    assert!(domain.is_dying(), "nothing was flushed");
    assert_eq!(host.hv.heap.free_frames(), free);
}

#[test]
fn several_page_tables_can_be_left_half_undone() {
    let mut bench = Bench::new();
    let host = bench.host;
    let roots = [bench.frames[0], bench.frames[1]];
    for (root, table) in roots.into_iter().zip([bench.frames[2], bench.frames[3]]) {
        // Three entries, so that there is something left after the first.
        for index in [0, 1, 2] {
            let value = pte::make(table, pte::PRESENT);
            host.machine().page(root).unwrap()[index].store(value, Ordering::SeqCst);
        }
        bench.apply(&Op::Pin(
            bench.frames.iter().position(|at| *at == root).unwrap(),
            4,
        ));
        assert!(host.machine().frame(root).unwrap().types().pinned());
    }
    let vcpu = bench.domain.vcpu(crate::VcpuId(0)).unwrap();
    let cx = host.cx(&vcpu);
    bench.preempt(true);
    for root in roots {
        assert!(take_pin(&host.cpu, root));
        crate::mm::update::leave_pending(&cx, put_type(&host.cpu, root).err());
        put_page(host.hv, root);
    }
    let left = [vcpu.left.pop(), vcpu.left.pop()];
    assert!(left.iter().all(Option::is_some) && vcpu.left.is_empty());
    assert!(left.into_iter().flatten().all(|mfn| vcpu.left.push(mfn)));
    assert!(!crate::mm::update::finish_pending(&cx));
    bench.preempt(false);
    assert!(crate::mm::update::finish_pending(&cx));
    assert!(vcpu.left.is_empty());
    for mfn in &bench.frames {
        assert_eq!(host.machine().frame(*mfn).unwrap().types().count(), 0);
    }
}

fn exchange(host: &Host, vcpu: &Arc<crate::vcpu::Vcpu<Sim>>, give: &[u64], order: u32) -> u64 {
    use oxen_abi::memory::{Exchange, Reservation, XENMEM_EXCHANGE};
    let cx = host.cx(vcpu);
    let list = host.put(0x1000, give);
    let want = host.put(0x2000, &[0u64; 8]);
    let request = Exchange {
        in_: Reservation {
            extent_start: list,
            nr_extents: give.len() as u64,
            domid: DomId::SELF.0,
            ..Reservation::default()
        },
        out: Reservation {
            extent_start: want,
            nr_extents: give.len() as u64 >> order,
            extent_order: order,
            domid: DomId::SELF.0,
            ..Reservation::default()
        },
        ..Exchange::default()
    };
    let arg = host.put(0, &request);
    match crate::mm::memory_op::memory_op(&cx, u64::from(XENMEM_EXCHANGE), arg) {
        Ok(_) => 0,
        Err(crate::Stop::Errno(errno)) => errno.0.unsigned_abs().into(),
        Err(stop) => panic!("{stop:?}"),
    }
}

#[test]
fn an_exchange_gives_as_much_as_it_takes() {
    let host = Host::with_frames(64);
    let domain = host.domain(1, 1, 4);
    let vcpu = domain.vcpu(crate::VcpuId(0)).unwrap();
    let frames: Vec<Mfn> = (0..4).map(|_| host.ram(&domain)).collect();
    let numbers: Vec<u64> = frames.iter().map(|mfn| mfn.0).collect();
    let free = host.hv.heap.free_frames();
    let einval = u64::from(Errno::EINVAL.0.unsigned_abs());
    for (pfn, mfn) in (100..).zip(&frames) {
        host.machine().set_m2p(*mfn, pfn);
    }
    // The same frame twice, and one that is in use: nothing changes.
    assert_eq!(exchange(&host, &vcpu, &[numbers[0]; 2], 1), einval);
    assert!(get_page(host.machine(), frames[3], domain.id));
    assert_eq!(exchange(&host, &vcpu, &numbers, 2), einval);
    put_page(host.hv, frames[3]);
    let after = (domain.memory.total_frames(), host.hv.heap.free_frames());
    assert_eq!(after, (4, free));
    for (pfn, mfn) in (100..).zip(&frames) {
        assert_eq!(host.machine().m2p(*mfn), pfn);
    }
    assert_eq!(domain.memory.frames(host.machine(), domain.id, 9).len(), 4);
    // And rightly.
    assert_eq!(exchange(&host, &vcpu, &numbers, 2), 0);
    let got: [u64; 1] = host.get(crate::testing::GUEST_BASE + 0x2000);
    assert_eq!(
        host.machine().frame(Mfn(got[0])).unwrap().count().owner(),
        domain.id
    );
    let after = (domain.memory.total_frames(), host.hv.heap.free_frames());
    assert_eq!(after, (4, free));
    assert_eq!(domain.memory.max.load(Ordering::SeqCst), 4);
}

/// Another vCPU that maps whatever it can, while exchanges fail for a frame that is named twice.
#[test]
fn a_failed_exchange_leaves_nothing_beyond_the_limit() {
    const FRAMES: u64 = 64;
    let host = Host::with_frames(1024);
    let domain = host.domain(1, 1, FRAMES);
    let vcpu = domain.vcpu(crate::VcpuId(0)).unwrap();
    let mut numbers: Vec<u64> = (0..FRAMES).map(|_| host.ram(&domain).0).collect();
    let ours = numbers.clone();
    numbers[63] = numbers[0];
    let (machine, id) = (host.machine(), domain.id);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let held = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut held = 0;
            while !stop.load(Ordering::SeqCst) {
                let new = (1..1024).filter(|mfn| !ours.contains(mfn));
                let mut new = new.filter_map(|mfn| machine.frame(Mfn(mfn)));
                let is_new = |frame: &super::frame::Frame| frame.is_ram_of(id) && frame.get(id);
                held += usize::from(new.any(|frame| is_new(&frame)));
            }
            held
        });
        for _ in 0..500 {
            let einval = u64::from(Errno::EINVAL.0.unsigned_abs());
            assert_eq!(exchange(&host, &vcpu, &numbers, 6), einval);
        }
        stop.store(true, Ordering::SeqCst);
        other.join().unwrap()
    });
    assert_eq!((held, domain.memory.total_frames()), (0, FRAMES));
}

#[test]
fn caching_is_for_those_with_hardware() {
    let bench = Bench::new();
    let (host, domain) = (bench.host, &bench.domain);
    let (table, page) = (bench.frames[0], bench.frames[1]);
    let einval = Err(MmError::Errno(Errno::EINVAL));
    let acquire = |level, bits| {
        let value = pte::make(page, pte::PRESENT | bits);
        entry::acquire_entry(&host.cpu, domain, domain.id, level, value).map(|_| ())
    };
    for bits in [pte::PWT, pte::PCD, pte::PSE, pte::GLOBAL] {
        assert_eq!(acquire(2, bits), einval, "level 2, {bits:#x}");
        let plain = bits == pte::GLOBAL;
        assert_eq!(acquire(1, bits).is_ok(), plain, "level 1, {bits:#x}");
    }
    // Nor by way of an entry that is there.
    assert!(get_page(host.machine(), table, domain.id));
    assert_eq!(pin(&host.cpu, domain, table, 1), Ok(()));
    let place = EntryPlace {
        table,
        level: 1,
        index: 0,
    };
    let write = |bits, how| {
        let value = pte::make(page, pte::PRESENT | bits);
        entry::replace_entry(&host.cpu, domain, domain.id, place, value, how).map(|_| ())
    };
    assert_eq!(write(0, entry::Update::Plain), Ok(()));
    assert_eq!(write(pte::NX, entry::Update::Plain), Ok(()));
    for how in [entry::Update::Plain, entry::Update::KeepAd] {
        assert_eq!(write(pte::PCD, how), einval, "{how:?}");
    }
    domain.permissions.lock().ports.insert(0x60, 0x60);
    for how in [entry::Update::Plain, entry::Update::KeepAd] {
        assert_eq!(write(pte::PCD, how), Ok(()), "{how:?}");
    }
    assert_eq!(acquire(2, pte::PCD), einval);
    assert!(recount(host.machine(), domain, &[]).is_empty());
}
