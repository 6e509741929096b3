//! Zstandard (RFC 8878): one frame, decoded straight to its place, which serves as the window.

mod bits;
mod fse;
mod huffman;
mod literals;
mod sequences;

use super::Damaged;
use literals::Literals;
use sequences::Sequences;

/// What a frame starts with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Most bytes that a block may hold.
const MAX_BLOCK: usize = 128 << 10;

/// Decodes the first frame; returns how many bytes. Its checksum is not computed.
pub(super) fn decode(
    input: &[u8],
    out: &mut [u8],
    pause: &mut dyn FnMut(usize),
) -> Result<usize, Damaged> {
    let mut rest = skip_header(input.strip_prefix(&MAGIC).ok_or(Damaged)?)?;
    let mut literals = Literals::new();
    let mut sequences = Sequences::new();
    let mut at = 0;
    loop {
        let (&[a, b, c], body) = rest.split_first_chunk::<3>().ok_or(Damaged)?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        let size = (header >> 3) as usize;
        match header >> 1 & 3 {
            0 => {
                let (plain, after) = body.split_at_checked(size).ok_or(Damaged)?;
                out.get_mut(at..at + size)
                    .ok_or(Damaged)?
                    .copy_from_slice(plain);
                at += size;
                rest = after;
            }
            1 => {
                let (&byte, after) = body.split_first().ok_or(Damaged)?;
                out.get_mut(at..at + size).ok_or(Damaged)?.fill(byte);
                at += size;
                rest = after;
            }
            2 if size <= MAX_BLOCK => {
                let (packed, after) = body.split_at_checked(size).ok_or(Damaged)?;
                let (bytes, packed) = literals.decode(packed)?;
                sequences.execute(packed, bytes, out, &mut at)?;
                rest = after;
            }
            _ => return Err(Damaged),
        }
        if header & 1 != 0 {
            return Ok(at);
        }
        pause(at);
    }
}

/// What stands behind the frame's header. The window's size does not matter: all that was
/// decoded is there. A dictionary would, and is refused.
fn skip_header(input: &[u8]) -> Result<&[u8], Damaged> {
    let (&descriptor, rest) = input.split_first().ok_or(Damaged)?;
    if descriptor & 0x08 != 0 {
        return Err(Damaged);
    }
    let single = descriptor & 0x20 != 0;
    let rest = rest.get(usize::from(!single)..).ok_or(Damaged)?;
    let dictionary = match descriptor & 3 {
        0 => 0,
        1 => 1,
        2 => 2,
        _ => 4,
    };
    let (id, rest) = rest.split_at_checked(dictionary).ok_or(Damaged)?;
    if id.iter().any(|byte| *byte != 0) {
        return Err(Damaged);
    }
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    rest.get(size..).ok_or(Damaged)
}
