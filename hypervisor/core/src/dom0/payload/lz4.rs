//! LZ4's legacy frame, as `lz4 -l` writes it: independent blocks of at most 8 MiB.

use super::Damaged;

const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// Decodes all blocks; returns how many bytes.
pub(super) fn decode(input: &[u8], out: &mut [u8]) -> Result<usize, Damaged> {
    let mut rest = input.strip_prefix(&MAGIC).ok_or(Damaged)?;
    let mut at = 0;
    while let Some((size, data)) = rest.split_first_chunk::<4>() {
        // Frames may follow each other.
        if *size == MAGIC {
            rest = data;
            continue;
        }
        let size = u32::from_le_bytes(*size) as usize;
        let (block, after) = data.split_at_checked(size).ok_or(Damaged)?;
        let place = out.get_mut(at..).ok_or(Damaged)?;
        at += lz4_flex::block::decompress_into(block, place).map_err(|_| Damaged)?;
        rest = after;
    }
    if rest.is_empty() {
        Ok(at)
    } else {
        Err(Damaged)
    }
}
