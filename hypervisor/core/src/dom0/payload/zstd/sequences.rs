//! A block's sequences: so many literals, then a match (RFC 8878, sections 3.1.1.3.2 and 3.1.1.4).

use super::super::Damaged;
use super::super::copy::repeat;
use super::bits::Backward;
use super::fse::Table;

/// The usual shares of literal-length codes, out of 64.
const LITERAL_SHARES: [i16; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];
/// Of match-length codes, out of 64.
const MATCH_SHARES: [i16; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];
/// Of offset codes, out of 32.
const OFFSET_SHARES: [i16; 29] = [
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
];

/// Literal lengths from code 16 on: the least and the bits that are added.
const LITERAL_LENGTHS: [(u32, u32); 20] = [
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];
/// Match lengths from code 32 on.
const MATCH_LENGTHS: [(u32, u32); 21] = [
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

/// One of the three kinds of codes.
#[derive(Default)]
struct Code {
    table: Option<Table>,
}

impl Code {
    /// Chooses the table for a block; returns what stands behind its description.
    fn choose<'a>(
        &mut self,
        mode: u8,
        data: &'a [u8],
        usual: (&[i16], u32),
        limits: (u32, usize),
    ) -> Result<&'a [u8], Damaged> {
        let (shares, log) = usual;
        let (max_log, max_symbol) = limits;
        match mode & 3 {
            0 => {
                self.table = Some(Table::new(shares, log)?);
                Ok(data)
            }
            1 => {
                let (&symbol, rest) = data.split_first().ok_or(Damaged)?;
                if usize::from(symbol) > max_symbol {
                    return Err(Damaged);
                }
                self.table = Some(Table::constant(symbol));
                Ok(rest)
            }
            2 => {
                let (table, rest) = Table::read(data, max_log, max_symbol)?;
                self.table = Some(table);
                Ok(rest)
            }
            _ => Ok(data),
        }
    }

    fn table(&self) -> Result<&Table, Damaged> {
        self.table.as_ref().ok_or(Damaged)
    }
}

/// What blocks hand on to the next one.
pub(super) struct Sequences {
    literals: Code,
    offsets: Code,
    matches: Code,
    /// The last three offsets.
    recent: [usize; 3],
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self {
            literals: Code::default(),
            offsets: Code::default(),
            matches: Code::default(),
            recent: [1, 4, 8],
        }
    }

    /// Carries out a block's sequences and writes what is left of the literals.
    pub(super) fn execute(
        &mut self,
        data: &[u8],
        literals: &[u8],
        out: &mut [u8],
        at: &mut usize,
    ) -> Result<(), Damaged> {
        let (count, rest) = count(data)?;
        let mut literals = literals;
        if count > 0 {
            let stream = self.choose_tables(rest)?;
            self.run(count, stream, &mut literals, out, at)?;
        } else if !rest.is_empty() {
            return Err(Damaged);
        }
        append(out, at, literals)
    }

    fn choose_tables<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], Damaged> {
        let (&modes, rest) = data.split_first().ok_or(Damaged)?;
        if modes & 3 != 0 {
            return Err(Damaged);
        }
        let rest = self
            .literals
            .choose(modes >> 6, rest, (&LITERAL_SHARES, 6), (9, 35))?;
        let rest = self
            .offsets
            .choose(modes >> 4, rest, (&OFFSET_SHARES, 5), (8, 31))?;
        self.matches
            .choose(modes >> 2, rest, (&MATCH_SHARES, 6), (9, 52))
    }

    fn run(
        &mut self,
        count: usize,
        stream: &[u8],
        literals: &mut &[u8],
        out: &mut [u8],
        at: &mut usize,
    ) -> Result<(), Damaged> {
        let (literal_table, offset_table, match_table) = (
            self.literals.table()?,
            self.offsets.table()?,
            self.matches.table()?,
        );
        let mut bits = Backward::new(stream)?;
        let mut literal_state = literal_table.start(&mut bits);
        let mut offset_state = offset_table.start(&mut bits);
        let mut match_state = match_table.start(&mut bits);
        for number in 1..=count {
            let offset_code = u32::from(offset_state.symbol(offset_table));
            let offset = (1u64 << offset_code) + bits.read(offset_code);
            let length = match_length(match_state.symbol(match_table), &mut bits).ok_or(Damaged)?;
            let run =
                literal_length(literal_state.symbol(literal_table), &mut bits).ok_or(Damaged)?;
            if number < count {
                literal_state.advance(literal_table, &mut bits);
                match_state.advance(match_table, &mut bits);
                offset_state.advance(offset_table, &mut bits);
            }
            if bits.left() < 0 {
                return Err(Damaged);
            }
            let (now, later) = literals.split_at_checked(run).ok_or(Damaged)?;
            *literals = later;
            append(out, at, now)?;
            let back = recent_offset(&mut self.recent, offset, run == 0).ok_or(Damaged)?;
            let from = at.checked_sub(back).ok_or(Damaged)?;
            if length > out.len() - *at {
                return Err(Damaged);
            }
            repeat(out, from, *at, length);
            *at += length;
        }
        if bits.left() == 0 {
            Ok(())
        } else {
            Err(Damaged)
        }
    }
}

/// How many sequences there are; what stands behind that.
fn count(data: &[u8]) -> Result<(usize, &[u8]), Damaged> {
    match *data {
        [first @ 0..128, ref rest @ ..] => Ok((usize::from(first), rest)),
        [first @ 128..=254, second, ref rest @ ..] => {
            Ok(((usize::from(first) - 128) << 8 | usize::from(second), rest))
        }
        [255, low, high, ref rest @ ..] => {
            Ok((usize::from(u16::from_le_bytes([low, high])) + 0x7f00, rest))
        }
        _ => Err(Damaged),
    }
}

fn literal_length(code: u8, bits: &mut Backward<'_>) -> Option<usize> {
    match code {
        0..16 => Some(usize::from(code)),
        _ => long(&LITERAL_LENGTHS, usize::from(code) - 16, bits),
    }
}

fn match_length(code: u8, bits: &mut Backward<'_>) -> Option<usize> {
    match code {
        0..32 => Some(usize::from(code) + 3),
        _ => long(&MATCH_LENGTHS, usize::from(code) - 32, bits),
    }
}

fn long(table: &[(u32, u32)], index: usize, bits: &mut Backward<'_>) -> Option<usize> {
    let (least, more) = *table.get(index)?;
    usize::try_from(u64::from(least) + bits.read(more)).ok()
}

/// The offset that a value stands for: 1 to 3 are the latest ones, a literal run of none shifts
/// their meaning by one. The list is brought up to date.
fn recent_offset(recent: &mut [usize; 3], value: u64, no_literals: bool) -> Option<usize> {
    let [first, second, third] = *recent;
    let (offset, others) = match (value, no_literals) {
        (1, false) => return Some(first),
        (2, false) | (1, true) => (second, [first, third]),
        (3, false) | (2, true) => (third, [first, second]),
        (3, true) => (first.checked_sub(1)?, [first, second]),
        _ => (
            usize::try_from(value).ok()?.checked_sub(3)?,
            [first, second],
        ),
    };
    let [second, third] = others;
    *recent = [offset, second, third];
    (offset > 0).then_some(offset)
}

/// Writes literals.
fn append(out: &mut [u8], at: &mut usize, literals: &[u8]) -> Result<(), Damaged> {
    let end = *at + literals.len();
    out.get_mut(*at..end)
        .ok_or(Damaged)?
        .copy_from_slice(literals);
    *at = end;
    Ok(())
}
