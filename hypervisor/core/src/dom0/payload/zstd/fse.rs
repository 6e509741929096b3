//! Finite-state entropy: tables by which a state gives a symbol and how to get to the next state
//! (RFC 8878, section 4.1).

use alloc::vec::Vec;

use super::super::Damaged;
use super::bits::{Backward, Forward};

/// What a state says.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    symbol: u8,
    /// Bits to read for the next state.
    bits: u8,
    /// What is added to them.
    base: u16,
}

/// A decoding table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    cells: Vec<Cell>,
    log: u32,
}

impl Table {
    /// A table with one state, which gives always the same symbol.
    pub(super) fn constant(symbol: u8) -> Self {
        Self {
            cells: [Cell {
                symbol,
                bits: 0,
                base: 0,
            }]
            .to_vec(),
            log: 0,
        }
    }

    /// Reads a table's description: at most `max_log` bits of accuracy, symbols up to
    /// `max_symbol`. Returns what stands behind it.
    pub(super) fn read(
        data: &[u8],
        max_log: u32,
        max_symbol: usize,
    ) -> Result<(Self, &[u8]), Damaged> {
        let mut bits = Forward::new(data);
        let log = bits.peek(4) + 5;
        bits.skip(4);
        if log > max_log {
            return Err(Damaged);
        }
        let mut shares: Vec<i16> = Vec::new();
        let mut left = 1i32 << log;
        while left > 0 {
            if shares.len() > max_symbol {
                return Err(Damaged);
            }
            // A number up to left + 1, the smaller ones in one bit less.
            let width = (left + 1).ilog2() + 1;
            let low_mask = (1u32 << (width - 1)) - 1;
            let short = (1u32 << width) - 1 - (left + 1).cast_unsigned();
            let mut value = bits.peek(width);
            if value & low_mask < short {
                bits.skip(width - 1);
                value &= low_mask;
            } else {
                bits.skip(width);
                if value > low_mask {
                    value -= short;
                }
            }
            let share = i16::try_from(value).map_err(|_| Damaged)? - 1;
            left -= i32::from(share.abs());
            shares.push(share);
            if share == 0 {
                loop {
                    let more = bits.peek(2);
                    bits.skip(2);
                    shares.extend((0..more).map(|_| 0));
                    if more != 3 || shares.len() > max_symbol {
                        break;
                    }
                }
            }
        }
        if left != 0 || shares.len() > max_symbol + 1 {
            return Err(Damaged);
        }
        Ok((Self::new(&shares, log)?, bits.rest()?))
    }

    /// Makes a table of 2^`log` states; each symbol has its share of them, -1 means less than one.
    pub(super) fn new(shares: &[i16], log: u32) -> Result<Self, Damaged> {
        let size = 1usize << log;
        let mut cells = alloc::vec![Cell::default(); size];
        let mut next: Vec<u16> = Vec::new();
        // Symbols of less than one state have one at the end.
        let mut high = size;
        for (symbol, share) in (0u8..).zip(shares) {
            if *share == -1 {
                high = high.checked_sub(1).ok_or(Damaged)?;
                cells.get_mut(high).ok_or(Damaged)?.symbol = symbol;
            }
            next.push(share.unsigned_abs());
        }
        // The others are strewn over the rest.
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for (symbol, share) in (0u8..).zip(shares) {
            for _ in 0..(*share).max(0) {
                cells.get_mut(at).ok_or(Damaged)?.symbol = symbol;
                at = (at + step) & (size - 1);
                let mut tries = 0;
                while at >= high {
                    at = (at + step) & (size - 1);
                    tries += 1;
                    if tries > size {
                        return Err(Damaged);
                    }
                }
            }
        }
        if at != 0 {
            return Err(Damaged);
        }
        for cell in &mut cells {
            let number = next.get_mut(usize::from(cell.symbol)).ok_or(Damaged)?;
            let bits = log - number.checked_ilog2().ok_or(Damaged)?;
            cell.bits = u8::try_from(bits).map_err(|_| Damaged)?;
            let base = (usize::from(*number) << bits) - size;
            cell.base = u16::try_from(base).map_err(|_| Damaged)?;
            *number += 1;
        }
        Ok(Self { cells, log })
    }

    /// The first state, from the stream.
    pub(super) fn start(&self, bits: &mut Backward<'_>) -> State {
        State {
            at: index(bits.read(self.log)),
        }
    }
}

/// Where a decoder is in a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    at: usize,
}

impl State {
    #[inline(always)]
    fn cell(self, table: &Table) -> Cell {
        table.cells.get(self.at).copied().unwrap_or_default()
    }

    /// The symbol of the state.
    #[inline(always)]
    pub(super) fn symbol(self, table: &Table) -> u8 {
        self.cell(table).symbol
    }

    /// Goes on to the next state.
    #[inline(always)]
    pub(super) fn advance(&mut self, table: &Table, bits: &mut Backward<'_>) {
        let cell = self.cell(table);
        self.at = usize::from(cell.base) + index(bits.read(u32::from(cell.bits)));
    }
}

/// A number of a few bits as an index.
#[inline(always)]
fn index(bits: u64) -> usize {
    usize::try_from(bits).unwrap_or(usize::MAX)
}
