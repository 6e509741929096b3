//! Copying matches within the output.

/// For distances below a word's size: the smallest multiple that is not.
const STRIDES: [usize; WORD] = [WORD, 8, 8, 9, 8, 10, 12, 14];
const WORD: usize = 8;

/// Copies `length` bytes within `out` from `from` to `to`, which lies behind it; what is written
/// is read again where the two overlap. Both ends are within `out`.
///
/// Words are copied where possible, also past the end of the match: what is there is written
/// later anyway.
#[inline(always)]
pub(super) fn repeat(out: &mut [u8], from: usize, to: usize, length: usize) {
    let back = to - from;
    let end = to + length;
    let stride = STRIDES.get(back).copied().unwrap_or(back);
    let words = end + WORD <= out.len();
    // Bytes, until a word at a whole number of distances before is there.
    let bytes_end = if words { end.min(from + stride) } else { end };
    let mut at = to;
    while at < bytes_end {
        out[at] = out[at - back];
        at += 1;
    }
    while at < end {
        let Some(word) = out
            .get(at - stride..)
            .and_then(|rest| rest.first_chunk::<WORD>())
        else {
            return;
        };
        let word = *word;
        let Some(place) = out
            .get_mut(at..)
            .and_then(|rest| rest.first_chunk_mut::<WORD>())
        else {
            return;
        };
        *place = word;
        at += WORD;
    }
}

#[cfg(test)]
mod tests {
    use super::repeat;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn copies_byte_by_byte(start in prop::collection::vec(any::<u8>(), 1..40), back in 1usize..40, length in 0usize..60, room in 0usize..20) {
            let to = start.len();
            let back = back.min(to);
            let mut expected = start.clone();
            for at in to..to + length {
                expected.push(expected[at - back]);
            }
            let mut out: Vec<u8> = start;
            out.resize(to + length + room, 0);
            repeat(&mut out, to - back, to, length);
            prop_assert_eq!(&out[..to + length], expected);
        }
    }
}
