//! The one boot allocator of a running machine.

use spin::Mutex;

use super::BootMemory;
use crate::boot::e820::Ranges;

static MEMORY: Mutex<Option<BootMemory>> = Mutex::new(None);

/// Starts handing out memory from `free`.
pub(crate) fn start(free: Ranges) {
    *MEMORY.lock() = Some(BootMemory::new(free));
}

/// See [`BootMemory::take`]. `None` also after [`finish`].
pub(crate) fn take(size: u64, align: u64, limit: u64) -> Option<u64> {
    MEMORY.lock().as_mut()?.take(size, align, limit)
}

/// Ends the handing out; the free memory that is left.
pub(crate) fn finish() -> Ranges {
    MEMORY
        .lock()
        .take()
        .map_or_else(Ranges::new, |memory| memory.free)
}
