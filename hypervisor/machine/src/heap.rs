//! The byte heap behind `alloc`: one talc arena, given memory at boot and more from frames that `core` keeps ready when
//! it is used up. A block that it was given later and that is not in use at all any more goes back there.
//!
//! All of `core` runs with interrupts off, so a plain spin lock serves; NMI and #MC handlers do not allocate.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use oxen_core::mm::growth;
use oxen_core::{CpuId, Mfn};
use spin::Mutex;
use talc::DefaultBinning;
use talc::base::{Talc, binning::Binning};
use talc::source::Source;

use crate::boot::alloc;
use crate::layout::{DIRECT_MAP_BASE, LARGE_PAGE, PAGE_SHIFT, PAGE_SIZE};
use crate::num::to_usize;
use crate::percpu::this_cpu;
use crate::{boot, memory, paging};

/// What the heap has at the start: enough until `core` gives it more, with [`FEW_CPUS`].
const INITIAL: u64 = 1 << 20;
/// With more CPUs than these it gets so many bytes for each one.
const FEW_CPUS: u32 = 8;
const FOR_CPU: u64 = 32 << 10;
/// The heap lies below 4 GiB: it is made before the boot options say how much memory is to be used.
const LIMIT: u64 = 1 << 32;

#[global_allocator]
static HEAP: Heap = Heap(Mutex::new(Talc::new(Frames { kept: 0 })));

/// The arena. While one CPU uses up the last memory for what must not fail, no other gets any.
struct Heap(Mutex<Talc<Frames, DefaultBinning>>);

// SAFETY: the arena's memory is its own, and what it hands out meets the layout.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut arena = self.0.lock();
        if is_refused() {
            return null_mut();
        }
        // SAFETY: the caller's promise, that the size is not zero, is the same.
        unsafe { arena.allocate(layout) }.map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, that `alloc` gave this memory with this layout, is the same.
        unsafe { self.0.lock().deallocate(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        {
            let mut arena = self.0.lock();
            let may_grow = size <= layout.size() || !is_refused();
            // SAFETY: as for `dealloc`, and the new size is not zero.
            if may_grow && unsafe { arena.try_realloc_in_place(memory, layout, size) } {
                return memory;
            }
        }
        // SAFETY: the caller promises that the new size makes a layout, and is not zero.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: two allocations, of these sizes at least.
            unsafe { moved.copy_from_nonoverlapping(memory, size.min(layout.size())) }
            // SAFETY: nobody uses the old one any more.
            unsafe { self.dealloc(memory, layout) }
        }
        moved
    }
}

/// Whether another CPU alone gets memory now.
fn is_refused() -> bool {
    boot::hypervisor().is_some_and(|hv| growth::refuses(hv, this_core_cpu))
}

/// `core`'s number of the CPU that executes this.
fn this_core_cpu() -> CpuId {
    CpuId(u16::try_from(this_cpu().cpu).unwrap_or(u16::MAX))
}

/// Where the heap gets more memory from, and gives it back to.
#[derive(Debug)]
struct Frames {
    /// Where memory of the boot allocator's begins, which stays; 0 = there is none.
    kept: u64,
}

// SAFETY: `core` finds the frames by the frame table alone; it allocates no bytes for it. A heap within the arena is
// given up as a whole or stays as it is.
unsafe impl Source for Frames {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let hv = boot::hypervisor().ok_or(())?;
        let bytes = layout.size().checked_add(layout.align()).ok_or(())? as u64 + PAGE_SIZE;
        let order = bytes
            .div_ceil(PAGE_SIZE)
            .next_power_of_two()
            .trailing_zeros();
        let order = u8::try_from(order).map_err(|_| ())?;
        let (first, order) = growth::take(hv, this_core_cpu(), order).ok_or(())?;
        let count = 1u64 << order;
        for mfn in first.0..first.0 + count {
            memory::claim_frame(mfn);
        }
        let base = paging::direct(first.0 << PAGE_SHIFT).ok_or(())?;
        // SAFETY: `core` gave the frames away, and nobody can reach them by a mapping, or by one that was, from now on.
        unsafe { talc.claim(base, to_usize(count << PAGE_SHIFT)) }
            .map(|_| ())
            .ok_or(())
    }

    const TRACK_HEAP_END: bool = true;

    unsafe fn resize(&mut self, unused: *mut u8, end: *mut u8, whole: bool) -> *mut u8 {
        // The arena has a few bytes of its own in front of what it hands out.
        let start = (unused as u64) & !(PAGE_SIZE - 1);
        let Some(hv) = boot::hypervisor().filter(|_| whole && start != self.kept) else {
            return end;
        };
        let first = paging::undirect(start) >> PAGE_SHIFT;
        // As it came: a power of two.
        let count = (end as u64).saturating_sub(start) >> PAGE_SHIFT;
        let order = u8::try_from(count.trailing_zeros()).unwrap_or(0);
        for mfn in first..first + count {
            memory::release_frame(mfn);
        }
        if growth::give_back(hv, this_core_cpu(), (Mfn(first), order)) {
            return unused;
        }
        for mfn in first..first + count {
            memory::claim_frame(mfn);
        }
        end
    }
}

/// Gives the heap its first memory. False if there is not so much.
pub(crate) fn init() -> bool {
    claim(INITIAL)
}

/// Gives the heap what it needs for so many CPUs until `core` gives it more: the last chance before the boot allocator
/// ends. False if there is not so much.
pub(crate) fn make_room(cpus: u32) -> bool {
    if cpus <= FEW_CPUS {
        return true;
    }
    let size = (u64::from(cpus) * FOR_CPU).next_multiple_of(LARGE_PAGE);
    claim(size)
}

/// Gives the heap `size` bytes of the boot allocator's.
fn claim(size: u64) -> bool {
    let Some(base) = alloc::take(size, LARGE_PAGE, LIMIT).and_then(paging::direct) else {
        return false;
    };
    let mut arena = HEAP.0.lock();
    arena.source.kept = base as u64;
    // SAFETY: the memory was taken from the boot allocator for this alone, and the direct map has it read-write.
    unsafe { arena.claim(base, to_usize(size)) }.is_some()
}

/// A frame for a page table when the boot allocator is no more. Returns its physical address.
pub(crate) fn table_frame() -> Option<u64> {
    let layout = Layout::from_size_align(to_usize(PAGE_SIZE), to_usize(PAGE_SIZE)).ok()?;
    // SAFETY: the layout's size is not zero.
    let va = unsafe { ::alloc::alloc::alloc(layout) } as u64;
    (va >= DIRECT_MAP_BASE).then(|| paging::undirect(va))
}
