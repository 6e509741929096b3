//! The .xz container around LZMA2, as the kernel's own decoder takes it: LZMA2, with the x86 filter
//! before it or not, and CRC32 or no check.
//!
//! Format: "The .xz File Format", version 1.2.0 (tukaani.org).

use std::io::Read;

use lzma_rust2::Lzma2Reader;
use lzma_rust2::filter::bcj::BcjReader;

use super::lzma::clamp;

const FILTER_X86: u64 = 0x04;
const FILTER_LZMA2: u64 = 0x21;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    None,
    Crc32,
}

/// What a block header says.
struct Block {
    x86: bool,
    dictionary: u32,
}

pub(super) fn unpack(data: &[u8], out: &mut [u8]) -> Result<(), String> {
    let (check, mut rest) = stream_header(data)?;
    let mut done = 0;
    loop {
        match rest.first() {
            None => return Err("it is cut short".into()),
            Some(0) => break, // the index: no more blocks
            Some(_) => {}
        }
        let (block, body) = block_header(rest)?;
        let target = out.get_mut(done..).unwrap_or(&mut []);
        let (written, after) = unpack_block(&block, body, target)?;
        let unpacked = target.get(..written).unwrap_or(&[]);
        // Blocks are padded to four bytes, counted from their header; headers are multiples of four.
        let padding = (4 - (body.len() - after.len()) % 4) % 4;
        rest = after.get(padding..).ok_or("it is cut short")?;
        if check == Check::Crc32 {
            let (stored, tail) = rest.split_first_chunk::<4>().ok_or("it is cut short")?;
            if u32::from_le_bytes(*stored) != crc32fast::hash(unpacked) {
                return Err("the checksum is wrong".into());
            }
            rest = tail;
        }
        done = done.saturating_add(written);
    }
    if done == out.len() {
        Ok(())
    } else {
        Err(format!("it ends after {done} of {} bytes", out.len()))
    }
}

fn stream_header(data: &[u8]) -> Result<(Check, &[u8]), String> {
    let (head, rest) = data.split_first_chunk::<12>().ok_or("it is cut short")?;
    let [.., f0, f1, c0, c1, c2, c3] = *head;
    if crc32fast::hash(&[f0, f1]) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err("the header's checksum is wrong".into());
    }
    match (f0, f1) {
        (0, 0) => Ok((Check::None, rest)),
        (0, 1) => Ok((Check::Crc32, rest)),
        _ => Err("its check is neither CRC32 nor none; Linux cannot unpack it either".into()),
    }
}

fn block_header(data: &[u8]) -> Result<(Block, &[u8]), String> {
    let short = "a block header is cut short";
    let size = data.first().map_or(0, |b| (usize::from(*b) + 1) * 4);
    let header = data.get(..size).ok_or(short)?;
    let body = data.get(size..).ok_or(short)?;
    let (fields, crc) = header.split_last_chunk::<4>().ok_or(short)?;
    if crc32fast::hash(fields) != u32::from_le_bytes(*crc) {
        return Err("a block header's checksum is wrong".into());
    }
    let mut fields = fields.get(1..).ok_or(short)?;
    let flags = take(&mut fields).ok_or(short)?;
    // Bits 6 and 7: the compressed and the uncompressed size follow. They are not needed.
    for bit in [0x40, 0x80] {
        if flags & bit != 0 {
            varint(&mut fields).ok_or(short)?;
        }
    }
    let mut block = Block {
        x86: false,
        dictionary: 0,
    };
    let filters = (flags & 3) + 1;
    for index in 0..filters {
        let id = varint(&mut fields).ok_or(short)?;
        let len = varint(&mut fields).ok_or(short)?;
        let len = usize::try_from(len).map_err(|_| short)?;
        let properties = fields.get(..len).ok_or(short)?;
        fields = fields.get(len..).ok_or(short)?;
        let last = index + 1 == filters;
        match (id, properties) {
            (FILTER_X86, [] | [0, 0, 0, 0]) if !last => block.x86 = true,
            (FILTER_LZMA2, [size]) if last => {
                block.dictionary = dictionary(*size).ok_or("its dictionary size is not valid")?;
            }
            _ => return Err("it uses a filter other than x86 and LZMA2".into()),
        }
    }
    Ok((block, body))
}

/// Unpacks one block; gives the bytes written and what follows its compressed data.
fn unpack_block<'a>(
    block: &Block,
    body: &'a [u8],
    out: &mut [u8],
) -> Result<(usize, &'a [u8]), String> {
    let lzma2 = Lzma2Reader::new(body, clamp(block.dictionary, out.len()), None);
    if block.x86 {
        let mut reader = BcjReader::new_x86(lzma2, 0);
        let written = drain(&mut reader, out)?;
        Ok((written, reader.into_inner().into_inner()))
    } else {
        let mut reader = lzma2;
        let written = drain(&mut reader, out)?;
        Ok((written, reader.into_inner()))
    }
}

/// Reads to the end of the block.
fn drain(reader: &mut impl Read, out: &mut [u8]) -> Result<usize, String> {
    let mut done = 0;
    loop {
        let mut one = [0];
        let rest = out.get_mut(done..).unwrap_or(&mut []);
        let full = rest.is_empty();
        let buffer = if full { &mut one[..] } else { rest };
        match reader.read(buffer).map_err(|e| format!("{e:?}"))? {
            0 => return Ok(done),
            _ if full => return Err(format!("it is longer than {done} bytes")),
            n => done = done.saturating_add(n),
        }
    }
}

fn take(fields: &mut &[u8]) -> Option<u8> {
    let (first, rest) = fields.split_first()?;
    *fields = rest;
    Some(*first)
}

/// A number in seven-bit groups, least significant first; at most nine bytes.
fn varint(fields: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = take(fields)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// LZMA2's one-byte code of the dictionary size.
fn dictionary(code: u8) -> Option<u32> {
    match code {
        0..40 => Some((2 | u32::from(code & 1)) << (code / 2 + 11)),
        40 => Some(u32::MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionary_sizes() {
        assert_eq!(dictionary(0), Some(4096));
        assert_eq!(dictionary(1), Some(6144));
        assert_eq!(dictionary(26), Some(32 << 20));
        assert_eq!(dictionary(39), Some(3 << 30));
        assert_eq!(dictionary(41), None);
    }

    #[test]
    fn varints() {
        assert_eq!(varint(&mut &[0x85, 0x01][..]), Some(133));
        assert_eq!(varint(&mut &[0x80][..]), None);
        assert_eq!(varint(&mut &[0xff; 12][..]), None);
    }
}
