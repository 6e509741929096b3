//! The XZ container: one stream, blocks of LZMA2 behind an optional x86 branch filter.
//!
//! The format is described in the XZ project's xz-file-format.txt. The checks of the data are
//! not computed: a damaged payload is found by the decoder's own states and by its length.

use super::Damaged;
use super::{bcj, lzma2};

/// What an XZ file starts with.
pub(super) const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

const FILTER_X86: u64 = 0x04;
const FILTER_LZMA2: u64 = 0x21;

/// Decodes the blocks of the first stream; returns how many bytes.
pub(super) fn decode(
    input: &[u8],
    out: &mut [u8],
    pause: &mut dyn FnMut(usize),
) -> Result<usize, Damaged> {
    let (header, mut rest) = input.split_first_chunk::<12>().ok_or(Damaged)?;
    let &[m0, m1, m2, m3, m4, m5, flags0, flags1, ..] = header;
    if [m0, m1, m2, m3, m4, m5] != MAGIC || flags0 != 0 {
        return Err(Damaged);
    }
    let check_size = match flags1 {
        0 => 0,
        1..=3 => 4,
        4..=6 => 8,
        7..=9 => 16,
        10..=12 => 32,
        13..=15 => 64,
        _ => return Err(Damaged),
    };
    let mut at = 0;
    loop {
        let (&size, _) = rest.split_first().ok_or(Damaged)?;
        if size == 0 {
            // The index: no more blocks.
            return Ok(at);
        }
        let (header, data) = rest
            .split_at_checked((usize::from(size) + 1) * 4)
            .ok_or(Damaged)?;
        let filtered = block_filters(header)?;
        let place = out.get_mut(at..).ok_or(Damaged)?;
        let (used, made) = lzma2::decode(data, place, pause)?;
        if filtered {
            bcj::undo_x86(place.get_mut(..made).ok_or(Damaged)?);
        }
        at += made;
        let padded = used.next_multiple_of(4) + check_size;
        rest = data.get(padded..).ok_or(Damaged)?;
    }
}

/// Whether the x86 filter stands before LZMA2 in a block's header.
fn block_filters(header: &[u8]) -> Result<bool, Damaged> {
    let (&[_, flags], mut rest) = header.split_first_chunk::<2>().ok_or(Damaged)?;
    if flags & 0x3c != 0 {
        return Err(Damaged);
    }
    for present in [flags & 0x40, flags & 0x80] {
        if present != 0 {
            number(&mut rest)?;
        }
    }
    let mut filtered = false;
    for left in (0..=flags & 3).rev() {
        let filter = number(&mut rest)?;
        let size = number(&mut rest)?;
        let (properties, after) = usize::try_from(size)
            .ok()
            .and_then(|size| rest.split_at_checked(size))
            .ok_or(Damaged)?;
        rest = after;
        match (filter, left) {
            (FILTER_LZMA2, 0) => {}
            // With a start offset it would not be the kernel's own use of the filter.
            (FILTER_X86, 1) if properties.is_empty() => filtered = true,
            _ => return Err(Damaged),
        }
    }
    Ok(filtered)
}

/// A number of up to 63 bits, seven to a byte, the lowest first.
fn number(rest: &mut &[u8]) -> Result<u64, Damaged> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Damaged)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Damaged)
}
