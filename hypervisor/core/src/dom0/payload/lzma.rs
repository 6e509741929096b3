//! The LZMA decoder. It writes straight to where the data is to be; that is its dictionary.
//!
//! The format is described in the LZMA SDK's lzma-specification.txt.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::Damaged;
use super::copy::repeat;
use super::range::{HALF, Prob, RangeDecoder};

const POSITION_STATES: usize = 16;
const LITERAL_CODER: usize = 0x300;
/// Most bits of context and position for literals; what LZMA2 allows, and all that encoders of
/// kernels use.
const MAX_LITERAL_BITS: u8 = 4;

/// The three properties of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Properties {
    literal_context: u8,
    literal_position: u8,
    position: u8,
}

impl Properties {
    /// Takes the properties byte apart. `None` for impossible ones.
    pub(super) fn parse(byte: u8) -> Option<Self> {
        if byte >= 9 * 5 * 5 {
            return None;
        }
        let new = Self {
            literal_context: byte % 9,
            literal_position: byte / 9 % 5,
            position: byte / 45,
        };
        (new.literal_context + new.literal_position <= MAX_LITERAL_BITS).then_some(new)
    }
}

/// Probabilities of a match's length.
#[derive(Clone)]
struct Lengths {
    choice: Prob,
    choice2: Prob,
    low: [[Prob; 8]; POSITION_STATES],
    mid: [[Prob; 8]; POSITION_STATES],
    high: [Prob; 256],
}

impl Lengths {
    const NEW: Self = Self {
        choice: HALF,
        choice2: HALF,
        low: [[HALF; 8]; POSITION_STATES],
        mid: [[HALF; 8]; POSITION_STATES],
        high: [HALF; 256],
    };

    #[inline(always)]
    fn decode(&mut self, input: &mut RangeDecoder<'_>, position: usize) -> usize {
        let position = position & (POSITION_STATES - 1);
        if !input.bit(&mut self.choice) {
            2 + input.tree(&mut self.low[position])
        } else if !input.bit(&mut self.choice2) {
            10 + input.tree(&mut self.mid[position])
        } else {
            18 + input.tree(&mut self.high)
        }
    }
}

/// All probabilities but those of literals.
#[derive(Clone)]
struct Probs {
    is_match: [[Prob; POSITION_STATES]; 16],
    is_rep: [Prob; 16],
    is_rep0: [Prob; 16],
    is_rep1: [Prob; 16],
    is_rep2: [Prob; 16],
    is_rep0_long: [[Prob; POSITION_STATES]; 16],
    slot: [[Prob; 64]; 4],
    special: [Prob; 128],
    align: [Prob; 16],
    lengths: Lengths,
    rep_lengths: Lengths,
}

impl Probs {
    const NEW: Self = Self {
        is_match: [[HALF; POSITION_STATES]; 16],
        is_rep: [HALF; 16],
        is_rep0: [HALF; 16],
        is_rep1: [HALF; 16],
        is_rep2: [HALF; 16],
        is_rep0_long: [[HALF; POSITION_STATES]; 16],
        slot: [[HALF; 64]; 4],
        special: [HALF; 128],
        align: [HALF; 16],
        lengths: Lengths::NEW,
        rep_lengths: Lengths::NEW,
    };
}

/// How a run of the decoder ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The wanted number of bytes is there.
    Full,
    /// The end marker was found.
    Marker,
}

/// A decoder's state between pieces of input.
pub(super) struct Lzma {
    properties: Properties,
    probs: Box<Probs>,
    literals: Vec<Prob>,
    state: usize,
    reps: [u32; 4],
}

impl Lzma {
    /// A decoder at its initial state.
    pub(super) fn new(properties: Properties) -> Self {
        let bits = properties.literal_context + properties.literal_position;
        Self {
            properties,
            probs: Box::new(Probs::NEW),
            literals: vec![HALF; LITERAL_CODER << bits],
            state: 0,
            reps: [0; 4],
        }
    }

    /// Back to the initial state with the same properties.
    pub(super) fn reset(&mut self) {
        *self.probs = Probs::NEW;
        self.literals.fill(HALF);
        self.state = 0;
        self.reps = [0; 4];
    }

