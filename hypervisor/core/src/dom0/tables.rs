//! Page tables of a region whose pages follow each other in pseudo-physical memory.
//!
//! The tables themselves lie in a row too: those of level 3 first, then 2, then 1. The contents
//! of each follow from its number, so nothing has to be looked up while they are written.

use oxen_abi::arch_x86::{PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER};

use crate::types::{Mfn, PAGE_SHIFT};

/// The bits of a virtual address that are translated.
const TRANSLATED: u64 = (1 << 48) - 1;
/// Flags of entries that point to tables.
const TABLE_FLAGS: u64 = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;
/// Flags of entries that map pages.
const PAGE_FLAGS: u64 = PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

/// A contiguous mapping and where its tables are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    /// First virtual address, translated bits only.
    start: u64,
    /// Last virtual address.
    last: u64,
    /// Pseudo-physical frame that the first page shows.
    first_frame: u64,
    /// Pseudo-physical frame of the first table.
    first_table: u64,
}

/// One table of a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    /// 1 to 3.
    pub(crate) level: u8,
    /// Which one of that level, from 0.
    index: u64,
    /// The pseudo-physical frame it lies in.
    pub(crate) frame: u64,
}

/// Bits that a table of this level translates, and those below.
const fn span(level: u8) -> u32 {
    PAGE_SHIFT + 9 * level as u32
}

impl Region {
    /// The pages from `start` up to `end` (which may be 0 for the end of the address space).
    pub(crate) const fn new(start: u64, end: u64, first_frame: u64, first_table: u64) -> Self {
        let (start, last) = (start & TRANSLATED, end.wrapping_sub(1) & TRANSLATED);
        Self {
            start,
            last,
            first_frame,
            first_table,
        }
    }

    /// How many tables of a level it takes.
    const fn count(&self, level: u8) -> u64 {
        (self.last >> span(level)) - (self.start >> span(level)) + 1
    }

    /// How many tables it takes, without the L4.
    pub(crate) const fn tables(&self) -> u64 {
        self.count(1) + self.count(2) + self.count(3)
    }

    /// The frame of a table.
    const fn table_frame(&self, level: u8, index: u64) -> u64 {
        let before = match level {
            3 => 0,
            2 => self.count(3),
            _ => self.count(3) + self.count(2),
        };
        self.first_table + before + index
    }

    /// All its tables.
    pub(crate) fn each(&self) -> impl Iterator<Item = Table> + '_ {
        [3u8, 2, 1].into_iter().flat_map(move |level| {
            (0..self.count(level)).map(move |index| Table {
                level,
                index,
                frame: self.table_frame(level, index),
            })
        })
    }

    /// Its entries of the L4: slot and value.
    pub(crate) fn l4_entries(
        &self,
        frame: impl Fn(u64) -> Mfn,
    ) -> impl Iterator<Item = (usize, u64)> {
        let first = self.start >> span(3);
        (0..self.count(3)).map(move |index| {
            let slot = ((first + index) & 511) as usize;
            (
                slot,
                frame(self.table_frame(3, index)).address() | TABLE_FLAGS,
            )
        })
    }

    /// The contents of a table. `frame` gives the machine frame of a pseudo-physical one, and
    /// `read_only` says which of them may not be mapped writable (the tables themselves).
    pub(crate) fn entries(
        &self,
        table: Table,
        frame: impl Fn(u64) -> Mfn,
        read_only: impl Fn(u64) -> bool,
    ) -> [u64; 512] {
        let mut entries = [0; 512];
        let unit = span(table.level - 1);
        let first = ((self.start >> span(table.level)) + table.index) << 9;
        for (number, entry) in (first..).zip(&mut entries) {
            if number < self.start >> unit || number > self.last >> unit {
                continue;
            }
            let place = number - (self.start >> unit);
            *entry = if table.level > 1 {
                frame(self.table_frame(table.level - 1, place)).address() | TABLE_FLAGS
            } else {
                let shown = self.first_frame + place;
                let write = if read_only(shown) { 0 } else { PTE_RW };
                frame(shown).address() | PAGE_FLAGS | write
            };
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxen_abi::arch_x86::PTE_ADDR_MASK;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Translates by walking the tables: the pseudo-physical frame and whether it is writable.
    fn walk(region: &Region, address: u64) -> Option<(u64, bool)> {
        let machine = |frame: u64| Mfn(frame + 1000);
        let tables: BTreeMap<u64, Table> = region.each().map(|t| (t.frame, t)).collect();
        let slot = |level: u8| ((address >> span(level - 1)) & 511) as usize;
        let (_, mut entry) = region.l4_entries(machine).find(|(at, _)| *at == slot(4))?;
        for level in [3, 2, 1] {
            let table = tables[&(((entry & PTE_ADDR_MASK) >> PAGE_SHIFT) - 1000)];
            assert_eq!(table.level, level);
            entry = region.entries(table, machine, |frame| frame % 7 == 0)[slot(level)];
            if entry & PTE_PRESENT == 0 {
                return None;
            }
        }
        Some((
            ((entry & PTE_ADDR_MASK) >> PAGE_SHIFT) - 1000,
            entry & PTE_RW != 0,
        ))
    }

    proptest! {
        #[test]
        fn maps_each_page_once(first in 0u64..1 << 21, pages in 1u64..3000, top: bool) {
            let base = if top { 0xffff_ffff_8000_0000 } else { 0x7f_ff00_0000 };
            let start = base + ((first % (1 << 17)) << PAGE_SHIFT);
            let region = Region::new(start, start + (pages << PAGE_SHIFT), 50, 5000);
            prop_assert_eq!(region.each().count() as u64, region.tables());
            for page in [0, pages / 2, pages - 1] {
                let frame = 50 + page;
                prop_assert_eq!(walk(&region, start + (page << PAGE_SHIFT)), Some((frame, frame % 7 != 0)));
            }
            prop_assert_eq!(walk(&region, start - 4096), None);
            prop_assert_eq!(walk(&region, start + (pages << PAGE_SHIFT)), None);
        }
    }
}
