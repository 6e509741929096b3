//! Guests' frames and page tables, through the direct map.
//!
//! What keeps this safe: only frames that [`memory::is_guest_ram`] knows are touched, and no entry may lead to another
//! kind of RAM. Guests change the same words at any time, so they are seen as atomics only.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use oxen_core::Mfn;
use oxen_core::mm::frame::Frame;

use crate::boot::e820::ram_pages;
use crate::layout::{
    DIRECT_MAP_BASE, FIRST_SLOT, LAST_SLOT, M2P_BASE, PAGE_SHIFT, PAGE_SIZE, l4_slot,
};
use crate::num::to_usize;
use crate::paging::{self, Flags, entry::ADDRESS};
use crate::{apic, cpu, hpet, isolation, memory};

/// Where memory begins that guests are given: 1 MiB.
const LOW_MEMORY: u64 = 1 << 20;

const WORDS: usize = to_usize(PAGE_SIZE / 8);

/// The frame-table entry of a frame.
#[inline]
pub(crate) fn entry(mfn: Mfn) -> Option<Frame> {
    let (count, types) = memory::frame_entry(mfn.0)?;
    Some(Frame::new(count, types))
}

/// Marks frames that have an entry but are not RAM: devices and firmware. Called once, before `core` looks at any.
pub(crate) fn mark_devices() {
    let last = memory::max_frame();
    // Below 1 MiB everything is the firmware's, whatever the map calls it: dom0 looks for tables there.
    let mut next = LOW_MEMORY >> PAGE_SHIFT;
    (0..next).for_each(mark_device);
    for (start, end) in ram_pages(memory::map()) {
        (next..(start >> PAGE_SHIFT).min(last)).for_each(mark_device);
        next = next.max(end >> PAGE_SHIFT);
    }
    (next..last).for_each(mark_device);
}

fn mark_device(mfn: u64) {
    if let Some(frame) = entry(Mfn(mfn)) {
        frame.mark_io();
    }
}

/// The address of a guest's frame in the direct map.
#[inline]
fn base(mfn: Mfn) -> Option<*mut u8> {
    // Frames that are described lie within the direct map: `memory::init` stops at its end.
    memory::is_guest_ram(mfn.0).then(|| (DIRECT_MAP_BASE + mfn.address()) as *mut u8)
}

/// A guest's frame as words.
#[inline]
pub(crate) fn page(mfn: Mfn) -> Option<&'static [AtomicU64; WORDS]> {
    // SAFETY: RAM that the hypervisor uses for nothing else, mapped by the direct map for ever, and page-aligned.
    base(mfn).map(|base| unsafe { &*base.cast::<[AtomicU64; WORDS]>() })
}

/// A guest's frame as half words.
#[inline]
pub(crate) fn page32(mfn: Mfn) -> Option<&'static [AtomicU32; 2 * WORDS]> {
    // SAFETY: as in `page`.
    base(mfn).map(|base| unsafe { &*base.cast::<[AtomicU32; 2 * WORDS]>() })
}

/// Writes one byte of a word.
#[inline]
pub(crate) fn store_byte(word: &AtomicU64, byte: usize, value: u8) {
    let bytes = core::ptr::from_ref(word).cast::<[AtomicU8; 8]>();
    // SAFETY: the word has eight bytes, each of which may be looked at as an atomic of its own.
    let bytes = unsafe { &*bytes };
    bytes[byte % 8].store(value, Ordering::Release);
}

fn page8(mfn: Mfn) -> Option<&'static [AtomicU8; 8 * WORDS]> {
    // SAFETY: as in `page`.
    base(mfn).map(|base| unsafe { &*base.cast::<[AtomicU8; 8 * WORDS]>() })
}

fn part(mfn: Mfn, offset: usize, length: usize) -> Option<&'static [AtomicU8]> {
    page8(mfn)?.get(offset..offset.checked_add(length)?)
}

/// Reads bytes of a frame.
pub(crate) fn read(mfn: Mfn, offset: usize, bytes: &mut [u8]) -> bool {
    let Some(source) = part(mfn, offset, bytes.len()) else {
        return false;
    };
    // SAFETY: both sides have this length. A guest may write meanwhile: the string copy takes each byte once, as it
    // then is, and no reference to the guest's bytes is made.
    unsafe { copy(bytes.as_mut_ptr(), source.as_ptr().cast(), bytes.len()) }
    true
}

