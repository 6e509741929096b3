//! The contents of the first page tables.

use oxen_abi::arch_x86::{PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER};

use crate::PAGE_SIZE;
use crate::layout::{Area, Layout, tables_at};

/// One page table, as it is in memory.
pub(crate) type Table = [u64; 512];

/// Entries of L4, L3 and L2 tables. User, for the hypervisor requires it of a 64-bit kernel's tables.
const TABLE: u64 = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;
/// Entries of L1 tables; the hypervisor adds what it needs.
const PAGE: u64 = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY;
/// Entries of L1 tables that map page tables: read-only.
const READ_ONLY: u64 = PTE_PRESENT | PTE_ACCESSED;

/// The page tables with their PFNs, L4 first. `mfn_of` gives the machine frame of a PFN.
pub(crate) fn build(layout: &Layout, mfn_of: impl Fn(u64) -> u64) -> Vec<(u64, Box<Table>)> {
    let mut l4 = Box::new([0; 512]);
    let mut tables = Vec::new();
    for area in [Some(layout.region), layout.p2m_area].into_iter().flatten() {
        area_tables(layout, &area, &mfn_of, &mut l4, &mut tables);
    }
    tables.insert(0, (layout.l4, l4));
    tables
}

/// The tables of one area, and their entries in the L4.
fn area_tables(
    layout: &Layout,
    area: &Area,
    mfn_of: &impl Fn(u64) -> u64,
    l4: &mut Table,
    tables: &mut Vec<(u64, Box<Table>)>,
) {
    let mut pfn = area.tables.pfn;
    // The levels above the L1: each table of a level is the target of one entry in the level above.
    let mut above = Level {
        shift: 39,
        first: 0,
    };
    for shift in [39, 30, 21] {
        let count = tables_at(area.start, area.frames.count, shift);
        let first = tables.len();
        for index in 0..count {
            // The entry is number `slot` of the level above, counted from address 0.
            let slot = (area.start >> shift) + index;
            let entry = entry(mfn_of(pfn), TABLE);
            if shift == 39 {
                set(l4, slot, entry);
            } else {
                let table = (slot >> 9) - (area.start >> above.shift);
                let at = above.first.saturating_add(to_index(table));
                if let Some((_, table)) = tables.get_mut(at) {
                    set(table, slot, entry);
                }
            }
            tables.push((pfn, Box::new([0; 512])));
            pfn += 1;
        }
        above = Level { shift, first };
    }
    for index in 0..area.frames.count {
        let target = area.frames.pfn + index;
        let flags = if layout.is_table(target) {
            READ_ONLY
        } else {
            PAGE
        };
        let slot = area.start / PAGE_SIZE + index;
        let table = (slot >> 9) - (area.start >> 21);
        if let Some((_, table)) = tables.get_mut(above.first.saturating_add(to_index(table))) {
            set(table, slot, entry(mfn_of(target), flags));
        }
    }
}

/// Where a level's tables are in the list, and how much one of them covers.
struct Level {
    shift: u32,
    first: usize,
}

fn entry(mfn: u64, flags: u64) -> u64 {
    (mfn << 12) | flags
}

fn set(table: &mut Table, slot: u64, entry: u64) {
    if let Some(e) = table.get_mut(to_index(slot & 511)) {
        *e = entry;
    }
}

/// Table counts are below the number of a domain's pages, which fits.
fn to_index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
