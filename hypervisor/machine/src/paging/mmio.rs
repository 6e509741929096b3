//! The window for device memory.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{Flags, MapError, tables};
use crate::layout::{MMIO_BASE, MMIO_SIZE, PAGE_SIZE};

/// The next free address of the window.
static NEXT: AtomicU64 = AtomicU64::new(MMIO_BASE);

/// Device memory, mapped uncached for ever.
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: u64,
    size: u64,
}

/// Maps `size` bytes of device memory at physical address `phys`. RAM is refused. The mapping is never undone.
pub fn map_mmio(phys: u64, size: u64) -> Result<Mmio, MapError> {
    let end = phys
        .checked_add(size)
        .filter(|_| size > 0)
        .ok_or(MapError::Range)?;
    if crate::memory::overlaps_ram(phys, end) {
        return Err(MapError::Ram);
    }
    let first = phys & !(PAGE_SIZE - 1);
    let bytes = end
        .checked_next_multiple_of(PAGE_SIZE)
        .ok_or(MapError::Range)?
        - first;
    if bytes > MMIO_SIZE {
        return Err(MapError::Range);
    }
    // A guard page between two mappings.
    let va = NEXT.fetch_add(bytes + PAGE_SIZE, Ordering::AcqRel);
    if va + bytes > MMIO_BASE + MMIO_SIZE {
        return Err(MapError::Range);
    }
    tables::map(va, first, bytes, Flags::DEVICE)?;
    Ok(Mmio {
        base: va + (phys - first),
        size,
    })
}

impl Mmio {
    /// Where it is mapped.
    pub const fn address(&self) -> u64 {
        self.base
    }

    /// Its size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    fn place<T>(&self, offset: u64) -> Option<*mut T> {
        let fits = offset
            .checked_add(size_of::<T>() as u64)
            .is_some_and(|end| end <= self.size);
        let va = self.base.wrapping_add(offset);
        (fits && va.is_multiple_of(align_of::<T>() as u64)).then_some(va as *mut T)
    }

    /// Reads 32 bits at `offset` (a multiple of 4); all ones past the end.
    #[inline]
    pub fn read32(&self, offset: u64) -> u32 {
        // SAFETY: inside the mapping and aligned; device memory is never a Rust object.
        self.place::<u32>(offset)
            .map_or(u32::MAX, |place| unsafe { place.read_volatile() })
    }

    /// Writes 32 bits at `offset` (a multiple of 4); nothing happens past the end.
    #[inline]
    pub fn write32(&self, offset: u64, value: u32) {
        if let Some(place) = self.place::<u32>(offset) {
            // SAFETY: inside the mapping and aligned; the callers are the drivers of the devices they map.
            unsafe { place.write_volatile(value) }
        }
    }

    /// Reads 64 bits at `offset` (a multiple of 8); all ones past the end.
    pub fn read64(&self, offset: u64) -> u64 {
        // SAFETY: as in `read32`.
        self.place::<u64>(offset)
            .map_or(u64::MAX, |place| unsafe { place.read_volatile() })
    }

    /// Reads 16 bits at `offset` (a multiple of 2); all ones past the end.
    pub fn read16(&self, offset: u64) -> u16 {
        // SAFETY: as in `read32`.
        self.place::<u16>(offset)
            .map_or(u16::MAX, |place| unsafe { place.read_volatile() })
    }

    /// Writes 16 bits at `offset` (a multiple of 2); nothing happens past the end.
    pub fn write16(&self, offset: u64, value: u16) {
        if let Some(place) = self.place::<u16>(offset) {
            // SAFETY: as in `write32`.
            unsafe { place.write_volatile(value) }
        }
    }

    /// Reads a byte; all ones past the end.
    pub fn read8(&self, offset: u64) -> u8 {
        // SAFETY: as in `read32`.
        self.place::<u8>(offset)
            .map_or(u8::MAX, |place| unsafe { place.read_volatile() })
    }

    /// Writes a byte; nothing happens past the end.
    pub fn write8(&self, offset: u64, value: u8) {
        if let Some(place) = self.place::<u8>(offset) {
            // SAFETY: as in `write32`.
            unsafe { place.write_volatile(value) }
        }
    }
}
