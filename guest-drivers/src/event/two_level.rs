//! The 2-level ABI: a selector word for each vCPU, and 64 words of pending and mask bits.

use core::sync::atomic::{AtomicU64, Ordering};

/// Takes all pending and unmasked ports whose word is selected, and calls `handle` for each.
pub fn consume(
    selector: &AtomicU64,
    pending: &[AtomicU64; 64],
    mask: &[AtomicU64; 64],
    mut handle: impl FnMut(u32),
) {
    let mut selected = selector.swap(0, Ordering::AcqRel);
    while selected != 0 {
        let word = selected.trailing_zeros();
        selected &= selected - 1;
        let Some((pending, mask)) = pending.get(word as usize).zip(mask.get(word as usize)) else {
            continue;
        };
        let mut bits = pending.load(Ordering::Acquire) & !mask.load(Ordering::Acquire);
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            pending.fetch_and(!(1 << bit), Ordering::AcqRel);
            handle(word * 64 + bit);
        }
    }
}

/// Sets or clears a port's mask bit. A port that is pending when it is unmasked needs the unmask
/// hypercall to be delivered.
pub fn set_mask(mask: &[AtomicU64; 64], port: u32, masked: bool) {
    let bit = 1 << (port % 64);
    if let Some(word) = mask.get(port as usize / 64) {
        if masked {
            word.fetch_or(bit, Ordering::AcqRel);
        } else {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

/// Whether a port's bit is set.
#[must_use]
pub fn is_set(words: &[AtomicU64; 64], port: u32) -> bool {
    words
        .get(port as usize / 64)
        .is_some_and(|word| word.load(Ordering::Acquire) >> (port % 64) & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [AtomicU64; 64] {
        [const { AtomicU64::new(0) }; 64]
    }

    #[test]
    fn takes_what_is_selected_and_not_masked() {
        let (selector, pending, mask) = (AtomicU64::new(0b101), words(), words());
        pending[0].store(0b110, Ordering::Relaxed);
        pending[1].store(1, Ordering::Relaxed);
        pending[2].store(1 << 63, Ordering::Relaxed);
        set_mask(&mask, 1, true);
        let mut seen = [0; 4];
        let mut used = 0;
        consume(&selector, &pending, &mask, |port| {
            seen[used] = port;
            used += 1;
        });
        assert_eq!(&seen[..used], [2, 191]);
        assert!(is_set(&pending, 1), "masked stays pending");
        assert!(is_set(&pending, 64), "not selected stays pending");
        assert_eq!(selector.load(Ordering::Relaxed), 0);
        set_mask(&mask, 1, false);
        assert!(!is_set(&mask, 1));
    }
}
