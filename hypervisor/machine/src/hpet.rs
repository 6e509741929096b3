//! The HPET, which the hypervisor keeps to itself.

use crate::acpi;
use crate::layout::PAGE_SHIFT;

/// Whether a frame holds its registers.
pub(crate) fn owns_frame(frame: u64) -> bool {
    acpi::info()
        .hpet
        .is_some_and(|address| address >> PAGE_SHIFT == frame)
}
