//! The range decoder of LZMA: bits with adaptive probabilities.

/// Probability that a bit is 0, in 2048ths.
pub(super) type Prob = u16;

/// What every probability starts at: a half.
pub(super) const HALF: Prob = 1024;

const TOP: u32 = 1 << 24;

/// Decodes bits from a piece of input. Past its end it goes on with zeros, and the caller finds
/// out by [`RangeDecoder::finished`]; so the hot path has no errors.
#[derive(Clone)]
pub(super) struct RangeDecoder<'a> {
    input: core::slice::Iter<'a, u8>,
    overrun: bool,
    range: u32,
    code: u32,
}

impl<'a> RangeDecoder<'a> {
    /// Starts on `input`, whose first five bytes set the decoder up. `None` if there are fewer,
    /// or if the first one is not 0.
    pub(super) fn new(input: &'a [u8]) -> Option<Self> {
        let (&[zero, a, b, c, d], rest) = input.split_first_chunk::<5>()?;
        (zero == 0).then(|| Self {
            input: rest.iter(),
            overrun: false,
            range: u32::MAX,
            code: u32::from_be_bytes([a, b, c, d]),
        })
    }

    /// Whether exactly the whole input was used, and the encoder's last state was reached.
    pub(super) fn finished(&mut self) -> bool {
        self.normalise();
        !self.overrun && self.input.as_slice().is_empty() && self.code == 0
    }

    /// Whether more was used than there is.
    pub(super) fn overrun(&self) -> bool {
        self.overrun
    }

    #[inline(always)]
    fn normalise(&mut self) {
        if self.range < TOP {
            let byte = match self.input.next() {
                Some(byte) => *byte,
                None => {
                    self.overrun = true;
                    0
                }
            };
            self.range <<= 8;
            self.code = (self.code << 8) | u32::from(byte);
        }
    }

    /// One bit, put below those of `bits`; its probability is adapted.
    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "probabilities stay below 2048"
    )]
    pub(super) fn push(&mut self, prob: &mut Prob, bits: usize) -> usize {
        self.normalise();
        let old = u32::from(*prob);
        let bound = (self.range >> 11) * old;
        if self.code < bound {
            self.range = bound;
            *prob = (old + ((2048 - old) >> 5)) as Prob;
            bits << 1
        } else {
            self.range -= bound;
            self.code -= bound;
            *prob = (old - (old >> 5)) as Prob;
            (bits << 1) | 1
        }
    }

    /// One bit.
    #[inline(always)]
    pub(super) fn bit(&mut self, prob: &mut Prob) -> bool {
        self.push(prob, 0) != 0
    }

    /// Bits that are as likely 0 as 1, the highest first.
    #[inline(always)]
    pub(super) fn direct(&mut self, count: u32) -> u32 {
        let mut value = 0;
        for _ in 0..count {
            self.normalise();
            self.range >>= 1;
            // All ones if the bit is 0.
            let zero = (self.code.wrapping_sub(self.range) >> 31).wrapping_neg();
            self.code = self.code.wrapping_sub(self.range & !zero);
            value = (value << 1) | (zero.wrapping_add(1));
        }
        value
    }

    /// A symbol of `BITS` bits by a tree of 2^BITS probabilities, the highest bit first.
    #[inline(always)]
    pub(super) fn tree<const N: usize>(&mut self, probs: &mut [Prob; N]) -> usize {
        let mut node = 1;
        while node < N {
            node = self.push(&mut probs[node & (N - 1)], node);
        }
        node - N
    }

    /// A symbol of `bits` bits, the lowest bit first. Nodes are `first + 1` and on, up to
    /// `first + 2^bits - 1`.
    #[inline(always)]
    pub(super) fn reverse_tree<const N: usize>(
        &mut self,
        probs: &mut [Prob; N],
        first: usize,
        bits: u32,
    ) -> u32 {
        let mut node = 1usize;
        let mut value = 0;
        for bit in 0..bits {
            node = self.push(&mut probs[(first + node) & (N - 1)], node);
            value |= (node as u64 & 1) << bit;
        }
        (value & 0xffff_ffff) as u32
    }
}
