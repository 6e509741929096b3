//! What the physical address space holds: RAM, the hypervisor's part of it, devices.
//!
//! The frame table and the M2P are backed by memory only where there is RAM to describe.

use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use spin::Once;

use crate::boot::alloc;
use crate::boot::e820::{Kind, MAX_REGIONS, Ranges, Region, ram_pages};
use crate::layout::{
    DIRECT_MAP_SIZE, FRAME_COUNTS_BASE, FRAME_TYPES_BASE, LARGE_PAGE, M2P_BASE, M2P_RW_BASE,
    PAGE_SHIFT, PAGE_SIZE,
};
use crate::num::to_usize;
use crate::paging::{self, Flags, MapError};
use crate::speculation;

/// Bytes of a frame's two words in the frame table, which is two arrays.
const COUNT_WORD: u64 = 8;
const TYPE_WORD: u64 = 4;
/// Physical memory that is described in the frame table as a whole or not at all.
const TABLE_CHUNK: u64 = 512 << 20;
/// Physical memory that one 2 MiB page of the M2P describes.
const M2P_CHUNK: u64 = LARGE_PAGE / 8 * PAGE_SIZE;
/// Frames that the M2P's part of the address space has room for.
const MAX_FRAMES: u64 = 1 << 32;
const WORDS: usize = to_usize(MAX_FRAMES * PAGE_SIZE / TABLE_CHUNK / 64);

static MAP: Once<ArrayVec<Region, MAX_REGIONS>> = Once::new();
/// One more than the highest frame with an entry.
static MAX_FRAME: AtomicU64 = AtomicU64::new(0);
/// A bit for each chunk of the frame table that is there.
static CHUNKS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
/// A bit for each frame up to [`MAX_FRAME`] that is RAM and not the hypervisor's own.
static GUEST_RAM: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());

/// Remembers the sanitised memory map.
pub(crate) fn set_map(map: ArrayVec<Region, MAX_REGIONS>) {
    MAP.call_once(|| map);
}

/// The firmware's memory map: sorted, without overlaps.
pub fn map() -> &'static [Region] {
    MAP.get().map_or(&[], |map| map.as_slice())
}

/// Whether `start..end` has a byte of RAM.
pub fn overlaps_ram(start: u64, end: u64) -> bool {
    map()
        .iter()
        .any(|region| region.kind == Kind::Ram && region.start < end && start < region.end())
}

/// Bytes of RAM below the physical address `limit`, in whole pages.
pub fn ram_below(limit: u64) -> u64 {
    ram_pages(map())
        .iter()
        .map(|(start, end)| (*end).min(limit).saturating_sub(*start))
        .sum()
}

/// Makes the frame table (all zero), the M2P (all ones) and the map of guest RAM (nothing yet).
pub(crate) fn init() -> Result<(), MapError> {
    let ram = ram_pages(map());
    let end = ram
        .iter()
        .map(|range| range.1)
        .max()
        .unwrap_or(0)
        .min(MAX_FRAMES << PAGE_SHIFT)
        .min(DIRECT_MAP_SIZE);
    let described = |start: u64, size: u64| {
        start < end && ram.iter().any(|(a, b)| *a < start + size && start < *b)
    };
    // Chunks in a row share large pages of the table.
    let mut row = 0..0;
    for (chunk, start) in (0..end).step_by(to_usize(TABLE_CHUNK)).enumerate() {
        if !described(start, TABLE_CHUNK) {
            continue;
        }
        let first = start >> PAGE_SHIFT;
        if row.end != first {
            map_frame_table(&row)?;
            row = first..first;
        }
        row.end += TABLE_CHUNK >> PAGE_SHIFT;
        if let Some(word) = CHUNKS.get(chunk / 64) {
            word.fetch_or(1 << (chunk % 64), Ordering::AcqRel);
        }
    }
    map_frame_table(&row)?;
    for start in (0..end).step_by(to_usize(M2P_CHUNK)) {
        if described(start, M2P_CHUNK) {
            let phys = filled(LARGE_PAGE, u64::MAX)?;
            let offset = (start >> PAGE_SHIFT) * 8;
            paging::map(M2P_RW_BASE + offset, phys, LARGE_PAGE, Flags::READ_WRITE)?;
            paging::map(M2P_BASE + offset, phys, LARGE_PAGE, Flags::USER_READ)?;
        }
    }
    let bitmap = ((end >> PAGE_SHIFT).div_ceil(64) * 8)
        .next_multiple_of(PAGE_SIZE)
        .max(PAGE_SIZE);
    let phys = alloc::take(bitmap, PAGE_SIZE, u64::MAX).ok_or(MapError::NoMemory)?;
    let words = paging::direct(phys).ok_or(MapError::NoMemory)?;
    // SAFETY: taken for this alone, and mapped.
    unsafe { words.write_bytes(0, to_usize(bitmap)) }
    GUEST_RAM.store(words.cast(), Ordering::Release);
    MAX_FRAME.store(end >> PAGE_SHIFT, Ordering::Release);
    Ok(())
}

/// Makes the frame table of these frames, all zero.
fn map_frame_table(frames: &Range<u64>) -> Result<(), MapError> {
    for (base, word) in [
        (FRAME_COUNTS_BASE, COUNT_WORD),
        (FRAME_TYPES_BASE, TYPE_WORD),
    ] {
        let (mut at, end) = (frames.start * word, frames.end * word);
        while at < end {
            let whole = at.is_multiple_of(LARGE_PAGE) && end - at >= LARGE_PAGE;
            let size = if whole { LARGE_PAGE } else { PAGE_SIZE };
            paging::map(base + at, filled(size, 0)?, size, Flags::READ_WRITE)?;
            at += size;
        }
    }
    Ok(())
}

