//! gzip (RFC 1952): one member, whose deflate stream goes straight into the output.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;

pub(super) fn unpack(data: &[u8], out: &mut [u8]) -> Result<(), String> {
    let body = body(data).ok_or("its header is damaged")?;
    let mut state = Box::<DecompressorOxide>::default();
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(&mut state, body, out, 0, flags);
    match status {
        TINFLStatus::Done if written == out.len() => {}
        TINFLStatus::Done => {
            return Err(format!("it ends after {written} of {} bytes", out.len()));
        }
        TINFLStatus::HasMoreOutput => return Err(format!("it is longer than {} bytes", out.len())),
        other => return Err(format!("deflate: {other:?}")),
    }
    let crc = body.get(read..).and_then(|t| t.first_chunk::<4>());
    match crc.map(|c| u32::from_le_bytes(*c)) {
        Some(crc) if crc == crc32fast::hash(out) => Ok(()),
        Some(_) => Err("the checksum is wrong".into()),
        None => Err("it is cut short".into()),
    }
}

/// What follows the header.
fn body(data: &[u8]) -> Option<&[u8]> {
    let (head, mut rest) = data.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *head else {
        return None;
    };
    if flags & FEXTRA != 0 {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|b| *b == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & FHCRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// The size that the trailer claims, modulo 2^32.
pub(super) fn claimed_size(data: &[u8]) -> Option<u32> {
    data.last_chunk::<4>().map(|c| u32::from_le_bytes(*c))
}
