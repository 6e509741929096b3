//! The x86 branch filter (BCJ): call and jump targets back from absolute to relative.
//!
//! The encoder replaced the 32-bit displacement of E8 and E9 instructions that look like near
//! calls by absolute addresses, which compress better. Which opcodes it took to be calls depends
//! on those shortly before, so the same bookkeeping is done here.

/// Most rounds in which an operand is decoded anew. An encoder needs two at the most; damaged
/// data must not go on for ever.
const ROUNDS: usize = 4;

/// Whether a displacement's top byte is that of a near target.
const fn near(byte: u8) -> bool {
    byte == 0 || byte == 0xff
}

/// Where the first E8 or E9 is. Eight bytes are looked at at once, for most are something else.
fn next_opcode(data: &[u8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = data.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let different = (u64::from_le_bytes(*word) & (EACH * 0xfe)) ^ (EACH * 0xe8);
        // The top bit of the lowest byte that is 0, and perhaps of some above it.
        let found = different.wrapping_sub(EACH) & !different & (EACH * 0x80);
        if found != 0 {
            return Some(n * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let rest_at = data.len() - rest.len();
    rest.iter()
        .position(|byte| byte & 0xfe == 0xe8)
        .map(|place| rest_at + place)
}

/// Undoes the filter on data that stands at position 0 of the stream.
pub(super) fn undo_x86(data: &mut [u8]) {
    // Bit n: an opcode stood n + 1 bytes before and was left alone.
    let mut recent = 0u32;
    let mut last: Option<usize> = None;
    let mut at = 0;
    while at + 5 <= data.len() {
        let Some(skip) = data.get(at..data.len() - 4).and_then(next_opcode) else {
            return;
        };
        at += skip;
        let apart = last.map_or(usize::MAX, |last| at - last);
        recent = if apart > 3 {
            0
        } else {
            (recent << (apart - 1)) & 7
        };
        last = Some(at);
        let Some(operand) = data.get(at + 1..at + 5) else {
            return;
        };
        let &[a, b, c, d] = operand else { return };
        if !(may_be_call(recent, [a, b, c, d]) && near(d)) {
            recent = (recent << 1) | 1;
            at += 1;
            continue;
        }
        // Positions count modulo 2^32.
        let position = ((at as u64 + 5) & 0xffff_ffff) as u32;
        let mut value = u32::from_le_bytes([a, b, c, d]).wrapping_sub(position);
        // An earlier opcode's operand overlaps: the encoder went round until the byte in which
        // they meet did not look like a near target any more.
        let shift = 24 - meeting_byte(recent) * 8;
        for _ in 0..ROUNDS {
            if recent == 0 || !near(((value >> shift) & 0xff) as u8) {
                break;
            }
            let flipped = value ^ (u32::MAX >> (24 - shift));
            value = flipped.wrapping_sub(position);
        }
        // Sign-extend from 25 bits.
        let value = ((value << 7).cast_signed() >> 7).cast_unsigned();
        if let Some(operand) = data.get_mut(at + 1..at + 5) {
            operand.copy_from_slice(&value.to_le_bytes());
        }
        // The opcodes within the operand do not count; `recent` stays for the distance from here.
        at += 5;
    }
}

/// Which byte of the operand, from the top, the operand of the latest of `recent` reaches.
const fn meeting_byte(recent: u32) -> u32 {
    match recent {
        0 => 0,
        1 => 1,
        2 | 3 => 2,
        _ => 3,
    }
}

/// Whether the encoder can have taken an opcode with these others before it for a call.
fn may_be_call(recent: u32, operand: [u8; 4]) -> bool {
    if recent == 0 {
        return true;
    }
    if !matches!(recent, 1 | 2 | 4) {
        return false;
    }
    let [a, b, c, _] = operand;
    let meeting = match meeting_byte(recent) {
        1 => c,
        2 => b,
        _ => a,
    };
    !near(meeting)
}

#[cfg(test)]
mod tests {
    use super::next_opcode;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first_opcode(data in prop::collection::vec(prop_oneof![Just(0xe8u8), Just(0xe9), Just(0xea), Just(0), any::<u8>()], 0..40)) {
            prop_assert_eq!(next_opcode(&data), data.iter().position(|b| matches!(b, 0xe8 | 0xe9)));
        }
    }
}