/// Writes bytes of a frame.
pub(crate) fn write(mfn: Mfn, offset: usize, bytes: &[u8]) -> bool {
    let Some(target) = part(mfn, offset, bytes.len()) else {
        return false;
    };
    // SAFETY: as in `read`.
    unsafe {
        copy(
            target.as_ptr().cast_mut().cast(),
            bytes.as_ptr(),
            bytes.len(),
        )
    }
    true
}

/// Copies bytes from one frame to another, or within one.
pub(crate) fn copy_bytes(to: Mfn, to_at: usize, from: Mfn, from_at: usize, count: usize) -> bool {
    let (Some(target), Some(source)) = (part(to, to_at, count), part(from, from_at, count)) else {
        return false;
    };
    // SAFETY: as in `read`.
    unsafe {
        copy(
            target.as_ptr().cast_mut().cast(),
            source.as_ptr().cast(),
            count,
        )
    }
    true
}

/// Writes back and invalidates the cache lines that bytes of a frame are in.
pub(crate) fn flush_lines(mfn: Mfn, offset: usize, length: usize) {
    /// Of every x86-64 processor.
    const LINE: usize = 64;
    let Some(bytes) = part(mfn, offset, length) else {
        return;
    };
    let lines = bytes.chunks(LINE).filter_map(<[_]>::first);
    for byte in lines.chain(bytes.last()) {
        // SAFETY: the byte is mapped; flushing its line changes no memory.
        unsafe {
            core::arch::asm!("clflush [{}]", in(reg) byte, options(nostack, preserves_flags));
        }
    }
}

/// Copies without the compiler seeing the memory.
///
/// # Safety
/// Both sides are mapped for `count` bytes.
unsafe fn copy(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: by the caller's promise; the direction flag is clear in Rust code.
    unsafe {
        core::arch::asm!("rep movsq", "mov ecx, {rest:e}", "rep movsb", rest = in(reg) count % 8,
                         inout("rcx") count / 8 => _, inout("rdi") to => _, inout("rsi") from => _,
                         options(nostack, preserves_flags));
    }
}

/// Fills a frame with zeros.
pub(crate) fn zero(mfn: Mfn) {
    if let Some(base) = base(mfn) {
        // SAFETY: a guest's frame, as in `page`.
        unsafe {
            core::arch::asm!("rep stosq", inout("rcx") WORDS => _, inout("rdi") base => _, in("rax") 0u64,
                             options(nostack, preserves_flags));
        }
    }
}

/// Copies a frame.
pub(crate) fn copy_page(to: Mfn, from: Mfn) {
    if let (Some(to), Some(from)) = (base(to), base(from)) {
        // SAFETY: guests' frames, as in `page`.
        unsafe {
            core::arch::asm!("rep movsq", inout("rcx") WORDS => _, inout("rdi") to => _, inout("rsi") from => _,
                             options(nostack, preserves_flags));
        }
    }
}

/// Lets `fill` work on frames that nobody owns as plain bytes. They are no guests' RAM as long as it does, so that no
/// other access reaches them.
pub(crate) fn with_unowned(first: Mfn, count: u64, fill: &mut dyn FnMut(&mut [u8])) -> bool {
    let Some(end) = first
        .0
        .checked_add(count)
        .filter(|end| *end <= memory::max_frame())
    else {
        return false;
    };
    let taken = (first.0..end)
        .take_while(|mfn| {
            entry(Mfn(*mfn)).is_some_and(|frame| frame.count().count() == 0)
                && memory::claim_frame(*mfn)
        })
        .count() as u64;
    let base = if taken == count {
        paging::direct(first.address())
    } else {
        None
    };
    if let Some(base) = base {
        // SAFETY: RAM, mapped by the direct map in one piece. This call has claimed every frame of it, so nothing else
        // makes a reference into it; nobody owns it, so nobody has kept one.
        fill(unsafe { core::slice::from_raw_parts_mut(base, to_usize(count * PAGE_SIZE)) });
    }
    (first.0..first.0 + taken).for_each(memory::release_frame);
    base.is_some()
}

/// Whether a present entry may lead to a frame: a guest's RAM, the read-only M2P, or a device that is nobody's own.
#[inline]
fn may_map(value: u64) -> bool {
    if value & Flags::PRESENT.bits() == 0 {
        return true;
    }
    memory::is_guest_ram((value & ADDRESS) >> PAGE_SHIFT) || may_map_other(value)
}

