//! The memory map: sorted, without overlaps, and with what is in use taken out.

use arrayvec::ArrayVec;

use crate::layout::PAGE_SIZE;

/// Most entries of a map.
pub const MAX_REGIONS: usize = 128;

/// What a region is good for. In the order in which overlapping entries win, the last strongest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Memory (type 1).
    Ram,
    /// ACPI tables, memory once they have been read (type 3).
    AcpiReclaimable,
    /// Must be kept over sleep (type 4).
    AcpiNvs,
    /// Not to be used (type 2 and all that is not known).
    Reserved,
    /// Broken memory (type 5).
    Unusable,
}

impl Kind {
    /// From the E820 type number.
    pub const fn from_e820(number: u32) -> Self {
        match number {
            1 => Self::Ram,
            3 => Self::AcpiReclaimable,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            _ => Self::Reserved,
        }
    }

    /// The E820 type number.
    pub const fn to_e820(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiReclaimable => 3,
            Self::AcpiNvs => 4,
            Self::Unusable => 5,
        }
    }
}

/// A piece of the physical address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
}

impl Region {
    /// First byte after it; the last one of the address space is never part of a region.
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// A list of address ranges, first byte and first byte after.
pub type Ranges = ArrayVec<(u64, u64), MAX_REGIONS>;

/// Sorts a firmware's map: entries in ascending order that do not overlap, neighbours of one kind joined, empty ones
/// dropped. Where entries overlap the more restrictive kind wins. Entries that do not fit are dropped, highest first.
pub fn sanitise(raw: &[Region]) -> ArrayVec<Region, MAX_REGIONS> {
    let mut edges = ArrayVec::<u64, { 2 * MAX_REGIONS }>::new();
    for region in raw
        .iter()
        .filter(|region| region.size > 0)
        .take(MAX_REGIONS)
    {
        edges.push(region.start);
        edges.push(region.end());
    }
    edges.sort_unstable();
    let mut out = ArrayVec::<Region, MAX_REGIONS>::new();
    for (&start, &end) in edges.iter().zip(edges.iter().skip(1)) {
        let covering = raw
            .iter()
            .filter(|region| region.start <= start && end <= region.end());
        let Some(kind) = covering
            .map(|region| region.kind)
            .max()
            .filter(|_| start < end)
        else {
            continue;
        };
        let full = out.is_full();
        match out.last_mut() {
            Some(last) if last.kind == kind && last.end() == start => last.size = end - last.start,
            _ if full => break,
            _ => out.push(Region {
                start,
                size: end - start,
                kind,
            }),
        }
    }
    out
}

/// The whole pages of RAM in a sanitised map.
pub fn ram_pages(map: &[Region]) -> Ranges {
    let mut out = Ranges::new();
    for region in map.iter().filter(|region| region.kind == Kind::Ram) {
        let Some(start) = region.start.checked_next_multiple_of(PAGE_SIZE) else {
            continue;
        };
        let end = region.end() & !(PAGE_SIZE - 1);
        if start < end && !out.is_full() {
            out.push((start, end));
        }
    }
    out
}

/// Takes `from..to`, widened to whole pages, out of `ranges`. What does not fit any more is given up, so that nothing
/// that was taken out ever stays in.
pub fn remove(ranges: &mut Ranges, from: u64, to: u64) {
    let (from, to) = (
        from & !(PAGE_SIZE - 1),
        to.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX),
    );
    if from >= to {
        return;
    }
    let mut out = Ranges::new();
    for &(start, end) in ranges.iter() {
        for (a, b) in [(start, end.min(from)), (start.max(to), end)] {
            if a < b && !out.is_full() {
                out.push((a, b));
            }
        }
    }
    *ranges = out;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(start: u64, size: u64, kind: Kind) -> Region {
        Region { start, size, kind }
    }

    #[test]
    fn overlaps_go_to_the_stricter_kind_and_neighbours_join() {
        let map = sanitise(&[
            region(0x10_0000, 0x100_0000, Kind::Ram),
            region(0, 0x9_fc00, Kind::Ram),
            region(0x20_0000, 0x1000, Kind::Reserved),
            region(0x110_0000, 0x1000, Kind::Ram),
            region(0x500, 0, Kind::Unusable),
            region(u64::MAX - 5, 100, Kind::Reserved),
        ]);
        assert_eq!(
            map.as_slice(),
            [
                region(0, 0x9_fc00, Kind::Ram),
                region(0x10_0000, 0x10_0000, Kind::Ram),
                region(0x20_0000, 0x1000, Kind::Reserved),
                region(0x20_1000, 0xf0_0000, Kind::Ram),
                region(u64::MAX - 5, 5, Kind::Reserved),
            ]
        );
        assert_eq!(ram_pages(&map)[0], (0, 0x9_f000));
    }

    #[test]
    fn removal_splits_and_rounds_outwards() {
        let mut ranges = Ranges::new();
        ranges.push((0x1000, 0x9000));
        remove(&mut ranges, 0x3001, 0x3002);
        assert_eq!(ranges.as_slice(), [(0x1000, 0x3000), (0x4000, 0x9000)]);
        remove(&mut ranges, 0, 0x1000);
        remove(&mut ranges, 0x2fff, 0x4fff);
        assert_eq!(ranges.as_slice(), [(0x1000, 0x2000), (0x5000, 0x9000)]);
        remove(&mut ranges, 0, u64::MAX);
        assert!(ranges.is_empty());
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        (1u32..6).prop_map(Kind::from_e820)
    }

    proptest! {
        #[test]
        fn every_byte_keeps_its_strictest_kind(
            raw in prop::collection::vec((0u64..40, 0u64..20, kinds()), 0..20),
        ) {
            let raw: Vec<Region> = raw.into_iter().map(|(start, size, kind)| region(start, size, kind)).collect();
            let map = sanitise(&raw);
            for pair in map.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].start);
                prop_assert!(pair[0].end() < pair[1].start || pair[0].kind != pair[1].kind);
            }
            for byte in 0..64 {
                let of = |map: &[Region]| {
                    map.iter().filter(|r| r.start <= byte && byte < r.end()).map(|r| r.kind).max()
                };
                prop_assert_eq!(of(&raw), of(&map));
            }
        }

        #[test]
        fn removed_pages_are_gone_and_others_stay(
            holes in prop::collection::vec((0u64..64, 0u64..8), 0..20),
        ) {
            let mut ranges = Ranges::new();
            ranges.push((0, 64 * PAGE_SIZE));
            for (start, size) in &holes {
                remove(&mut ranges, start * PAGE_SIZE, (start + size) * PAGE_SIZE);
            }
            for page in 0..64 {
                let removed = holes.iter().any(|(start, size)| (*start..start + size).contains(&page));
                let there = ranges.iter().any(|(a, b)| (*a..*b).contains(&(page * PAGE_SIZE)));
                prop_assert_eq!(removed, !there);
            }
        }
    }
}
