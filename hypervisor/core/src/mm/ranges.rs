//! Sets of numbers kept as ranges: I/O permissions.

use alloc::vec::Vec;

use oxen_abi::errno::Errno;

/// A set of `u64`, as disjoint ranges in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// First and last member of each range, inclusive.
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the number is in the set.
    pub fn contains(&self, value: u64) -> bool {
        self.contains_range(value, value)
    }

    /// Whether all of `first..=last` is.
    pub fn contains_range(&self, first: u64, last: u64) -> bool {
        let at = self.ranges.partition_point(|(_, end)| *end < first);
        self.ranges
            .get(at)
            .is_some_and(|(start, end)| *start <= first && last <= *end)
    }

    /// Makes sure that the next change needs no memory. `ENOMEM`.
    pub fn make_room(&mut self) -> Result<(), Errno> {
        self.ranges.try_reserve(1).map_err(|_| Errno::ENOMEM)
    }

    /// Adds `first..=last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        self.ranges.retain(|(start, end)| {
            let apart = *end < first.saturating_sub(1) || last.saturating_add(1) < *start;
            if !apart {
                first = first.min(*start);
                last = last.max(*end);
            }
            apart
        });
        let at = self.ranges.partition_point(|(start, _)| *start < first);
        self.ranges.insert(at, (first, last));
    }

    /// Takes `first..=last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Of one range two parts may remain.
        let mut second = None;
        self.ranges.retain_mut(|(start, end)| {
            if *end < first || last < *start {
                return true;
            }
            let beyond = (*end > last).then(|| (last + 1, *end));
            if *start < first {
                *end = first - 1;
                second = beyond;
                return true;
            }
            if let Some(beyond) = beyond {
                (*start, *end) = beyond;
            }
            beyond.is_some()
        });
        if let Some(second) = second {
            let at = self.ranges.partition_point(|range| *range < second);
            self.ranges.insert(at, second);
        }
    }

    /// The ranges, first and last member of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::RangeSet;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(ops in prop::collection::vec((any::<bool>(), 0..64u64, 0..64u64), 0..40)) {
            let (mut ranges, mut model) = (RangeSet::default(), BTreeSet::new());
            for (add, a, b) in ops {
                if add {
                    ranges.insert(a, b);
                    model.extend(a..=b);
                } else {
                    ranges.remove(a, b);
                    (a..=b).for_each(|n| { model.remove(&n); });
                }
                for n in 0..66 {
                    prop_assert_eq!(ranges.contains(n), model.contains(&n));
                }
                prop_assert!(ranges.ranges.is_sorted());
            }
        }
    }

    #[test]
    fn joins_neighbours() {
        let mut set = RangeSet::default();
        set.insert(0, 3);
        set.insert(4, 7);
        assert!(set.contains_range(0, 7));
        assert!(!set.contains_range(0, 8));
        set.insert(u64::MAX, u64::MAX);
        assert!(set.contains(u64::MAX));
    }
}
