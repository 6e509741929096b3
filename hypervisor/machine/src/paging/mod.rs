//! The hypervisor's page tables: L4 slots 256 to 271 (see [`crate::layout`]).
//!
//! No mapping is both writable and executable. The image's frames are read-only in the direct map, and the guard pages
//! of the stacks are holes.

pub mod entry;
mod layout_map;
mod mmio;
mod tables;

pub use entry::Flags;
pub(crate) use layout_map::{map_direct, map_image};
pub use mmio::{Mmio, map_mmio};
pub(crate) use tables::{
    activate, init, l4_entries, map, map_in, new_root, own_l4, share_slot, translate, visit,
};

use core::fmt;

use crate::layout::{DIRECT_MAP_BASE, DIRECT_MAP_SIZE};

/// Why something could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No memory for a page table.
    NoMemory,
    /// Something else is mapped there already.
    InUse(u64),
    /// Outside the hypervisor's slots, not page-aligned, or past the end of the window.
    Range,
    /// It is RAM, which this window is not for.
    Ram,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => write!(f, "no memory for a page table"),
            Self::InUse(va) => write!(f, "something else is mapped at {va:#x}"),
            Self::Range => write!(f, "outside the range for this kind of mapping"),
            Self::Ram => write!(f, "the range is memory, not a device"),
        }
    }
}

/// Where the direct map has physical address `phys`. `None` if it does not reach that far; whether it is RAM at all is
/// not checked.
pub const fn direct(phys: u64) -> Option<*mut u8> {
    if phys < DIRECT_MAP_SIZE {
        Some((DIRECT_MAP_BASE + phys) as *mut u8)
    } else {
        None
    }
}

/// Physical address of something in the direct map.
pub const fn undirect(va: u64) -> u64 {
    va.wrapping_sub(DIRECT_MAP_BASE)
}
