//! Which machine frames a domain's pseudo-physical frames are, while it is being built.

use alloc::vec::Vec;

use crate::types::Mfn;

/// Machine frames in pseudo-physical order, as runs of frames in a row.
#[derive(Clone, Default, Debug)]
pub(crate) struct Extents {
    /// First pseudo-physical frame, first machine frame, count; in ascending order, no gaps.
    runs: Vec<(u64, Mfn, u64)>,
    total: u64,
}

impl Extents {
    /// Adds machine frames at the end.
    pub(crate) fn push(&mut self, first: Mfn, count: u64) {
        match self.runs.last_mut() {
            Some((_, start, length)) if start.0 + *length == first.0 => *length += count,
            _ if count > 0 => self.runs.push((self.total, first, count)),
            _ => {}
        }
        self.total += count;
    }

    /// How many frames there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The machine frame of a pseudo-physical one.
    pub(crate) fn get(&self, frame: u64) -> Option<Mfn> {
        let run = self
            .runs
            .partition_point(|(first, _, _)| *first <= frame)
            .checked_sub(1)?;
        let (first, start, count) = self.runs.get(run)?;
        (frame - first < *count).then(|| start.offset(frame - first))
    }

    /// All machine frames, in pseudo-physical order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Mfn> + '_ {
        self.runs
            .iter()
            .flat_map(|(_, start, count)| (0..*count).map(|n| start.offset(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_list(pieces in prop::collection::vec((0u64..100, 0u64..5), 0..20)) {
            let (mut extents, mut list) = (Extents::default(), Vec::new());
            for (first, count) in pieces {
                extents.push(Mfn(first), count);
                list.extend((first..first + count).map(Mfn));
            }
            prop_assert_eq!(extents.total(), list.len() as u64);
            prop_assert_eq!(extents.iter().collect::<Vec<_>>(), list.clone());
            for (frame, mfn) in (0u64..).zip(&list) {
                prop_assert_eq!(extents.get(frame), Some(*mfn));
            }
            prop_assert_eq!(extents.get(list.len() as u64), None);
        }
    }
}
