//! What the time-stamp counter is measured against.

/// `clocksource=`: the clock of known frequency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClockSource {
    /// The best that there is: HPET, ACPI's timer or PIT, in this order.
    #[default]
    Best,
    /// The HPET.
    Hpet,
    /// ACPI's power management timer.
    PmTimer,
    /// The 8254.
    Pit,
}

/// What [`ClockSource::parse`] takes, for messages.
pub(super) const EXPECTED: &str = "hpet, acpi, pit or tsc";

impl ClockSource {
    /// Parses the option's value. Time is told by the TSC in any case, so that `tsc` asks for nothing.
    pub fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "tsc" => Self::Best,
            "hpet" => Self::Hpet,
            "acpi" => Self::PmTimer,
            "pit" => Self::Pit,
            _ => return None,
        })
    }
}