/// A page of memory of this size, every word `value`.
fn filled(size: u64, value: u64) -> Result<u64, MapError> {
    let phys = alloc::take(size, size, u64::MAX).ok_or(MapError::NoMemory)?;
    let words = paging::direct(phys)
        .ok_or(MapError::NoMemory)?
        .cast::<u64>();
    for i in 0..to_usize(size / 8) {
        // SAFETY: taken for this alone, mapped by the direct map, and inside it.
        unsafe { words.add(i).write_volatile(value) }
    }
    Ok(phys)
}

/// One more than the highest frame number that has an entry.
pub fn max_frame() -> u64 {
    MAX_FRAME.load(Ordering::Relaxed)
}

/// The words of a frame's frame-table entry: zero at boot, alive for ever.
#[inline]
pub fn frame_entry(mfn: u64) -> Option<(&'static AtomicU64, &'static AtomicU32)> {
    let end = MAX_FRAME.load(Ordering::Relaxed);
    if mfn >= end {
        return None;
    }
    let mfn = speculation::clamp(mfn, end);
    let chunk = to_usize(mfn / (TABLE_CHUNK / PAGE_SIZE));
    // The bound above is at most MAX_FRAMES, for which there are WORDS words: the remainder changes nothing.
    let present = CHUNKS[chunk / 64 % WORDS].load(Ordering::Relaxed) & 1 << (chunk % 64) != 0;
    if !present {
        return None;
    }
    let count = FRAME_COUNTS_BASE + mfn * COUNT_WORD;
    let types = FRAME_TYPES_BASE + mfn * TYPE_WORD;
    // SAFETY: the frame table is mapped there for ever, zeroed at boot, and used as these words alone.
    unsafe { Some((&*(count as *const AtomicU64), &*(types as *const AtomicU32))) }
}

fn guest_ram_word(mfn: u64) -> Option<(&'static AtomicU64, u64)> {
    let end = MAX_FRAME.load(Ordering::Acquire);
    if mfn >= end {
        return None;
    }
    let mfn = speculation::clamp(mfn, end);
    let words = GUEST_RAM.load(Ordering::Relaxed);
    // SAFETY: `init` made the map for all frames below MAX_FRAME before it set that.
    Some((unsafe { &*words.add(to_usize(mfn / 64)) }, 1 << (mfn % 64)))
}

/// Whether a frame is RAM that guests may have: not the image, heap, stacks, tables, or what the firmware keeps.
#[inline]
pub fn is_guest_ram(mfn: u64) -> bool {
    if mfn >= MAX_FRAME.load(Ordering::Acquire) {
        return false;
    }
    let words = GUEST_RAM.load(Ordering::Relaxed);
    // SAFETY: `init` made the map for all frames below MAX_FRAME before it set that.
    let word = unsafe { (*words.add(to_usize(mfn / 64))).load(Ordering::Relaxed) };
    word & 1 << (mfn % 64) != 0
}

/// Takes a frame out of the guests' RAM for a while; `false` if it was none.
pub(crate) fn claim_frame(mfn: u64) -> bool {
    guest_ram_word(mfn).is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
}

/// Puts a frame back that [`claim_frame`] took.
pub(crate) fn release_frame(mfn: u64) {
    if let Some((word, bit)) = guest_ram_word(mfn) {
        word.fetch_or(bit, Ordering::AcqRel);
    }
}

/// Marks the frames of `ranges` (bytes) as RAM that guests may have.
pub(crate) fn set_guest_ram(ranges: &Ranges) {
    for &(start, end) in ranges {
        for mfn in (start >> PAGE_SHIFT)..(end >> PAGE_SHIFT) {
            if let Some((word, bit)) = guest_ram_word(mfn) {
                word.fetch_or(bit, Ordering::AcqRel);
            }
        }
    }
}

/// Reads a frame's M2P entry; all ones for a frame that has none.
#[inline]
pub fn m2p(mfn: u64) -> u64 {
    m2p_slot(mfn).map_or(u64::MAX, |slot| slot.load(Ordering::Relaxed))
}

/// Writes a frame's M2P entry, if it has one.
#[inline]
pub fn set_m2p(mfn: u64, pfn: u64) {
    if let Some(slot) = m2p_slot(mfn) {
        slot.store(pfn, Ordering::Relaxed);
    }
}

#[inline]
fn m2p_slot(mfn: u64) -> Option<&'static AtomicU64> {
    frame_entry(mfn)?;
    let mfn = speculation::clamp(mfn, MAX_FRAME.load(Ordering::Relaxed));
    let slot = (M2P_RW_BASE + mfn * 8) as *const AtomicU64;
    // SAFETY: a frame with a frame-table entry has an M2P entry, for the M2P's pieces are four times as large. Guests
    // read the same words, so they are atomic.
    Some(unsafe { &*slot })
}

/// The first frame of 2 MiB piece number `piece` of the M2P table itself.
pub fn m2p_frame(piece: u64) -> Option<u64> {
    let offset = piece
        .checked_mul(LARGE_PAGE)
        .filter(|offset| *offset < MAX_FRAMES * 8)?;
    paging::translate(M2P_RW_BASE + offset).map(|phys| phys >> PAGE_SHIFT)
}

/// Whether a frame is part of the M2P table itself. Slow: it looks at each piece.
pub fn is_m2p(mfn: u64) -> bool {
    let pieces = max_frame().div_ceil(LARGE_PAGE / 8);
    let frames = LARGE_PAGE / PAGE_SIZE;
    (0..pieces)
        .filter_map(m2p_frame)
        .any(|first| (first..first + frames).contains(&mfn))
}