/// The same of an entry that does not lead to a guest's RAM.
#[cold]
fn may_map_other(value: u64) -> bool {
    let mfn = (value & ADDRESS) >> PAGE_SHIFT;
    is_mappable_io(Mfn(mfn)) || (value & Flags::WRITE.bits() == 0 && memory::is_m2p(mfn))
}

/// The entry that may be written with `value`.
fn writable_entry(table: Mfn, index: usize, level: u8, value: u64) -> Option<&'static AtomicU64> {
    if level == 4 && (FIRST_SLOT..=LAST_SLOT).contains(&index) {
        return None;
    }
    let slot = page(table)?.get(index)?;
    may_map(value).then_some(slot)
}

/// Writes a page-table entry.
pub(crate) fn install(table: Mfn, index: usize, level: u8, value: u64) -> bool {
    match writable_entry(table, index, level, value) {
        Some(slot) => {
            slot.store(value, Ordering::Release);
            true
        }
        None => false,
    }
}

/// Exchanges a page-table entry if it is `old`. A refused value leaves it alone and returns what is there.
pub(crate) fn exchange(table: Mfn, index: usize, level: u8, old: u64, new: u64) -> Result<(), u64> {
    match writable_entry(table, index, level, new) {
        Some(slot) => {
            slot.compare_exchange(old, new, Ordering::SeqCst, Ordering::Acquire)?;
            if level == 4 {
                root_changed(table);
            }
            Ok(())
        }
        None => Err(page(table)
            .and_then(|page| page.get(index))
            .map_or(0, |slot| slot.load(Ordering::Acquire))),
    }
}

/// Entries of an L4 table were changed: CPUs that run a guest with a copy of them get the new ones.
pub(crate) fn root_changed(l4: Mfn) {
    if isolation::is_on() {
        isolation::changed(l4.address());
    }
}

/// The same for an entry of an L1 table, of which the caller has the word.
#[inline]
pub(crate) fn exchange_leaf(slot: &AtomicU64, old: u64, new: u64) -> Result<(), u64> {
    if !may_map(new) {
        return Err(slot.load(Ordering::Acquire));
    }
    slot.compare_exchange(old, new, Ordering::SeqCst, Ordering::Acquire)
        .map(|_| ())
}

/// Puts the hypervisor's slots into a guest's L4.
pub(crate) fn fill_hypervisor_slots(l4: Mfn) {
    let Some(page) = page(l4) else { return };
    for (slot, entry) in page.iter().skip(FIRST_SLOT).zip(paging::l4_entries()) {
        slot.store(entry, Ordering::Release);
    }
}

/// Puts the machine-to-physical table's slot into a guest's L4, or takes it out.
pub(crate) fn show_m2p(l4: Mfn, shown: bool) {
    let index = l4_slot(M2P_BASE);
    let own = paging::l4_entries();
    let slot = page(l4).and_then(|page| page.get(index));
    if let (Some(slot), Some(entry)) = (slot, own.get(index - FIRST_SLOT)) {
        slot.store(if shown { *entry } else { 0 }, Ordering::Release);
    }
}

/// Loads CR3; `None` is the hypervisor's own table.
pub(crate) fn load_cr3(l4: Option<Mfn>) {
    let root = match l4 {
        Some(mfn) if memory::is_guest_ram(mfn.0) => mfn.address(),
        _ => paging::own_l4(),
    };
    if isolation::is_on() {
        isolation::set_source(root);
    }
    // SAFETY: the hypervisor's part is the same in all L4 tables: `core` loads frames that it has validated as such,
    // which includes `fill_hypervisor_slots`.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
}

/// Whether a frame is device memory that dom0 may map. A page that is RAM only in part counts as the firmware's.
pub(crate) fn is_mappable_io(mfn: Mfn) -> bool {
    const LAPIC: u64 = 0xfee00;
    if mfn.0 >> (cpu::physical_address_bits() - PAGE_SHIFT) != 0 {
        return false;
    }
    let ram = match entry(mfn) {
        Some(frame) => !frame.is_io(),
        None => {
            let start = mfn.0 << PAGE_SHIFT;
            memory::overlaps_ram(start, start + PAGE_SIZE)
        }
    };
    !ram && mfn.0 != LAPIC && !apic::ioapic::owns_frame(mfn.0)
}

/// Whether dom0 may only read such a frame.
pub(crate) fn is_read_only_io(mfn: Mfn) -> bool {
    hpet::owns_frame(mfn.0)
}
