//! Memory for what is made once at boot: page tables, frame table, heap, stacks.
//!
//! It is taken from the top, so that low memory is left for devices that reach no further. What is left over goes to
//! `core`; nothing is ever given back here.

use super::e820::{Ranges, remove};

/// Free physical memory, whole pages.
#[derive(Debug, Default)]
pub struct BootMemory {
    free: Ranges,
}

impl BootMemory {
    /// Starts with the given ranges.
    pub const fn new(free: Ranges) -> Self {
        Self { free }
    }

    /// Takes `size` bytes (rounded up to pages) at a multiple of `align` (a power of two, at least a page), all of it
    /// below `limit`. Returns its physical address.
    pub fn take(&mut self, size: u64, align: u64, limit: u64) -> Option<u64> {
        let best = self
            .free
            .iter()
            .filter_map(|&(start, end)| {
                let at = end.min(limit).checked_sub(size)? & !(align - 1);
                (at >= start).then_some(at)
            })
            .max()?;
        remove(&mut self.free, best, best + size);
        Some(best)
    }

    /// What is free.
    pub fn free(&self) -> &Ranges {
        &self.free
    }
}

#[cfg(target_os = "none")]
mod global;
#[cfg(target_os = "none")]
pub(crate) use global::{finish, start, take};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_the_highest_that_fits() {
        let mut free = Ranges::new();
        free.push((0x1000, 0x9_f000));
        free.push((0x10_0000, 0x40_0000));
        free.push((1 << 32, (1 << 32) + 0x1000));
        let mut memory = BootMemory::new(free);
        assert_eq!(memory.take(0x1000, 0x1000, u64::MAX), Some(1 << 32));
        assert_eq!(memory.take(0x1000, 0x20_0000, u64::MAX), Some(0x20_0000));
        assert_eq!(memory.take(0x1000, 0x1000, 1 << 20), Some(0x9_e000));
        assert_eq!(memory.take(0x1f_f000, 0x1000, u64::MAX), Some(0x20_1000));
        assert_eq!(
            memory.free().as_slice(),
            [(0x1000, 0x9_e000), (0x10_0000, 0x20_0000)]
        );
        assert_eq!(memory.take(1 << 40, 0x1000, u64::MAX), None);
        assert_eq!(memory.take(u64::MAX, 0x1000, u64::MAX), None);
    }
}