    /// Decodes until `out` is full; `*at` of its bytes are there already and are the dictionary
    /// from `start` on.
    pub(super) fn decode(
        &mut self,
        input: &mut RangeDecoder<'_>,
        out: &mut [u8],
        start: usize,
        at: &mut usize,
    ) -> Result<Ended, Damaged> {
        let Properties {
            literal_context,
            literal_position,
            position,
        } = self.properties;
        let literal_mask = (1usize << literal_position) - 1;
        let position_mask = (1usize << position) - 1;
        let probs = &mut *self.probs;
        let literals = self.literals.as_mut_slice();
        // Copies of its own, which the compiler keeps in registers.
        let mut range = input.clone();
        let range = &mut range;
        let mut state = self.state;
        let [mut rep0, mut rep1, mut rep2, mut rep3] = self.reps;
        let mut pos = *at;
        let end = out.len();

        let outcome = loop {
            if pos >= end {
                break Ended::Full;
            }
            let position_state = (pos - start) & position_mask & (POSITION_STATES - 1);
            state &= 15;
            if !range.bit(&mut probs.is_match[state][position_state]) {
                let before = if pos > start { out[pos - 1] } else { 0 };
                let context = ((pos - start) & literal_mask) << literal_context
                    | usize::from(before) >> (8 - literal_context);
                let coder = literals
                    .get_mut(context * LITERAL_CODER..)
                    .and_then(|rest| rest.first_chunk_mut::<LITERAL_CODER>())
                    .ok_or(Damaged)?;
                let byte = if state < 7 {
                    plain_literal(range, coder)
                } else {
                    let from = match_source(pos, start, rep0).ok_or(Damaged)?;
                    matched_literal(range, coder, out[from])
                };
                out[pos] = byte;
                pos += 1;
                state = match state {
                    0..4 => 0,
                    4..10 => state - 3,
                    _ => state - 6,
                };
                continue;
            }
            let length;
            if !range.bit(&mut probs.is_rep[state]) {
                rep3 = rep2;
                rep2 = rep1;
                rep1 = rep0;
                length = probs.lengths.decode(range, position_state);
                state = if state < 7 { 7 } else { 10 };
                rep0 = distance(
                    range,
                    &mut probs.slot,
                    &mut probs.special,
                    &mut probs.align,
                    length,
                );
                if rep0 == u32::MAX {
                    break Ended::Marker;
                }
            } else {
                if !range.bit(&mut probs.is_rep0[state]) {
                    if !range.bit(&mut probs.is_rep0_long[state][position_state]) {
                        let from = match_source(pos, start, rep0).ok_or(Damaged)?;
                        out[pos] = out[from];
                        pos += 1;
                        state = if state < 7 { 9 } else { 11 };
                        continue;
                    }
                } else if !range.bit(&mut probs.is_rep1[state]) {
                    (rep0, rep1) = (rep1, rep0);
                } else if !range.bit(&mut probs.is_rep2[state]) {
                    (rep0, rep1, rep2) = (rep2, rep0, rep1);
                } else {
                    (rep0, rep1, rep2, rep3) = (rep3, rep0, rep1, rep2);
                }
                length = probs.rep_lengths.decode(range, position_state);
                state = if state < 7 { 8 } else { 11 };
            }
            let from = match_source(pos, start, rep0).ok_or(Damaged)?;
            if length > end - pos {
                return Err(Damaged);
            }
            repeat(out, from, pos, length);
            pos += length;
        };
        self.state = state;
        self.reps = [rep0, rep1, rep2, rep3];
        *at = pos;
        *input = range.clone();
        if input.overrun() {
            Err(Damaged)
        } else {
            Ok(outcome)
        }
    }
}

/// Where a match `distance + 1` bytes back starts; `None` before the dictionary's start.
#[inline(always)]
fn match_source(pos: usize, start: usize, distance: u32) -> Option<usize> {
    let back = distance as usize;
    if back < pos - start {
        Some(pos - back - 1)
    } else {
        None
    }
}

#[inline(always)]
fn plain_literal(input: &mut RangeDecoder<'_>, coder: &mut [Prob; LITERAL_CODER]) -> u8 {
    let mut node = 1usize;
    for _ in 0..8 {
        node = input.push(&mut coder[node & 0xff], node);
    }
    node.to_le_bytes()[0]
}

/// A literal after a match: the byte that the match would have continued with chooses the
/// probabilities, as long as the bits agree.
#[inline(always)]
fn matched_literal(
    input: &mut RangeDecoder<'_>,
    coder: &mut [Prob; LITERAL_CODER],
    expected: u8,
) -> u8 {
    let mut expected = usize::from(expected);
    let mut offset = 0x100usize;
    let mut node = 1usize;
    for _ in 0..8 {
        expected <<= 1;
        let wanted = expected & offset;
        // Never past the end: the three are at most 0x100, 0x100 and 0xff.
        let Some(prob) = coder.get_mut(offset + wanted + node) else {
            return 0;
        };
        node = input.push(prob, node);
        // The bit agrees with the expected one, or from now on nothing is expected.
        offset &= if node & 1 != 0 { wanted } else { !wanted };
    }
    node.to_le_bytes()[0]
}

/// A match's distance, less one; `u32::MAX` is the end marker.
#[inline(always)]
fn distance(
    input: &mut RangeDecoder<'_>,
    slots: &mut [[Prob; 64]; 4],
    special: &mut [Prob; 128],
    align: &mut [Prob; 16],
    length: usize,
) -> u32 {
    let by_length = (length - 2).min(3);
    let slot = (input.tree(&mut slots[by_length]) as u64 & 63) as u32;
    if slot < 4 {
        return slot;
    }
    let bits = (slot >> 1) - 1;
    let high = (2 | (slot & 1)) << bits;
    if slot < 14 {
        let first = (high - slot) as usize;
        high + input.reverse_tree(special, first, bits)
    } else {
        let middle = input.direct(bits - 4) << 4;
        high.wrapping_add(middle)
            .wrapping_add(input.reverse_tree(align, 0, 4))
    }
}

/// Decodes an `.lzma` file: properties, dictionary size, length or -1, data.
pub(super) fn decode_alone(input: &[u8], out: &mut [u8]) -> Result<usize, Damaged> {
    let (header, data) = input.split_first_chunk::<13>().ok_or(Damaged)?;
    let [properties, _, _, _, _, size @ ..] = *header;
    let properties = Properties::parse(properties).ok_or(Damaged)?;
    let size = u64::from_le_bytes(size);
    let out = if size == u64::MAX {
        out
    } else {
        let size = usize::try_from(size).map_err(|_| Damaged)?;
        out.get_mut(..size).ok_or(Damaged)?
    };
    let mut range = RangeDecoder::new(data).ok_or(Damaged)?;
    let mut at = 0;
    Lzma::new(properties).decode(&mut range, out, 0, &mut at)?;
    Ok(at)
}
