//! Huffman-coded literals (RFC 8878, section 4.2).

use alloc::vec::Vec;

use super::super::Damaged;
use super::bits::Backward;
use super::fse::Table as Fse;

/// Longest code in bits.
const MAX_BITS: u32 = 11;

/// A decoding table: by the next bits, the symbol and how many of them are its code.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    cells: Vec<(u8, u8)>,
    bits: u32,
}

impl Table {
    /// Reads a table's description; returns what stands behind it.
    pub(super) fn read(data: &[u8]) -> Result<(Self, &[u8]), Damaged> {
        let (&head, rest) = data.split_first().ok_or(Damaged)?;
        let mut weights = Vec::new();
        let rest = if head < 128 {
            let (packed, rest) = rest.split_at_checked(usize::from(head)).ok_or(Damaged)?;
            packed_weights(packed, &mut weights)?;
            rest
        } else {
            let count = usize::from(head) - 127;
            let (nibbles, rest) = rest.split_at_checked(count.div_ceil(2)).ok_or(Damaged)?;
            weights.extend(
                nibbles
                    .iter()
                    .flat_map(|byte| [byte >> 4, byte & 15])
                    .take(count),
            );
            rest
        };
        Ok((Self::new(weights)?, rest))
    }

    /// Makes the table. The last symbol's weight is what is missing to a power of two.
    fn new(mut weights: Vec<u8>) -> Result<Self, Damaged> {
        if weights.len() > 255 || weights.iter().any(|weight| u32::from(*weight) > MAX_BITS) {
            return Err(Damaged);
        }
        let share = |weight: u8| (1u32 << weight) >> 1;
        let sum: u32 = weights.iter().map(|weight| share(*weight)).sum();
        let bits = sum.checked_ilog2().ok_or(Damaged)? + 1;
        let missing = (1u32 << bits) - sum;
        if bits > MAX_BITS || !missing.is_power_of_two() {
            return Err(Damaged);
        }
        weights.push(u8::try_from(missing.ilog2() + 1).map_err(|_| Damaged)?);
        // The longest codes come first; among those of one length the order is that of symbols.
        let mut cells = Vec::new();
        for weight in 1..=u8::try_from(bits).map_err(|_| Damaged)? {
            let length = u8::try_from(bits + 1 - u32::from(weight)).map_err(|_| Damaged)?;
            for (symbol, _) in (0u8..=255).zip(&weights).filter(|(_, w)| **w == weight) {
                cells.extend((0..share(weight)).map(|_| (symbol, length)));
            }
        }
        if cells.len() == 1 << bits {
            Ok(Self { cells, bits })
        } else {
            Err(Damaged)
        }
    }

    /// Decodes one stream, which must give exactly as many literals as there is room for.
    pub(super) fn decode(&self, stream: &[u8], out: &mut [u8]) -> Result<(), Damaged> {
        let mut bits = Backward::new(stream)?;
        for place in out {
            let next = usize::try_from(bits.peek(self.bits)).unwrap_or(usize::MAX);
            let (symbol, length) = *self.cells.get(next).ok_or(Damaged)?;
            bits.skip(u32::from(length));
            *place = symbol;
        }
        if bits.left() == 0 {
            Ok(())
        } else {
            Err(Damaged)
        }
    }
}

/// Weights packed by two states that take turns.
fn packed_weights(data: &[u8], weights: &mut Vec<u8>) -> Result<(), Damaged> {
    let (table, stream) = Fse::read(data, 6, usize::from(u8::MAX))?;
    let mut bits = Backward::new(stream)?;
    let mut states = [table.start(&mut bits), table.start(&mut bits)];
    if bits.left() < 0 {
        return Err(Damaged);
    }
    while weights.len() < 256 {
        let [this, other] = &mut states;
        weights.push(this.symbol(&table));
        this.advance(&table, &mut bits);
        if bits.left() < 0 {
            weights.push(other.symbol(&table));
            return Ok(());
        }
        states.swap(0, 1);
    }
    Err(Damaged)
}
