//! Bit streams: one kind is read from the start, the lowest bit first, the other from the end.

use super::super::Damaged;

/// Reads from the start.
pub(super) struct Forward<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Forward<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The next `count` (at most 16) bits, which stay there. Past the end they are 0.
    pub(super) fn peek(&self, count: u32) -> u32 {
        let byte = |n: usize| u32::from(self.data.get(self.at / 8 + n).copied().unwrap_or(0));
        let word = byte(0) | byte(1) << 8 | byte(2) << 16;
        word >> (self.at % 8) & ((1 << count) - 1)
    }

    pub(super) fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }

    /// What stands behind the byte that was read last.
    pub(super) fn rest(self) -> Result<&'a [u8], Damaged> {
        self.data.get(self.at.div_ceil(8)..).ok_or(Damaged)
    }
}

/// Reads from the end. The highest bit that is set in the last byte marks the end and is no data.
pub(super) struct Backward<'a> {
    data: &'a [u8],
    /// Bits that are left. More may be asked for: they are 0, and the number goes below zero.
    left: isize,
}

impl<'a> Backward<'a> {
    pub(super) fn new(data: &'a [u8]) -> Result<Self, Damaged> {
        let last = *data.last().ok_or(Damaged)?;
        let mark = last.checked_ilog2().ok_or(Damaged)?;
        let left = (data.len() - 1) * 8 + mark as usize;
        Ok(Self {
            data,
            left: left.cast_signed(),
        })
    }

    /// Bits that are left; negative if more were read than there were.
    pub(super) const fn left(&self) -> isize {
        self.left
    }

    /// The next `count` (at most 32) bits, which stay there.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u64 {
        let mask = (1u64 << count) - 1;
        let start = self.left - count.cast_signed() as isize;
        if start >= 0 {
            let start = start.cast_unsigned();
            self.word(start / 8) >> (start % 8) & mask
        } else {
            // Zeros stand before the data's start.
            let missing = start.unsigned_abs();
            if missing >= 64 {
                0
            } else {
                self.word(0) << missing & mask
            }
        }
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.left -= count.cast_signed() as isize;
    }

    #[inline(always)]
    pub(super) fn read(&mut self, count: u32) -> u64 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// Eight bytes; past the end they are 0.
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        if let Some(word) = self.data.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            return u64::from_le_bytes(*word);
        }
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(self.data.iter().skip(at)) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    }
}
