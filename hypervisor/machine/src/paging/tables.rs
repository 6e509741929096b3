//! Making and changing the hypervisor's page tables.

use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use super::entry::ADDRESS;
use super::{Flags, MapError};
use crate::boot::alloc;
use crate::layout::{
    DIRECT_MAP_BASE, FIRST_SLOT, HUGE_PAGE, HYPERVISOR_END, HYPERVISOR_START, LARGE_PAGE,
    LAST_SLOT, M2P_BASE, PAGE_SIZE, SLOTS, l4_slot,
};
use crate::num::to_usize;

/// Page tables lie below 4 GiB, where the boot page tables reach them too.
const TABLE_LIMIT: u64 = 1 << 32;
/// Levels, from the leaf up: bytes that one entry maps.
const SPAN: [u64; 3] = [PAGE_SIZE, LARGE_PAGE, HUGE_PAGE];

/// Physical address of the hypervisor's own L4; 0 before [`init`].
static OWN_L4: AtomicU64 = AtomicU64::new(0);
/// Held while tables are changed.
static CHANGING: Mutex<()> = Mutex::new(());

/// A page table by its physical address.
#[derive(Clone, Copy)]
struct Table(u64);

impl Table {
    /// A new, empty one.
    fn new() -> Option<Self> {
        let phys =
            alloc::take(PAGE_SIZE, PAGE_SIZE, TABLE_LIMIT).or_else(crate::heap::table_frame)?;
        let table = Self(phys);
        for index in 0..512 {
            table.write(index, 0);
        }
        Some(table)
    }

    fn slot(self, index: usize) -> *mut u64 {
        ((DIRECT_MAP_BASE + self.0) as *mut u64).wrapping_add(index & 511)
    }

    fn read(self, index: usize) -> u64 {
        // SAFETY: a table is a whole frame that the direct map has; the index is below 512.
        unsafe { self.slot(index).read_volatile() }
    }

    fn write(self, index: usize, value: u64) {
        // SAFETY: as in `read`; the frame is ours and used for nothing else. What the entry maps is the caller's care.
        unsafe { self.slot(index).write_volatile(value) }
    }

    /// The table that entry `index` leads to, made if there is none.
    fn next(self, index: usize, flags: Flags, va: u64) -> Result<Self, MapError> {
        let entry = self.read(index);
        if entry & Flags::PRESENT.bits() == 0 {
            let table = Self::new().ok_or(MapError::NoMemory)?;
            self.write(index, table.0 | flags.bits());
            return Ok(table);
        }
        if entry & Flags::LARGE.bits() != 0 {
            return Err(MapError::InUse(va));
        }
        Ok(Self(entry & ADDRESS))
    }
}

fn index(va: u64, level: usize) -> usize {
    to_usize(va >> (12 + 9 * level)) & 511
}

/// Flags of the entries that lead to the leaf for `va`: only the guests' view of the M2P is for ring 3.
fn table_flags(va: u64) -> Flags {
    if l4_slot(va) == l4_slot(M2P_BASE) {
        Flags::TABLE.union(Flags::USER)
    } else {
        Flags::TABLE
    }
}

/// Makes an L4 with all sixteen L3 tables behind it. It is used from [`activate`] on.
pub(crate) fn init() -> Result<(), MapError> {
    let l4 = Table::new().ok_or(MapError::NoMemory)?;
    for slot in FIRST_SLOT..=LAST_SLOT {
        let l3 = Table::new().ok_or(MapError::NoMemory)?;
        let va = HYPERVISOR_START + ((slot - FIRST_SLOT) as u64) * (HUGE_PAGE << 9);
        l4.write(slot, l3.0 | table_flags(va).bits());
    }
    OWN_L4.store(l4.0, Ordering::Release);
    Ok(())
}

/// Physical address of the hypervisor's own L4.
pub(crate) fn own_l4() -> u64 {
    OWN_L4.load(Ordering::Acquire)
}

/// The entries of slots 256 to 271, which never change: what every guest's L4 has there.
pub(crate) fn l4_entries() -> [u64; SLOTS] {
    let l4 = Table(own_l4());
    core::array::from_fn(|i| l4.read(FIRST_SLOT + i))
}

/// Loads the hypervisor's own page tables on this CPU.
///
/// # Safety
/// The running code, its stack and all that it goes on to use are mapped there as they are now.
pub(crate) unsafe fn activate() {
    // SAFETY: the L4 is complete, and the caller vouches for what runs.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) own_l4(), options(nostack, preserves_flags)) }
}

