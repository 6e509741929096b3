//! A call with the words in memory that it needs.

use zerocopy::{Immutable, IntoBytes};

use super::calls::Call;

/// Most words that one call writes beforehand.
const WORDS: usize = 160;

/// What to do next: write the words, then make the call.
pub struct Plan {
    /// The call.
    pub call: Call,
    words: [(u64, u64); WORDS],
    used: usize,
}

impl Plan {
    /// A call without words.
    #[must_use]
    pub fn new(number: u64, args: [u64; 6]) -> Self {
        Plan {
            call: Call { number, args },
            words: [(0, 0); WORDS],
            used: 0,
        }
    }

    /// Has a word written. What is too much is left out: what lies there then is as good.
    pub fn put(&mut self, address: u64, value: u64) {
        if let Some(slot) = self.words.get_mut(self.used) {
            *slot = (address, value);
            self.used += 1;
        }
    }

    /// Has a structure written, in whole words. The last one is filled up with zeroes.
    pub fn put_struct<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        for (at, chunk) in (0u64..).zip(value.as_bytes().chunks(8)) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.put(address.wrapping_add(at * 8), u64::from_le_bytes(word));
        }
    }

    /// The words: address and value.
    #[must_use]
    pub fn words(&self) -> &[(u64, u64)] {
        self.words.get(..self.used).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use oxen_abi::mmu::MmuextOp;

    use super::Plan;

    #[test]
    fn structures_become_words() {
        let mut plan = Plan::new(26, [0x1000, 1, 0, 0, 0, 0]);
        plan.put_struct(
            0x1000,
            &MmuextOp {
                cmd: 4,
                arg1: 7,
                ..MmuextOp::default()
            },
        );
        assert_eq!(plan.words(), [(0x1000, 4), (0x1008, 7), (0x1010, 0)]);
    }

    #[test]
    fn too_many_words_are_left_out() {
        let mut plan = Plan::new(0, [0; 6]);
        (0..1000).for_each(|n| plan.put(n, n));
        assert_eq!(plan.words().len(), super::WORDS);
    }
}
