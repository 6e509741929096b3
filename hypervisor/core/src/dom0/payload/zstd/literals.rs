//! A block's literals (RFC 8878, section 3.1.1.3.1).

use alloc::vec;
use alloc::vec::Vec;

use super::super::Damaged;
use super::MAX_BLOCK;
use super::huffman::Table;

/// Room for a block's literals, and the Huffman table that later blocks may use again.
pub(super) struct Literals {
    bytes: Vec<u8>,
    table: Option<Table>,
}

impl Literals {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; MAX_BLOCK],
            table: None,
        }
    }

    /// Decodes the literals; returns them and what stands behind them in the block.
    pub(super) fn decode<'a>(&mut self, block: &'a [u8]) -> Result<(&[u8], &'a [u8]), Damaged> {
        let first = *block.first().ok_or(Damaged)?;
        let form = first >> 2 & 3;
        if first & 2 == 0 {
            let (header, size) = match form {
                0 | 2 => (1, usize::from(first >> 3)),
                1 => (2, number(block, 2)? >> 4),
                _ => (3, number(block, 3)? >> 4),
            };
            let body = block.get(header..).ok_or(Damaged)?;
            let room = self.bytes.get_mut(..size).ok_or(Damaged)?;
            if first & 1 == 0 {
                let (plain, rest) = body.split_at_checked(size).ok_or(Damaged)?;
                room.copy_from_slice(plain);
                return Ok((room, rest));
            }
            let (byte, rest) = body.split_first().ok_or(Damaged)?;
            room.fill(*byte);
            return Ok((room, rest));
        }
        let (header, width) = match form {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let sizes = number(block, header)? >> 4;
        let (size, packed) = (sizes & ((1 << width) - 1), sizes >> width);
        let body = block.get(header..).ok_or(Damaged)?;
        let (mut streams, rest) = body.split_at_checked(packed).ok_or(Damaged)?;
        if first & 1 == 0 {
            let (table, behind) = Table::read(streams)?;
            self.table = Some(table);
            streams = behind;
        }
        let table = self.table.as_ref().ok_or(Damaged)?;
        let room = self.bytes.get_mut(..size).ok_or(Damaged)?;
        if form == 0 {
            table.decode(streams, room)?;
        } else {
            four_streams(table, streams, room)?;
        }
        Ok((room, rest))
    }
}

/// A number of up to five bytes.
fn number(data: &[u8], bytes: usize) -> Result<usize, Damaged> {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(data.get(..bytes).ok_or(Damaged)?) {
        *to = *from;
    }
    usize::try_from(u64::from_le_bytes(word)).map_err(|_| Damaged)
}

/// Four streams, each of a quarter of the literals; the sizes of the first three stand in front.
fn four_streams(table: &Table, data: &[u8], out: &mut [u8]) -> Result<(), Damaged> {
    let (sizes, mut data) = data.split_first_chunk::<6>().ok_or(Damaged)?;
    let quarter = out.len().div_ceil(4);
    let mut out = out;
    for size in sizes.as_chunks::<2>().0 {
        let size = usize::from(u16::from_le_bytes(*size));
        let (stream, rest) = data.split_at_checked(size).ok_or(Damaged)?;
        let (part, other) = out.split_at_mut_checked(quarter).ok_or(Damaged)?;
        table.decode(stream, part)?;
        (data, out) = (rest, other);
    }
    table.decode(data, out)
}
