//! Reading physical memory before there is anything better than the boot page tables, as a trait so that the parsers
//! run on the host too.

/// Physical memory that can be read.
pub trait PhysMemory {
    /// Fills `bytes` from physical address `addr`. False, and `bytes` unchanged, if any of it cannot be read.
    fn read(&self, addr: u64, bytes: &mut [u8]) -> bool;

    /// A little-endian 32-bit word.
    fn u32(&self, addr: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)
            .then(|| u32::from_le_bytes(bytes))
    }

    /// A little-endian 64-bit word.
    fn u64(&self, addr: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes)
            .then(|| u64::from_le_bytes(bytes))
    }
}

/// The first 4 GiB, through the direct map, which the boot page tables and all later ones have.
#[cfg(target_os = "none")]
pub(crate) struct LowMemory;

#[cfg(target_os = "none")]
impl PhysMemory for LowMemory {
    fn read(&self, addr: u64, bytes: &mut [u8]) -> bool {
        let fits = addr
            .checked_add(bytes.len() as u64)
            .is_some_and(|end| end <= 1 << 32);
        if fits {
            let from = (crate::layout::DIRECT_MAP_BASE + addr) as *const u8;
            for (i, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: mapped by the boot page tables, as checked; volatile, for a loader or the firmware wrote it.
                *byte = unsafe { from.add(i).read_volatile() };
            }
        }
        fits
    }
}

#[cfg(test)]
pub(crate) mod fake {
    use super::PhysMemory;

    /// Physical memory for tests: pieces of bytes at addresses.
    #[derive(Default)]
    pub(crate) struct Fake(pub(crate) Vec<(u64, Vec<u8>)>);

    impl PhysMemory for Fake {
        fn read(&self, addr: u64, bytes: &mut [u8]) -> bool {
            for (start, piece) in &self.0 {
                let Some(offset) = addr
                    .checked_sub(*start)
                    .and_then(|o| usize::try_from(o).ok())
                else {
                    continue;
                };
                if let Some(found) = offset
                    .checked_add(bytes.len())
                    .and_then(|end| piece.get(offset..end))
                {
                    bytes.copy_from_slice(found);
                    return true;
                }
            }
            false
        }
    }
}
