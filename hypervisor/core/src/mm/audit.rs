//! Recounting: what page tables refer to, against what the frame table says. A debug key runs it
//! over the whole host, tests over a domain after every step.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use arrayvec::ArrayVec;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::frame::{CountWord, PageType, TypeWord};
use crate::mm::types::{ENTRIES, read_entry};
use crate::mm::{flush_last_use, pte};
use crate::percpu::PerCpu;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::types::{DomId, Mfn};

/// A frame whose count is not what its references add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The frame.
    pub frame: Mfn,
    /// Its type word.
    pub found: TypeWord,
    /// Type references that were found by counting.
    pub counted: u64,
}

/// Calls `found` with each type reference that a domain's vCPUs hold: roots and descriptor tables.
fn held_by_vcpus<M: Machine>(domain: &Domain<M>, found: &mut dyn FnMut(Mfn)) {
    for vcpu in domain.vcpus.read().iter() {
        let arch = vcpu.arch.lock();
        let roots = arch.kernel_root.iter().chain(&arch.user_root);
        let pages = arch.gdt.iter().chain(&arch.ldt_pages).flatten();
        roots.chain(pages).copied().for_each(&mut *found);
    }
}

/// Recounts the page-table types of a domain's frames; nothing of the domain runs meanwhile.
/// Types of frames that other domains map (writable), or that grants hold, are not compared.
pub fn recount<M: Machine>(machine: &M, domain: &Domain<M>, held: &[Mfn]) -> Vec<Mismatch> {
    let frames = domain.memory.frames(machine, domain.id, usize::MAX);
    let mut counts: BTreeMap<Mfn, u64> = BTreeMap::new();
    let mut add = |mfn| *counts.entry(mfn).or_default() += 1;
    held.iter().copied().for_each(&mut add);
    for mfn in &frames {
        references(machine, *mfn, &mut add);
    }
    let counted = |mfn| counts.get(&mfn).copied().unwrap_or(0);
    frames
        .iter()
        .filter_map(|mfn| compare(machine, *mfn, counted(*mfn)))
        .collect()
}

/// Most mismatches that are told one by one.
const TOLD: usize = 16;

/// What a recount of the whole host found.
#[derive(Debug, Default)]
pub struct Recount {
    /// Page tables of guests.
    pub tables: u64,
    /// How many frames have a count that is not what their references add up to.
    pub wrong: u64,
    /// The first of them.
    pub first: ArrayVec<Mismatch, TOLD>,
}

/// Recounts the types of all frames of the host, while no guest runs. `None` if there is not
/// enough free memory for the counters, which take a thousandth of all memory. Other CPUs must be able to flush their
/// TLBs meanwhile.
pub fn recount_all<M: Machine>(cpu: &PerCpu<M>) -> Option<Recount> {
    let hv = cpu.hv;
    let machine = &hv.machine;
    let counters = Counters::new(cpu)?;
    let mut add = |mfn| counters.add(mfn);
    for domain in hv.domains.from(DomId::DOM0) {
        held_by_vcpus(&domain, &mut add);
    }
    let all = || (0..machine.max_frame().0).map(Mfn);
    let mut result = Recount::default();
    for mfn in all() {
        result.tables += u64::from(references(machine, mfn, &mut add));
    }
    // Mappings of devices are not counted.
    let memory = all().filter(|mfn| !machine.is_mappable_io(*mfn));
    for wrong in memory.filter_map(|mfn| compare(machine, mfn, counters.get(mfn))) {
        result.wrong += 1;
        let _ = result.first.try_push(wrong);
    }
    Some(result)
}

/// A counter for each frame of the host, in frames that are free otherwise.
struct Counters<'a, M: Machine> {
    hv: &'a Hypervisor<M>,
    pages: Vec<Mfn>,
}

/// Counters in a frame.
const COUNTERS: u64 = 1024;

impl<M: Machine> Counters<'_, M> {
    fn new(cpu: &PerCpu<M>) -> Option<Self> {
        let hv = cpu.hv;
        let mut pages = Vec::new();
        let wanted = hv.machine.max_frame().0.div_ceil(COUNTERS);
        pages
            .try_reserve_exact(usize::try_from(wanted).ok()?)
            .ok()?;
        // What was taken goes back whatever happens.
        let mut counters = Self { hv, pages };
        for _ in 0..wanted {
            let page = hv.heap.alloc(&hv.machine, 0, u32::BITS * 2)?;
            counters.pages.push(page);
            flush_last_use(cpu, page, 0);
            hv.machine.zero_page(page);
        }
        Some(counters)
    }

    fn of(&self, mfn: Mfn) -> Option<&'static AtomicU32> {
        let page = self.pages.get(usize::try_from(mfn.0 / COUNTERS).ok()?)?;
        let counters = self.hv.machine.page32(*page)?;
        counters.get(usize::try_from(mfn.0 % COUNTERS).ok()?)
    }

    fn add(&self, mfn: Mfn) {
        if let Some(counter) = self.of(mfn) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn get(&self, mfn: Mfn) -> u64 {
        let counter = self.of(mfn);
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed).into())
    }
}

impl<M: Machine> Drop for Counters<'_, M> {
    fn drop(&mut self) {
        for page in &self.pages {
            if let Some(frame) = self.hv.machine.frame(*page) {
                frame.set_count(CountWord(CountWord::DIRTY));
                self.hv.heap.free(&self.hv.machine, *page, 0);
            }
        }
    }
}

/// Calls `found` with the frame of each type reference that this frame's state stands for: its
/// pin, an unfinished validation and, if it is a page table, its entries. Returns whether it is one.
fn references<M: Machine>(machine: &M, mfn: Mfn, found: &mut dyn FnMut(Mfn)) -> bool {
    let Some(frame) = machine.frame(mfn).filter(|frame| !frame.is_free()) else {
        return false;
    };
    let word = frame.types();
    for _ in 0..usize::from(word.pinned()) + usize::from(word.partial()) {
        found(mfn);
    }
    let Some(level) = word.kind().level().filter(|_| word.held()) else {
        return false;
    };
    let valid = if word.validated() {
        ENTRIES
    } else {
        // The high bit says that the last child's type was dropped already.
        let progress = word.progress();
        (progress & 0x7fff) - usize::from(progress & 0x8000 != 0)
    };
    for index in 0..valid.min(ENTRIES) {
        if level == 4 && pte::is_hypervisor_slot(index) {
            continue;
        }
        let entry = read_entry(machine, mfn, index);
        if pte::present(entry) && (level > 1 || entry & pte::RW != 0) {
            found(pte::frame(entry));
        }
    }
    true
}

/// A frame may be writable for more than page tables: grants, and the hypervisor's own use of it.
fn compare<M: Machine>(machine: &M, frame: Mfn, counted: u64) -> Option<Mismatch> {
    let entry = machine.frame(frame)?;
    let found = if entry.is_free() {
        TypeWord::unused(PageType::None, 0)
    } else {
        entry.types()
    };
    let held = u64::from(found.count());
    let compared = found.kind() != PageType::Writable || held < counted;
    (compared && held != counted).then_some(Mismatch {
        frame,
        found,
        counted,
    })
}
