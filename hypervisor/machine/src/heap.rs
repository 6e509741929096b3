//! The byte heap behind `alloc`: one talc arena, given memory at boot and more when `core` finds some.
//!
//! All of `core` runs with interrupts off, so a plain spin lock serves; NMI and #MC handlers do not allocate.

use core::alloc::Layout;

use spin::Mutex;
use talc::TalcLock;
use talc::source::Manual;

use crate::boot::alloc;
use crate::layout::{DIRECT_MAP_BASE, LARGE_PAGE, PAGE_SIZE};
use crate::num::to_usize;
use crate::paging;

/// What the heap has at the start.
pub const INITIAL: u64 = 16 << 20;

#[global_allocator]
static HEAP: TalcLock<Mutex<()>, Manual> = TalcLock::new(Manual);

/// Gives the heap its first memory. False if there is not so much.
pub(crate) fn init() -> bool {
    let Some(phys) = alloc::take(INITIAL, LARGE_PAGE, u64::MAX) else {
        return false;
    };
    add(phys, INITIAL)
}

/// Adds `size` bytes of physical memory at `phys`, for ever.
fn add(phys: u64, size: u64) -> bool {
    let Some(base) = paging::direct(phys) else {
        return false;
    };
    // SAFETY: the memory was taken from the boot allocator for this alone, and the direct map has it read-write.
    unsafe { HEAP.lock().claim(base, to_usize(size)) }.is_some()
}

/// A frame for a page table when the boot allocator is no more. Returns its physical address.
pub(crate) fn table_frame() -> Option<u64> {
    let layout = Layout::from_size_align(to_usize(PAGE_SIZE), to_usize(PAGE_SIZE)).ok()?;
    // SAFETY: the layout's size is not zero.
    let va = unsafe { ::alloc::alloc::alloc(layout) } as u64;
    (va >= DIRECT_MAP_BASE).then(|| paging::undirect(va))
}
