//! What arguments are made of: addresses, frames and numbers that are likely to hit something.

use crate::rng::Rng;

/// Frames that the calls of all vCPUs play with.
pub const PLAY: usize = 24;

/// What a vCPU's calls may name.
#[derive(Clone)]
pub struct Material {
    /// Addresses of the vCPU's own buffers.
    pub buffers: [u64; 4],
    /// Machine frames of the domain's own, shared by its vCPUs.
    pub frames: [u64; PLAY],
    /// Where those are mapped.
    pub places: [u64; PLAY],
    /// Machine addresses of the entries that map them.
    pub entries: [u64; PLAY],
    /// Address of a page that is mapped read-only.
    pub read_only: u64,
    /// Address of a page behind which nothing is mapped.
    pub edge: u64,
    /// Address of the mapped grant table.
    pub grants: u64,
    /// The domain's number.
    pub domain: u64,
    /// Frames that are not the domain's.
    pub foreign: [u64; 4],
    /// The frame of the page tables' root.
    pub root: u64,
}

/// Addresses that are wrong in one way or another.
pub const BAD_ADDRESSES: [u64; 12] = [
    0,
    1,
    0x7000_0000_0000,
    (1 << 47) - 8,
    1 << 47,
    0xffff_7fff_ffff_fff8,
    0xffff_8000_0000_0000,
    0xffff_8300_0000_0000,
    0xffff_87ff_ffff_fff8,
    0xffff_8800_0000_0000,
    0xffff_ffff_ffff_f000,
    u64::MAX,
];

/// Numbers at limits.
const LIMITS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xfff,
    0x1000,
    0x7ff0,
    0x7ff4,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 63,
    u64::MAX,
];

/// Domain numbers: oneself, dom0, the special ones, others.
const DOMAINS: [u64; 8] = [0x7ff0, 0x7ff0, 0, 0x7ff1, 0x7ff2, 0x7ff4, 0x7fff, 900];

impl Material {
    /// An address for an argument: mostly a good one.
    #[must_use]
    pub fn address(&self, rng: &mut Rng) -> u64 {
        match rng.below(32) {
            0 => rng.pick(&BAD_ADDRESSES, 0),
            1 => self.read_only + rng.below(512) * 8,
            // What does not fit ends at nothing.
            2 => self.edge + 4096 - rng.below(64),
            3 => self.buffer(rng) + rng.below(4096),
            4 => self.place(rng) + rng.below(512) * 8,
            _ => self.buffer(rng) + rng.below(64) * 8,
        }
    }

    /// One of the buffers.
    pub fn buffer(&self, rng: &mut Rng) -> u64 {
        rng.pick(&self.buffers, 0)
    }

    /// Where one of the frames is mapped.
    pub fn place(&self, rng: &mut Rng) -> u64 {
        rng.pick(&self.places, 0)
    }

    /// A frame: mostly an own one.
    pub fn frame(&self, rng: &mut Rng) -> u64 {
        match rng.below(24) {
            0 => rng.pick(&self.foreign, 0),
            1 => self.root,
            2 => rng.pick(&LIMITS, 0),
            3 => rng.pick(
                &[0x0fff_ffff_f000 >> 12, 1 << 40, (1 << 52) - 1, u64::MAX],
                0,
            ),
            _ => rng.pick(&self.frames, 0),
        }
    }

    /// A domain's number.
    pub fn domain(&self, rng: &mut Rng) -> u64 {
        match rng.below(3) {
            0 => self.domain,
            _ => rng.pick(&DOMAINS, 0x7ff0),
        }
    }

    /// A domain's number, as structures have it.
    pub fn domid(&self, rng: &mut Rng) -> u16 {
        u16::try_from(self.domain(rng) & 0xffff).unwrap_or(0)
    }

    /// A page-table entry.
    pub fn entry(&self, rng: &mut Rng) -> u64 {
        const FLAGS: [u64; 16] = [
            // Present, accessed, user; with and without write and dirty.
            0x25,
            0x25,
            0x25,
            0x67,
            0x67,
            0x67,
            0,
            0,
            // Superpage, global, cache bits, no-execute, reserved and available bits.
            0xa7,
            0x125,
            0x3f,
            0x8000_0000_0000_0067,
            0x7ff0_0000_0000_0067,
            0xe67,
            0x1,
            0x66,
        ];
        self.frame(rng).wrapping_shl(12) | rng.pick(&FLAGS, 0)
    }

    /// A small number, now and then one at a limit.
    pub fn small(&self, rng: &mut Rng, bound: u64) -> u64 {
        match rng.below(24) {
            0 => rng.pick(&LIMITS, 0),
            _ => rng.below(bound),
        }
    }

    /// The same with 32 bits.
    pub fn small32(&self, rng: &mut Rng, bound: u64) -> u32 {
        u32::try_from(self.small(rng, bound) & 0xffff_ffff).unwrap_or(0)
    }

    /// A value for an argument or for a word in memory.
    #[must_use]
    pub fn value(&self, rng: &mut Rng) -> u64 {
        match rng.below(16) {
            0..=4 => rng.below(40),
            5..=7 => self.address(rng),
            8 | 9 => rng.pick(&LIMITS, 0),
            10 => self.frame(rng),
            11 => self.entry(rng),
            12 => 1 << rng.below(64),
            13 => rng.below(1 << 32),
            // Two halves, as a structure of 32-bit fields has them.
            14 => rng.below(16) << 32 | rng.below(16),
            _ => rng.bits(),
        }
    }
}

#[cfg(test)]
pub(super) fn sample() -> Material {
    Material {
        buffers: [0x1000, 0x2000, 0x3000, 0x4000],
        frames: core::array::from_fn(|n| 0x100 + n as u64),
        places: core::array::from_fn(|n| 0x10_0000 + n as u64 * 4096),
        entries: core::array::from_fn(|n| 0x50_0000 + n as u64 * 8),
        read_only: 0x5000,
        edge: 0x6000,
        grants: 0x8000,
        domain: 3,
        foreign: [0, 1, 2, 3],
        root: 0x99,
    }
}
