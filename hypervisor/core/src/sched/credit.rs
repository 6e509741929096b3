//! The credit scheduler's arithmetic, apart from everything else.

/// Credits that one CPU's worth of time costs in an accounting period.
pub const PER_PERIOD: i32 = 300;
/// An accounting period in nanoseconds.
pub const PERIOD: u64 = 30_000_000;
/// The longest a vCPU runs before another of its priority gets its turn, in nanoseconds.
pub const SLICE: u64 = 30_000_000;
/// Default weight of a domain.
pub const DEFAULT_WEIGHT: u32 = 256;

/// Who goes first. Lower is sooner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// Just woken, with credits left: runs at once, for a short while.
    Boost,
    /// Has credits.
    Under,
    /// Has used them up.
    Over,
    /// Over its cap: does not run before the next period.
    Parked,
}

/// Credits that running for `ns` costs.
pub fn cost(ns: u64) -> i32 {
    let credits = ns.saturating_mul(PER_PERIOD.unsigned_abs().into()) / PERIOD;
    i32::try_from(credits).unwrap_or(i32::MAX)
}

/// What one vCPU gets for a period: its share of the whole by weight, no more than its cap.
///
/// `weight` of `total_weight` is the domain's; `vcpus` is its number of active vCPUs; `cap` is in
/// per cent of one CPU (0 = none), for the whole domain.
pub fn share(cpus: u32, weight: u32, total_weight: u32, vcpus: u32, cap: u32) -> i32 {
    let whole = u64::from(cpus) * u64::from(PER_PERIOD.unsigned_abs());
    let fair = whole * u64::from(weight) / u64::from(total_weight.max(1));
    let capped = match cap {
        0 => fair,
        cap => fair.min(u64::from(PER_PERIOD.unsigned_abs()) * u64::from(cap) / 100),
    };
    i32::try_from(capped.div_ceil(u64::from(vcpus.max(1)))).unwrap_or(i32::MAX)
}

/// A vCPU's credits and priority after it was given its share.
///
/// Credits are kept within one period's worth, so that nobody saves up or falls behind for
/// ever. A vCPU of a capped domain that is deep in debt is parked.
pub fn settle(credits: i32, share: i32, capped: bool) -> (i32, Priority) {
    let sum = credits.saturating_add(share).clamp(-PER_PERIOD, PER_PERIOD);
    if sum >= 0 {
        (sum, Priority::Under)
    } else if capped {
        (sum, Priority::Parked)
    } else {
        (sum, Priority::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_period_costs_its_credits() {
        assert_eq!(cost(PERIOD), PER_PERIOD);
        assert_eq!(cost(PERIOD / 3), PER_PERIOD / 3);
        assert_eq!(cost(u64::MAX), i32::MAX);
    }

    #[test]
    fn weights_divide_the_host() {
        assert_eq!(share(2, 256, 512, 1, 0), 300);
        assert_eq!(share(2, 512, 768, 2, 0), 200);
        assert_eq!(share(1, 256, 256, 1, 50), 150);
        assert_eq!(share(1, 0, 0, 0, 0), 0);
    }

    proptest! {
        /// Over many periods a busy vCPU is below its share's line about as often as above.
        #[test]
        fn credits_stay_within_a_period(start in -300..=300i32, share in 0..=300i32, runs in prop::collection::vec(0..=30_000_000u64, 0..100)) {
            let mut credits = start;
            for ns in runs {
                let (sum, priority) = settle(credits - cost(ns), share, false);
                prop_assert!((-PER_PERIOD..=PER_PERIOD).contains(&sum));
                prop_assert_eq!(priority == Priority::Under, sum >= 0);
                credits = sum;
            }
        }
    }
}