/// Maps `size` bytes at `va` to `phys` (all multiples of 4 KiB), with pages as large as the alignment of both and the
/// CPU allow. Nothing may be mapped there yet.
pub(crate) fn map(va: u64, phys: u64, size: u64, flags: Flags) -> Result<(), MapError> {
    map_in(own_l4(), va, phys, size, flags)
}

/// An L4 without any entry; its physical address.
pub(crate) fn new_root() -> Result<u64, MapError> {
    Table::new().map(|table| table.0).ok_or(MapError::NoMemory)
}

/// Copies the entry of one of the hypervisor's slots from one L4 to another, which then has what is mapped there now
/// and later.
pub(crate) fn share_slot(from: u64, to: u64, slot: usize) {
    if (FIRST_SLOT..=LAST_SLOT).contains(&slot) {
        Table(to).write(slot, Table(from).read(slot));
    }
}

/// Calls `found` with the address, size and entry of each page that the L4 at `root` maps in slots `from` to
/// [`LAST_SLOT`].
pub(crate) fn visit(root: u64, from: usize, found: &mut dyn FnMut(u64, u64, u64)) {
    let start = HYPERVISOR_START + ((from - FIRST_SLOT) as u64) * (HUGE_PAGE << 9);
    let mut va = start;
    while va < HYPERVISOR_END {
        let mut table = Table(root);
        for level in (0..=3).rev() {
            let entry = table.read(index(va, level));
            let span = SPAN.get(level).copied().unwrap_or(HUGE_PAGE << 9);
            let leaf = level == 0 || (level < 3 && entry & Flags::LARGE.bits() != 0);
            let present = entry & Flags::PRESENT.bits() != 0;
            if present && !leaf {
                table = Table(entry & ADDRESS);
                continue;
            }
            if present {
                found(va, span, entry);
            }
            va = (va & !(span - 1)) + span;
            break;
        }
    }
}

/// As [`map`], in the tables behind the L4 at `root`, which must not be shared with another root there.
pub(crate) fn map_in(
    root: u64,
    va: u64,
    phys: u64,
    size: u64,
    flags: Flags,
) -> Result<(), MapError> {
    let end = va.checked_add(size).ok_or(MapError::Range)?;
    if va < HYPERVISOR_START || end > HYPERVISOR_END || (va | phys | size) & (PAGE_SIZE - 1) != 0 {
        return Err(MapError::Range);
    }
    let top = if crate::cpu::has_huge_pages() { 2 } else { 1 };
    let _held = CHANGING.lock();
    let mut done = 0;
    while done < size {
        let fits = |level: &usize| {
            let span = SPAN.get(*level).copied().unwrap_or(PAGE_SIZE);
            (va + done) & (span - 1) == 0 && (phys + done) & (span - 1) == 0 && size - done >= span
        };
        let level = (0..=top).rev().find(fits).unwrap_or(0);
        let large = if level > 0 {
            Flags::LARGE
        } else {
            Flags::empty()
        };
        leaf(
            root,
            va + done,
            level,
            (phys + done) | (flags | large).bits(),
        )?;
        done += SPAN.get(level).copied().unwrap_or(PAGE_SIZE);
    }
    Ok(())
}

/// The table at `level` that has the entry for `va`.
fn table_of(root: u64, va: u64, level: usize) -> Result<Table, MapError> {
    let flags = table_flags(va);
    let mut table = Table(root);
    for at in (level + 1..=3).rev() {
        table = table.next(index(va, at), flags, va)?;
    }
    Ok(table)
}

/// Writes the leaf for `va` at `level` (0 to 2), where there must be none.
fn leaf(root: u64, va: u64, level: usize, value: u64) -> Result<(), MapError> {
    let table = table_of(root, va, level)?;
    let slot = index(va, level);
    if table.read(slot) & Flags::PRESENT.bits() != 0 {
        return Err(MapError::InUse(va));
    }
    table.write(slot, value);
    Ok(())
}

/// The physical address that `va` is mapped to.
pub(crate) fn translate(va: u64) -> Option<u64> {
    let mut table = Table(own_l4());
    for level in (0..=3).rev() {
        let entry = table.read(index(va, level));
        if entry & Flags::PRESENT.bits() == 0 {
            return None;
        }
        if level == 0 || (level < 3 && entry & Flags::LARGE.bits() != 0) {
            let span = SPAN.get(level).copied()?;
            return Some((entry & ADDRESS & !(span - 1)) | (va & (span - 1)));
        }
        table = Table(entry & ADDRESS);
    }
    None
}
