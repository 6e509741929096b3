//! From TSC ticks to nanoseconds, in the form that guests get too (struct vcpu_time_info of the public ABI).

/// `ns = ((ticks << shift) * mul_frac) >> 32`, with a negative shift to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Fraction of 2^32.
    pub mul_frac: u32,
    /// Shift before the multiplication.
    pub shift: i8,
}

impl Scale {
    /// For a TSC of `hz` ticks a second; `hz` must be between 1 kHz and 1 THz, and is brought there.
    pub fn of_frequency(hz: u64) -> Self {
        let mut ticks = hz.clamp(1_000, 1_000_000_000_000);
        let mut shift = 0;
        while ticks > 2_000_000_000 {
            ticks >>= 1;
            shift -= 1;
        }
        while ticks <= 1_000_000_000 {
            ticks <<= 1;
            shift += 1;
        }
        // Between 2^31 and 2^32, as `ticks` is between 10^9 and 2 * 10^9.
        Self {
            mul_frac: crate::num::low32((1_000_000_000 << 32) / ticks),
            shift,
        }
    }

    /// Nanoseconds in `ticks`.
    #[inline]
    pub const fn nanoseconds(self, ticks: u64) -> u64 {
        let shifted = if self.shift < 0 {
            ticks >> -self.shift
        } else {
            ticks << self.shift
        };
        low64((shifted as u128 * self.mul_frac as u128) >> 32)
    }

    /// The fewest ticks that make `nanoseconds` or more; the greatest number if there is none.
    pub const fn ticks(self, nanoseconds: u64) -> u64 {
        let shifted = ((nanoseconds as u128) << 32).div_ceil(self.mul_frac as u128);
        let ticks = if self.shift < 0 {
            shifted << -self.shift
        } else {
            shifted.div_ceil(1 << self.shift)
        };
        if ticks > u64::MAX as u128 {
            u64::MAX
        } else {
            low64(ticks)
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn low64(value: u128) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_gigahertz_is_one_to_one() {
        let scale = Scale::of_frequency(1_000_000_000);
        assert_eq!(
            scale,
            Scale {
                mul_frac: 1 << 31,
                shift: 1
            }
        );
        assert_eq!(scale.nanoseconds(12_345), 12_345);
        assert_eq!(scale.ticks(12_345), 12_345);
    }

    proptest! {
        #[test]
        fn it_is_exact_to_a_millionth_and_never_late(hz in 1_000u64..1_000_000_000_000, s in 0u64..1000) {
            let scale = Scale::of_frequency(hz);
            let ns = scale.nanoseconds(hz * s);
            prop_assert!(ns.abs_diff(s * 1_000_000_000) <= s * 1000 + 2);
            let ticks = scale.ticks(ns);
            prop_assert!(scale.nanoseconds(ticks) >= ns);
        }
    }
}
