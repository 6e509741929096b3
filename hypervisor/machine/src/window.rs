//! The L1 entries of a CPU's own area: its GDT and LDT windows.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_core::Mfn;

use crate::layout::{DIRECT_MAP_BASE, GDT_WINDOW, LDT_WINDOW, PAGE_SIZE, PERCPU_STRIDE};
use crate::num::to_usize;
use crate::paging::{self, Flags, entry::ADDRESS};
use crate::percpu::{area, this_header};
use crate::trap::{isolated_window_word, window_word};
use crate::{control, image};

/// Pages of a CPU's area.
pub(crate) const PAGES: usize = to_usize(PERCPU_STRIDE / PAGE_SIZE);
/// Index of the GDT window's first page.
pub(crate) const GDT_FIRST: usize = to_usize(GDT_WINDOW / PAGE_SIZE);
/// Index of the LDT window's first page.
pub(crate) const LDT_FIRST: usize = to_usize(LDT_WINDOW / PAGE_SIZE);

/// Writable, because the CPU sets descriptors' accessed bits.
const MAPPED: u64 = Flags::READ_WRITE.bits();

/// The L1 entries that map the area of CPU number `cpu`, which is mapped page by page.
pub(crate) fn entries(cpu: u32) -> &'static [AtomicU64; PAGES] {
    entries_in(paging::own_l4(), cpu).expect("the per-CPU area is mapped page by page")
}

/// The same of the tables behind the L4 at `root`, one of the hypervisor's that is never freed. `None` if nothing of the
/// area is mapped there.
pub(crate) fn entries_in(root: u64, cpu: u32) -> Option<&'static [AtomicU64; PAGES]> {
    let entry = l1_entry(root, area(cpu))?;
    // SAFETY: the area begins at a multiple of its own size, so its entries lie side by side in one L1 table, which is
    // in the direct map and never freed. From here on only the CPU itself changes those of its windows.
    Some(unsafe { &*entry.cast::<[AtomicU64; PAGES]>() })
}

/// What stands where a guest has no GDT frame: null descriptors, so that loading one of them gives the guest #GP and no
/// page fault at an address of the hypervisor's.
#[repr(align(4096))]
struct NoDescriptors([u8; to_usize(PAGE_SIZE)]);
static NO_DESCRIPTORS: NoDescriptors = NoDescriptors([0; to_usize(PAGE_SIZE)]);

/// The entry for an empty page of the window: nothing, or in the GDT's null descriptors.
fn empty(index: usize) -> u64 {
    if (GDT_FIRST..LDT_FIRST).contains(&index) {
        let address = NO_DESCRIPTORS.0.as_ptr().addr() as u64;
        image::physical(address) | Flags::READ.bits()
    } else {
        0
    }
}

/// Sets page `index` of this CPU's area and forgets the old translation. Where page tables are isolated, the guest's
/// tables get the same entry; they are loaded anew before the guest goes on.
pub(crate) fn set(index: usize, frame: Option<Mfn>) {
    // SAFETY: this CPU's own header.
    let (cpu, entries) = unsafe { ((*this_header()).cpu, (*this_header()).entry[window_word()]) };
    // SAFETY: the word was set by `trap::init_cpu` from `entries`.
    let entries = unsafe { &*(entries as *const [AtomicU64; PAGES]) };
    let value = frame.map_or_else(|| empty(index), |frame| frame.address() | MAPPED);
    let Some(entry) = entries.get(index) else {
        return;
    };
    // The CPU sets accessed and dirty bits only where they are missing, so the value is stable.
    if entry.load(Ordering::Relaxed) != value {
        entry.store(value, Ordering::Release);
        // SAFETY: as above.
        let isolated = unsafe { (*this_header()).entry[isolated_window_word()] };
        // SAFETY: null, or set by `isolation` from `entries_in`.
        let isolated = unsafe { (isolated as *const [AtomicU64; PAGES]).as_ref() };
        if let Some(entry) = isolated.and_then(|entries| entries.get(index)) {
            entry.store(value, Ordering::Release);
        }
        control::invlpg(area(cpu) + index as u64 * PAGE_SIZE);
    }
}

/// The L1 entry for an address of the hypervisor's range, unless a larger page or a hole is met before.
fn l1_entry(root: u64, address: u64) -> Option<*const AtomicU64> {
    let mut table = root;
    for level in (1..=4u32).rev() {
        let index = to_usize((address >> (12 + 9 * (level - 1))) & 511);
        let entry = (DIRECT_MAP_BASE + table + index as u64 * 8) as *const AtomicU64;
        if level == 1 {
            return Some(entry);
        }
        // SAFETY: page tables of the hypervisor are whole frames in the direct map, and never freed.
        let value = unsafe { (*entry).load(Ordering::Relaxed) };
        if value & Flags::PRESENT.bits() == 0 || (level < 4 && value & Flags::LARGE.bits() != 0) {
            return None;
        }
        table = value & ADDRESS;
    }
    None
}
