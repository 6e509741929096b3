//! The memory behind a CPU's area: stacks with guard pages, and the entry stubs.

use crate::boot::alloc;
use crate::image;
use crate::layout::PAGE_SIZE;
use crate::paging::{self, Flags, MapError};
use crate::percpu::{self, PerCpu, STACKS, STUBS_OFFSET};

/// Maps the stack block of a CPU and writes its header.
pub(crate) fn make(data: &'static PerCpu) -> Result<(), MapError> {
    let block = data.stack_block();
    paging::map(
        block + STUBS_OFFSET,
        image::physical(image::entry_stubs()),
        PAGE_SIZE,
        Flags::EXECUTE,
    )?;
    for (offset, size) in STACKS {
        let phys = alloc::take(size, PAGE_SIZE, u64::MAX).ok_or(MapError::NoMemory)?;
        let memory = paging::direct(phys).ok_or(MapError::NoMemory)?;
        // SAFETY: taken for this alone, and mapped by the direct map.
        unsafe { memory.write_bytes(0, crate::num::to_usize(size)) }
        paging::map(block + offset, phys, size, Flags::READ_WRITE)?;
    }
    // SAFETY: mapped just now, and the CPU has not started on it.
    unsafe { percpu::write_header(data, paging::own_l4()) }
    Ok(())
}
