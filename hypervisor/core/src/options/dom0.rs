//! `dom0_mem=` and `dom0_max_vcpus=`.

use super::size::{Amount, amount, number};
use crate::types::{MAX_VCPUS, PAGE_SHIFT};

/// How much memory dom0 gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Dom0Mem {
    /// Precise amount.
    pub size: Option<Amount>,
    /// At least this.
    pub min: Option<Amount>,
    /// At most this; also the reservation that dom0 may balloon up to.
    pub max: Option<Amount>,
}

/// What [`Dom0Mem::parse`] takes, for messages.
pub(super) const MEM_EXPECTED: &str = "a list of [min:|max:][-]<number>[B|K|M|G]";

/// Left for DMA buffers and the hypervisor when no amount is given: a sixteenth of what is
/// available, at most 128 MiB.
const RESERVE_LIMIT: u64 = 128 << (20 - PAGE_SHIFT);

impl Dom0Mem {
    /// Parses the comma-separated list. A part that is given twice counts as given last.
    pub fn parse(value: &str) -> Option<Self> {
        let mut mem = Self::default();
        for part in value.split(',').map(str::trim) {
            if let Some(text) = part.strip_prefix("min:") {
                mem.min = Some(amount(text)?);
            } else if let Some(text) = part.strip_prefix("max:") {
                mem.max = Some(amount(text)?);
            } else {
                mem.size = Some(amount(part)?);
            }
        }
        Some(mem)
    }

    /// The frames that dom0 gets of `available` frames: at least `needed` if there are as many,
    /// never more than `available`.
    pub fn frames(&self, available: u64, needed: u64) -> u64 {
        let resolve = |amount: Amount| {
            let frames = amount.bytes >> PAGE_SHIFT;
            if amount.negative {
                available.saturating_sub(frames)
            } else {
                frames
            }
        };
        let reserve = (available / 16).min(RESERVE_LIMIT);
        let mut frames = self.size.map_or(available - reserve, resolve);
        if let Some(max) = self.max {
            frames = frames.min(resolve(max));
        }
        if let Some(min) = self.min {
            frames = frames.max(resolve(min));
        }
        frames.max(needed).min(available)
    }

    /// The most frames that dom0 may have later on, given what it starts with.
    pub fn max_frames(&self, available: u64, start: u64) -> u64 {
        match self.max {
            Some(Amount {
                bytes,
                negative: false,
            }) => (bytes >> PAGE_SHIFT).max(start),
            Some(Amount {
                bytes,
                negative: true,
            }) => available.saturating_sub(bytes >> PAGE_SHIFT).max(start),
            // Without a maximum dom0 may have the whole machine.
            None => u64::from(u32::MAX),
        }
    }
}

/// How many vCPUs dom0 gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dom0Vcpus {
    /// At least this many.
    pub min: u32,
    /// At most this many.
    pub max: u32,
}

/// What [`Dom0Vcpus::parse`] takes, for messages.
pub(super) const VCPUS_EXPECTED: &str = "<number>, <min>-<max>, <min>- or -<max>, from 1 to 128";

impl Default for Dom0Vcpus {
    fn default() -> Self {
        Self {
            min: 1,
            max: u32::MAX,
        }
    }
}

impl Dom0Vcpus {
    /// Parses a number or a range.
    pub fn parse(value: &str) -> Option<Self> {
        let one = |text: &str, absent: u32| match text {
            "" => Some(absent),
            _ => number(text)
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n >= 1 && *n as usize <= MAX_VCPUS),
        };
        let (min, max) = match value.split_once('-') {
            Some(("", "")) => return None,
            Some((min, max)) => (one(min, 1)?, one(max, u32::MAX)?),
            None if value.is_empty() => return None,
            None => (one(value, 1)?, one(value, 1)?),
        };
        (min <= max).then_some(Self { min, max })
    }

    /// The number for a host of `cpus` CPUs: one a CPU within the bounds. More than there are
    /// CPUs only if that was asked for.
    pub fn count(&self, cpus: usize) -> usize {
        let wanted = u32::try_from(cpus)
            .unwrap_or(u32::MAX)
            .clamp(self.min, self.max);
        (wanted as usize).clamp(1, MAX_VCPUS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 256;

    #[test]
    fn default_leaves_a_sixteenth_or_128_mib() {
        let mem = Dom0Mem::default();
        assert_eq!(mem.frames(1024 * MIB, 0), 960 * MIB);
        assert_eq!(mem.frames(8192 * MIB, 0), 8064 * MIB);
    }

    #[test]
    fn amounts_and_bounds() {
        let frames = |text: &str| Dom0Mem::parse(text).unwrap().frames(2048 * MIB, 0);
        assert_eq!(frames("512M"), 512 * MIB);
        assert_eq!(frames("1048576"), 1024 * MIB);
        assert_eq!(frames("-512M"), 1536 * MIB);
        assert_eq!(frames("min:1G,max:1536M"), 1536 * MIB);
        assert_eq!(frames("min:1G,512M"), 1024 * MIB);
        assert_eq!(frames("max:-1G"), 1024 * MIB);
        assert_eq!(frames("8G"), 2048 * MIB);
    }

    #[test]
    fn the_kernel_gets_what_it_needs() {
        assert_eq!(
            Dom0Mem::parse("1M").unwrap().frames(2048 * MIB, 100 * MIB),
            100 * MIB
        );
        assert_eq!(Dom0Mem::default().frames(50 * MIB, 100 * MIB), 50 * MIB);
    }

    #[test]
    fn vcpus() {
        assert_eq!(Dom0Vcpus::default().count(4), 4);
        assert_eq!(Dom0Vcpus::parse("2").unwrap().count(8), 2);
        assert_eq!(Dom0Vcpus::parse("2").unwrap().count(1), 2);
        assert_eq!(Dom0Vcpus::parse("2-4").unwrap().count(8), 4);
        assert_eq!(Dom0Vcpus::parse("-4").unwrap().count(2), 2);
        assert_eq!(Dom0Vcpus::parse("3-").unwrap().count(2), 3);
        for text in ["", "0", "129", "4-2", "two", "-", "1-2-3"] {
            assert_eq!(Dom0Vcpus::parse(text), None, "{text}");
        }
    }
}
