//! The frames that a domain was given: how many there are in each piece of the host's memory.
//!
//! A list through the frame table would take eight bytes for each frame of the host. Counts of
//! frames by [`CHUNK`] are enough to find a domain's frames again without looking at all of the
//! host's, and take 1 KiB for each GiB in which the domain has any.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::types::Mfn;

/// log2 of the frames that are counted together: 2 MiB.
const CHUNK: u32 = 9;
/// log2 of the frames of a region, 1 GiB. No block of the heap crosses a region's end.
const REGION: u32 = 18;
/// Chunks of a region.
const CHUNKS: usize = 1 << (REGION - CHUNK);

/// Frames of the domain in each chunk.
type Region = [u16; CHUNKS];

/// Counts of the frames that a domain has.
#[derive(Debug, Default)]
pub(crate) struct OwnedFrames {
    /// By number; `None` where the domain never had a frame.
    regions: Vec<Option<Box<Region>>>,
}

fn region_of(mfn: u64) -> usize {
    usize::try_from(mfn >> REGION).unwrap_or(usize::MAX)
}

fn chunk_of(mfn: u64) -> usize {
    usize::try_from(mfn >> CHUNK).map_or(0, |chunk| chunk % CHUNKS)
}

fn new_region() -> Option<Box<Region>> {
    let mut counts = Vec::new();
    counts.try_reserve_exact(CHUNKS).ok()?;
    counts.resize(CHUNKS, 0);
    counts.into_boxed_slice().try_into().ok()
}

impl OwnedFrames {
    /// Counts `count` frames from `first` in. `false` if there is no memory for the counts:
    /// nothing has changed then.
    pub(crate) fn add(&mut self, first: Mfn, count: u64) -> bool {
        let end = first.0.saturating_add(count);
        for region in region_of(first.0)..=region_of(end.saturating_sub(1)) {
            if !self.make(region) {
                return false;
            }
        }
        let mut at = first.0;
        while at < end {
            let next = ((at >> CHUNK) + 1) << CHUNK;
            let frames = u16::try_from(next.min(end) - at).unwrap_or(0);
            if let Some(counted) = self.counted(at) {
                *counted = counted.saturating_add(frames);
            }
            at = next;
        }
        true
    }

    /// Takes a frame off the counts.
    pub(crate) fn remove(&mut self, mfn: Mfn) {
        if let Some(counted) = self.counted(mfn.0) {
            debug_assert!(*counted != 0, "{mfn:?} was not counted");
            *counted = counted.saturating_sub(1);
        }
    }

    /// The first frame from `from` on that `owns` says is the domain's. Only asks for frames in
    /// chunks of which some are.
    pub(crate) fn next(&self, from: Mfn, owns: impl Fn(Mfn) -> bool) -> Option<Mfn> {
        let first = region_of(from.0);
        for (number, region) in self.regions.iter().enumerate().skip(first) {
            let Some(region) = region else {
                continue;
            };
            let skipped = if number == first { chunk_of(from.0) } else { 0 };
            for (chunk, counted) in region.iter().enumerate().skip(skipped) {
                if *counted == 0 {
                    continue;
                }
                let start = ((number as u64) << REGION) + ((chunk as u64) << CHUNK);
                let mut frames = (start.max(from.0)..start + (1 << CHUNK)).map(Mfn);
                if let Some(found) = frames.find(|mfn| owns(*mfn)) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Makes room for a region's counts; `false` if there is no memory.
    fn make(&mut self, region: usize) -> bool {
        if let Some(missing) = (region + 1).checked_sub(self.regions.len()) {
            if self.regions.try_reserve_exact(missing).is_err() {
                return false;
            }
            self.regions
                .resize_with(self.regions.len() + missing, || None);
        }
        let Some(place) = self.regions.get_mut(region) else {
            return false;
        };
        if place.is_none() {
            *place = new_region();
        }
        place.is_some()
    }

    fn counted(&mut self, mfn: u64) -> Option<&mut u16> {
        let region = self.regions.get_mut(region_of(mfn))?.as_mut()?;
        region.get_mut(chunk_of(mfn))
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// All that `next` finds one after the other.
    fn found(owned: &OwnedFrames, set: &BTreeSet<u64>) -> Vec<u64> {
        let mut all = Vec::new();
        let mut at = Mfn(0);
        while let Some(mfn) = owned.next(at, |mfn| set.contains(&mfn.0)) {
            all.push(mfn.0);
            at = mfn.offset(1);
        }
        all
    }

    #[test]
    fn a_block_over_the_end_of_a_region_is_found_whole() {
        let mut owned = OwnedFrames::default();
        let first = (3 << REGION) - 700;
        let set: BTreeSet<u64> = (first..first + 2000).collect();
        assert!(owned.add(Mfn(first), 2000));
        assert_eq!(found(&owned, &set), set.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn chunks_without_frames_are_not_searched() {
        let mut owned = OwnedFrames::default();
        assert!(owned.add(Mfn(5 << CHUNK), 1));
        owned.remove(Mfn(5 << CHUNK));
        assert!(owned.add(Mfn(900 << CHUNK), 2));
        let asked = owned.next(Mfn(0), |mfn| {
            assert_eq!(mfn.0 >> CHUNK, 900);
            mfn.0 & 1 == 1
        });
        assert_eq!(asked, Some(Mfn((900 << CHUNK) + 1)));
    }

    proptest! {
        /// Whatever comes and goes, exactly what is there is found.
        #[test]
        fn finds_what_a_set_has(steps in prop::collection::vec((any::<bool>(), 0u64..1 << 20, 0u32..12), 1..60)) {
            let mut owned = OwnedFrames::default();
            let mut set = BTreeSet::new();
            for (give, at, order) in steps {
                let first = at >> order << order;
                let block = first..first + (1 << order);
                if give {
                    if set.range(block.clone()).next().is_none() {
                        prop_assert!(owned.add(Mfn(first), 1 << order));
                        set.extend(block);
                    }
                } else if let Some(mfn) = set.range(first..).next().copied() {
                    owned.remove(Mfn(mfn));
                    set.remove(&mfn);
                }
            }
            prop_assert_eq!(found(&owned, &set), set.into_iter().collect::<Vec<_>>());
        }
    }
}
