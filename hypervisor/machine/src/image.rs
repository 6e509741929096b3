//! Where the parts of the hypervisor's own image lie (boot/oxen.ld).

use core::ops::Range;

use crate::layout::{IMAGE_BASE, IMAGE_PHYS};

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __image_end: u8;
    static __entry_stubs_start: u8;
    static __entry_text_start: u8;
    static __entry_text_end: u8;
    static __entry_data_start: u8;
    static __entry_data_end: u8;
}

fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

/// Machine code.
pub(crate) fn text() -> Range<u64> {
    address(&raw const __text_start)..address(&raw const __text_end)
}

/// Constants.
pub(crate) fn rodata() -> Range<u64> {
    address(&raw const __rodata_start)..address(&raw const __rodata_end)
}

/// Variables.
pub(crate) fn data() -> Range<u64> {
    address(&raw const __data_start)..address(&raw const __image_end)
}

/// The page of entry stubs, which every CPU has at the bottom of its stack block too.
pub(crate) fn entry_stubs() -> u64 {
    address(&raw const __entry_stubs_start)
}

/// The entry code proper: whole pages.
pub(crate) fn entry_text() -> Range<u64> {
    address(&raw const __entry_text_start)..address(&raw const __entry_text_end)
}

/// What the entry code reads before it has changed to the hypervisor's page tables: whole pages.
pub(crate) fn entry_data() -> Range<u64> {
    address(&raw const __entry_data_start)..address(&raw const __entry_data_end)
}

/// Physical address of something in the image.
pub(crate) const fn physical(va: u64) -> u64 {
    va - IMAGE_BASE + IMAGE_PHYS
}

/// The physical memory that the image occupies, its boot section included.
pub(crate) fn physical_range() -> Range<u64> {
    IMAGE_PHYS..physical(data().end)
}
