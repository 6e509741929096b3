//! Clocks of known frequency, to measure the TSC against.

use oxen_core::options::ClockSource;

use crate::acpi::{self, Space};
use crate::num::low32;
use crate::paging::{Mmio, map_mmio};
use crate::pio::{inb, inl, outb};

/// Femtoseconds in a second.
const FEMTO: u64 = 1_000_000_000_000_000;

/// A counter of known frequency.
pub(super) enum Reference {
    /// The HPET's main counter, of which the low half is read.
    Hpet {
        /// Its registers.
        registers: Mmio,
        /// Ticks a second.
        hz: u64,
    },
    /// ACPI's timer: 3.579545 MHz, 24 bits.
    PmTimer {
        /// Its port.
        port: u16,
    },
    /// Channel 2 of the 8254, counting down from 65535 once.
    Pit,
}

impl Reference {
    /// The one that is asked for, if it is there, or the best.
    pub(super) fn find(wanted: ClockSource) -> Self {
        let asked = match wanted {
            ClockSource::Best => None,
            ClockSource::Hpet => hpet(),
            ClockSource::PmTimer => pm_timer(),
            ClockSource::Pit => Some(pit()),
        };
        asked.or_else(hpet).or_else(pm_timer).unwrap_or_else(pit)
    }

    /// Its name.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Hpet { .. } => "HPET",
            Self::PmTimer { .. } => "ACPI PM timer",
            Self::Pit => "PIT",
        }
    }

    /// Ticks a second.
    pub(super) const fn hz(&self) -> u64 {
        match self {
            Self::Hpet { hz, .. } => *hz,
            Self::PmTimer { .. } => 3_579_545,
            Self::Pit => 1_193_182,
        }
    }

    /// Ticks from reading `start` to reading `end`, if it did not wrap more than once.
    pub(super) const fn ticks_between(&self, start: u32, end: u32) -> u32 {
        match self {
            Self::Hpet { .. } => end.wrapping_sub(start),
            Self::PmTimer { .. } => end.wrapping_sub(start) & 0xff_ffff,
            Self::Pit => start.wrapping_sub(end) & 0xffff,
        }
    }

    /// The counter.
    pub(super) fn read(&self) -> u32 {
        match self {
            Self::Hpet { registers, .. } => registers.read32(0xf0),
            Self::PmTimer { port } => inl(*port),
            Self::Pit => {
                outb(0x43, 0x80);
                let low = inb(0x42);
                u32::from(u16::from_le_bytes([low, inb(0x42)]))
            }
        }
    }
}

fn pit() -> Reference {
    // Gate on, speaker off; channel 2, mode 0, low byte then high byte.
    outb(0x61, (inb(0x61) & !2) | 1);
    outb(0x43, 0xb0);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
    Reference::Pit
}

fn hpet() -> Option<Reference> {
    let registers = map_mmio(acpi::info().hpet?, 0x400).ok()?;
    let period = u64::from(registers.read32(4));
    // The specification allows no more than 100 ns; all ones is an absent device.
    if period == 0 || period > 100_000_000 {
        return None;
    }
    // Overall enable.
    registers.write32(0x10, registers.read32(0x10) | 1);
    let first = registers.read32(0xf0);
    (0..1000)
        .any(|_| registers.read32(0xf0) != first)
        .then(|| Reference::Hpet {
            registers,
            hz: FEMTO / period,
        })
}

fn pm_timer() -> Option<Reference> {
    let register = acpi::info()
        .fadt?
        .pm_timer
        .filter(|register| register.space == Space::Io)?;
    let port = u16::try_from(low32(register.address)).ok()?;
    let first = inl(port);
    (0..1000)
        .any(|_| inl(port) != first)
        .then_some(Reference::PmTimer { port })
}
