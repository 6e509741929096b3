//! LZMA2: LZMA in chunks, with chunks that are not compressed and resets between.

use super::Damaged;
use super::lzma::{Ended, Lzma, Properties};
use super::range::RangeDecoder;

/// Decodes chunks from `input` to `out`, with a `pause` after each, which is told how many bytes
/// there are by then; returns how many bytes of each were used.
pub(super) fn decode(
    input: &[u8],
    out: &mut [u8],
    pause: &mut dyn FnMut(usize),
) -> Result<(usize, usize), Damaged> {
    let mut rest = input;
    let mut at = 0;
    let mut start = 0;
    let mut lzma: Option<Lzma> = None;
    // The first chunk must say where the dictionary starts.
    let mut need_dictionary = true;
    loop {
        let (&control, after) = rest.split_first().ok_or(Damaged)?;
        if control == 0 {
            return Ok((input.len() - after.len(), at));
        }
        // Dictionary resets: 1 (uncompressed), 0xe0 and above (LZMA).
        if control == 1 || control >= 0xe0 {
            start = at;
            need_dictionary = false;
        }
        if need_dictionary {
            return Err(Damaged);
        }
        if control < 0x80 {
            if control > 2 {
                return Err(Damaged);
            }
            let (size, after) = after.split_first_chunk::<2>().ok_or(Damaged)?;
            let size = usize::from(u16::from_be_bytes(*size)) + 1;
            let (plain, after) = after.split_at_checked(size).ok_or(Damaged)?;
            out.get_mut(at..at + size)
                .ok_or(Damaged)?
                .copy_from_slice(plain);
            at += size;
            rest = after;
            continue;
        }
        let (&[b, c, d, e], mut after) = after.split_first_chunk::<4>().ok_or(Damaged)?;
        let size = (usize::from(control & 0x1f) << 16 | usize::from(b) << 8 | usize::from(c)) + 1;
        let packed = usize::from(u16::from_be_bytes([d, e])) + 1;
        if control >= 0xc0 {
            let (&properties, behind) = after.split_first().ok_or(Damaged)?;
            lzma = Some(Lzma::new(Properties::parse(properties).ok_or(Damaged)?));
            after = behind;
        }
        let decoder = lzma.as_mut().ok_or(Damaged)?;
        if (0xa0..0xc0).contains(&control) {
            decoder.reset();
        }
        let (chunk, after) = after.split_at_checked(packed).ok_or(Damaged)?;
        let mut range = RangeDecoder::new(chunk).ok_or(Damaged)?;
        let piece = out.get_mut(..at + size).ok_or(Damaged)?;
        let ended = decoder.decode(&mut range, piece, start, &mut at)?;
        if ended != Ended::Full || !range.finished() {
            return Err(Damaged);
        }
        rest = after;
        pause(at);
    }
}
