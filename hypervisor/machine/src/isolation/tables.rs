//! The root that a CPU has for isolated guests, and what of the hypervisor's memory it maps.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::ROOTS;
use crate::layout::{FIRST_SLOT, IMAGE_BASE, LAST_SLOT, M2P_BASE, PAGE_SIZE, l4_slot};
use crate::paging::{self, Flags, MapError};
use crate::percpu::{CpuHeader, ENTRY_PAGE, FRAME_PAGE, HEADER_OFFSET, PerCpu, STUBS_OFFSET, area};
use crate::trap::{idt_page, isolated_window_word, root_words};
use crate::window;
use crate::{image, num};

/// The root of the CPU that was made first, whose tables for the image the others share.
static FIRST: AtomicU64 = AtomicU64::new(0);

/// Makes the root of a CPU, with:
///
/// - guests' view of the machine-to-physical table;
/// - of the image, the entry code, the words that it reads first and the interrupt descriptor table;
/// - of the CPU's area, the entry stubs, the frame page, the page in which stacks of the interrupt stack table begin,
///   and the windows with its GDT (and the TSS) and LDT.
///
/// The CPU has its stack block, and is either the one that executes this or has not started yet.
pub(crate) fn make(cpu: &'static PerCpu) -> Result<(), MapError> {
    let root = paging::new_root()?;
    paging::share_slot(paging::own_l4(), root, l4_slot(M2P_BASE));
    match FIRST.load(Ordering::Acquire) {
        0 => {
            map_image(root)?;
            FIRST.store(root, Ordering::Release);
        }
        first => paging::share_slot(first, root, l4_slot(IMAGE_BASE)),
    }
    map_area(root, cpu)?;
    let window = window::entries_in(root, cpu.cpu).ok_or(MapError::NoMemory)?;
    let full = window::entries(cpu.cpu);
    for (entry, value) in window.iter().zip(full).skip(window::GDT_FIRST) {
        entry.store(value.load(Ordering::Acquire), Ordering::Release);
    }
    if let Some(own) = ROOTS.get(num::to_usize(cpu.cpu.into())) {
        own.table.store(root, Ordering::Release);
    }
    let header = (cpu.stack_block() + HEADER_OFFSET) as *mut CpuHeader;
    let (full, guest) = root_words();
    // SAFETY: the header was written with the stack block. The CPU does not run yet, or it is this one, and these words
    // are only read by what this function prepares.
    unsafe {
        (*header).entry[full] = paging::own_l4();
        (*header).entry[guest] = 0;
        (*header).entry[isolated_window_word()] = core::ptr::from_ref(window) as u64;
    }
    Ok(())
}

fn map_image(root: u64) -> Result<(), MapError> {
    let idt = idt_page();
    for (part, flags) in [
        (image::entry_text(), Flags::EXECUTE),
        (image::entry_data(), Flags::READ),
        (idt..idt + PAGE_SIZE, Flags::READ),
    ] {
        let phys = image::physical(part.start);
        paging::map_in(root, part.start, phys, part.end - part.start, flags)?;
    }
    Ok(())
}

fn map_area(root: u64, cpu: &PerCpu) -> Result<(), MapError> {
    for (offset, flags) in [
        (STUBS_OFFSET, Flags::EXECUTE),
        (ENTRY_PAGE, Flags::READ_WRITE),
        (FRAME_PAGE, Flags::READ_WRITE),
    ] {
        let va = area(cpu.cpu) + offset;
        let phys = paging::translate(va).ok_or(MapError::Range)?;
        paging::map_in(root, va, phys, PAGE_SIZE, flags)?;
    }
    Ok(())
}

/// How many pages of the hypervisor's the root of the first CPU maps, as its tables are now. Those of the
/// machine-to-physical table that guests may read are left out.
pub(crate) fn exposed_pages() -> u64 {
    let mut pages = 0;
    let after = l4_slot(M2P_BASE) + 1;
    let root = FIRST.load(Ordering::Acquire);
    paging::visit(root, after, &mut |_, size, _| pages += size / PAGE_SIZE);
    pages
}

/// Copies the slots that are a guest's, and that of the machine-to-physical table, from the L4 at physical address `from` to the one at `to`, which no CPU has loaded.
pub(super) fn copy_guest_slots(from: u64, to: u64) {
    let words = |first: usize, end: usize| {
        let offset = first as u64 * 8;
        if let (Some(from), Some(to)) = (paging::direct(from + offset), paging::direct(to + offset))
        {
            // SAFETY: both are whole frames of the direct map, the second this module's own. Other CPUs may change
            // entries of the first meanwhile: each is read once, as it then is.
            unsafe {
                asm!("rep movsq", inout("rcx") end - first => _, inout("rdi") to => _, inout("rsi") from => _,
                     options(nostack, preserves_flags));
            }
        }
    };
    words(0, FIRST_SLOT);
    // A guest's user mode may be without it.
    words(l4_slot(M2P_BASE), l4_slot(M2P_BASE) + 1);
    words(LAST_SLOT + 1, 512);
}
