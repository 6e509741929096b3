//! gzip (RFC 1952): one member.

use alloc::boxed::Box;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::Damaged;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;

/// Decodes the first member; returns how many bytes. Its trailer's CRC is not computed.
pub(super) fn decode(input: &[u8], out: &mut [u8]) -> Result<usize, Damaged> {
    let mut inflater = Box::<DecompressorOxide>::default();
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, _, made) = decompress(&mut inflater, deflated(input)?, out, 0, flags);
    if status == TINFLStatus::Done {
        Ok(made)
    } else {
        Err(Damaged)
    }
}

/// What stands behind the header.
fn deflated(input: &[u8]) -> Result<&[u8], Damaged> {
    let (&[_, _, method, flags, ..], mut rest) = input.split_first_chunk::<10>().ok_or(Damaged)?;
    if method != 8 {
        return Err(Damaged);
    }
    if flags & EXTRA != 0 {
        let (size, after) = rest.split_first_chunk::<2>().ok_or(Damaged)?;
        rest = after
            .get(usize::from(u16::from_le_bytes(*size))..)
            .ok_or(Damaged)?;
    }
    for text in [flags & NAME, flags & COMMENT] {
        if text != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(Damaged)?;
            rest = rest.get(end + 1..).ok_or(Damaged)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        rest = rest.get(2..).ok_or(Damaged)?;
    }
    Ok(rest)
}
