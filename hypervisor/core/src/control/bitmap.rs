//! Sets of CPUs as the control interfaces pass them: a bitmap in the caller's memory.

use oxen_abi::Errno;
use oxen_abi::xen::CtlBitmap;

use crate::guest::GuestHandle;
use crate::machine::{CpuMask, Machine};

/// Most bytes that are looked at: every CPU there can be, and some.
const MOST: u32 = 1024;

/// Reads a set; bits past what there can be are ignored.
pub(super) fn read<M: Machine>(machine: &M, bitmap: &CtlBitmap) -> Result<CpuMask, Errno> {
    let mut mask = CpuMask::EMPTY;
    let bytes = bitmap.nr_bits.div_ceil(8);
    let handle = GuestHandle::<u8>::new(bitmap.bitmap);
    for (place, word) in (0u32..).zip(&mut mask.0) {
        let mut part = [0; 8];
        for (n, byte) in (0u32..).zip(&mut part) {
            let at = place * 8 + n;
            if at < bytes {
                *byte = handle.read_at(machine, u64::from(at))?;
                let bits = bitmap.nr_bits - at * 8;
                if bits < 8 {
                    *byte &= (1 << bits) - 1;
                }
            }
        }
        *word = u64::from_le_bytes(part);
    }
    Ok(mask)
}

/// Writes a set, as much of it as there is room for; the room behind it is zeroed.
pub(super) fn write<M: Machine>(
    machine: &M,
    bitmap: &CtlBitmap,
    mask: &CpuMask,
) -> Result<(), Errno> {
    let bytes = bitmap.nr_bits.div_ceil(8).min(MOST);
    let handle = GuestHandle::<u8>::new(bitmap.bitmap);
    let set = mask
        .0
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .chain(core::iter::repeat(0));
    for (at, mut byte) in (0..bytes).zip(set) {
        let bits = bitmap.nr_bits - at * 8;
        if bits < 8 {
            byte &= (1 << bits) - 1;
        }
        handle.write_at(machine, u64::from(at), &byte)?;
    }
    Ok(())
}
