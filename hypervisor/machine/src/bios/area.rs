//! The piece of low memory that real-mode code works in.
//!
//! | offset | what |
//! |---|---|
//! | 0 | the code; it begins with the words that it is told by ([`super::real_mode`]) |
//! | [`BUFFER`] | what the BIOS reads and writes: [`BUFFER_SIZE`] bytes |
//! | behind it, up to [`SIZE`] | the stack |

use crate::boot::e820::{Region, ram_pages};
use crate::boot::phys::PhysMemory;
use crate::layout::PAGE_SIZE;
use crate::num::to_usize;

/// Bytes of the area: one real-mode segment reaches all of it.
pub(super) const SIZE: u64 = 4 * PAGE_SIZE;
/// Where the buffer begins.
pub(super) const BUFFER: u64 = 0x800;
/// Bytes of the buffer.
pub(super) const BUFFER_SIZE: usize = 0x200;

/// Below this the BIOS has its vectors and its data, and boot code has left things.
const LOWEST: u64 = 0x8000;
/// Above this are adapters and ROMs.
const CONVENTIONAL: u64 = 0xa_0000;
/// Where ROMs begin: the display's, adapters', and the BIOS itself.
const ROM: u32 = 0xc_0000;
/// The BIOS's word that says how many KiB from 0 on are nobody else's (BIOS data area).
const BASE_MEMORY: u64 = 0x413;

/// Looks for a place for the area. `None` if there is none, or if there is no BIOS.
pub(super) fn find(memory: &impl PhysMemory, map: &[Region]) -> Option<u64> {
    if !has_bios(memory) {
        return None;
    }
    let mut kib = [0; 2];
    if !memory.read(BASE_MEMORY, &mut kib) {
        return None;
    }
    let end = (u64::from(u16::from_le_bytes(kib)) << 10).min(CONVENTIONAL);
    let places = ram_pages(map).into_iter().filter_map(|(first, last)| {
        let place = last.min(end).checked_sub(SIZE)? & !(PAGE_SIZE - 1);
        (place >= first.max(LOWEST)).then_some(place)
    });
    places.max()
}

/// Whether the vectors of display, disks and keyboard lead somewhere, the first and the last into a ROM. UEFI leaves
/// something else at address 0.
fn has_bios(memory: &impl PhysMemory) -> bool {
    let handler = |vector: u64| {
        let far = memory.u32(vector * 4).unwrap_or(0);
        (far >> 16 << 4) + (far & 0xffff)
    };
    handler(0x10) >= ROM && handler(0x13) >= 0x500 && handler(0x16) >= ROM
}

const _: () = assert!(to_usize(BUFFER) + BUFFER_SIZE <= to_usize(PAGE_SIZE) && SIZE <= 0x1_0000);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::e820::Kind;
    use crate::boot::phys::fake::Fake;

    fn low_memory(vectors: &[(usize, u32)], kib: u16) -> Fake {
        let mut bytes = vec![0; 0x500];
        for (vector, far) in vectors {
            bytes[vector * 4..][..4].copy_from_slice(&far.to_le_bytes());
        }
        bytes[0x413..0x415].copy_from_slice(&kib.to_le_bytes());
        Fake(vec![(0, bytes)])
    }

    const USUAL: &[(usize, u32)] = &[
        (0x10, 0xc000_5678),
        (0x13, 0xf000_e3fe),
        (0x16, 0xf000_e82e),
    ];

    fn ram(start: u64, end: u64) -> Region {
        Region {
            start,
            size: end - start,
            kind: Kind::Ram,
        }
    }

    #[test]
    fn it_is_at_the_top_of_what_the_bios_leaves() {
        let map = [ram(0, 0x9_fc00), ram(0x10_0000, 0x800_0000)];
        assert_eq!(find(&low_memory(USUAL, 639), &map), Some(0x9_b000));
        assert_eq!(find(&low_memory(USUAL, 512), &map), Some(0x7_c000));
        assert_eq!(find(&low_memory(USUAL, 0xffff), &map), Some(0x9_b000));
        for kib in [0, 40, 47] {
            assert_eq!(find(&low_memory(USUAL, kib), &map), None, "{kib}");
        }
        assert_eq!(find(&low_memory(USUAL, 48), &map), Some(0x8000));
    }

    #[test]
    fn it_needs_room() {
        for map in [&[][..], &[ram(0, 0x8000)], &[ram(0x1_0000, 0x1_3fff)]] {
            assert_eq!(find(&low_memory(USUAL, 640), map), None);
        }
        let split = [ram(0, 0x2_0000), ram(0x9_e000, 0xa_0000)];
        assert_eq!(find(&low_memory(USUAL, 640), &split), Some(0x1_c000));
    }

    #[test]
    fn without_a_bios_there_is_none() {
        let map = [ram(0, 0xa_0000)];
        let without = |left_out: usize| -> Vec<_> {
            let kept = |entry: &&(usize, u32)| entry.0 != left_out;
            USUAL.iter().filter(kept).copied().collect()
        };
        for vector in [0x10, 0x13, 0x16] {
            assert_eq!(find(&low_memory(&without(vector), 640), &map), None);
        }
        assert_eq!(find(&Fake::default(), &map), None);
    }
}
