//! The battery-backed clock of the PC, read once at boot (MC146818 data sheet).

/// Date and time of day, in binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// With its century.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
}

impl Time {
    /// From the registers: seconds, minutes, hours, day, month, year, and status register B, which says how they are
    /// coded.
    pub fn from_registers(values: [u8; 6], status_b: u8) -> Self {
        let binary = |value: u8| {
            if status_b & 4 != 0 {
                u32::from(value)
            } else {
                u32::from(value >> 4) * 10 + u32::from(value & 15)
            }
        };
        let [second, minute, hour, day, month, year] = values;
        let afternoon = hour & 0x80 != 0;
        let mut hours = binary(hour & 0x7f);
        if status_b & 2 == 0 {
            hours = hours % 12 + if afternoon { 12 } else { 0 };
        }
        let year = binary(year);
        Self {
            year: year + if year < 70 { 2000 } else { 1900 },
            month: binary(month),
            day: binary(day),
            hour: hours,
            minute: binary(minute),
            second: binary(second),
        }
    }

    /// Seconds since 1970, taking the clock to run in UTC. 0 if the date makes no sense.
    pub fn unix_seconds(&self) -> u64 {
        if !(1..=12).contains(&self.month) || !(1..=31).contains(&self.day) || self.year < 1970 {
            return 0;
        }
        // Years that begin in March, so that the leap day is the last.
        let (year, month) = if self.month > 2 {
            (self.year, self.month - 3)
        } else {
            (self.year - 1, self.month + 9)
        };
        let days_of_years = 365 * year + year / 4 - year / 100 + year / 400;
        let days_of_months = (153 * month + 2) / 5;
        // 719468 is 1970-01-01 by that count.
        let days = u64::from(days_of_years + days_of_months + self.day - 1) - 719_468;
        days * 86_400 + u64::from(self.hour * 3600 + self.minute * 60 + self.second)
    }
}

/// Reads the clock. Waits while it is being updated, at the most until `polls` tries have failed.
#[cfg(target_os = "none")]
pub(super) fn read() -> Time {
    const UPDATING: u8 = 0x80;
    /// About a second on silicon.
    const POLLS: u32 = 500_000;
    let registers = || [0u8, 2, 4, 7, 8, 9].map(register);
    let mut polls = 0;
    loop {
        while register(0xa) & UPDATING != 0 && polls < POLLS {
            polls += 1;
        }
        let first = registers();
        // Read twice: an update may have begun in between.
        if first == registers() || polls >= POLLS {
            return Time::from_registers(first, register(0xb));
        }
        polls += 1;
    }
}

#[cfg(target_os = "none")]
fn register(index: u8) -> u8 {
    use crate::pio::{inb, outb};
    // Bit 7 would mask NMI.
    outb(0x70, index);
    inb(0x71)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codings_are_read() {
        let noon = Time {
            year: 2026,
            month: 1,
            day: 31,
            hour: 12,
            minute: 59,
            second: 7,
        };
        assert_eq!(
            Time::from_registers([7, 0x59, 0x12, 0x31, 1, 0x26], 2),
            noon
        );
        assert_eq!(Time::from_registers([7, 59, 0x8c, 31, 1, 26], 4), noon);
        assert_eq!(
            Time::from_registers([7, 0x59, 0x12, 0x31, 1, 0x26], 0).hour,
            0
        );
    }

    #[test]
    fn seconds_count_leap_days() {
        let at = |year, month, day| {
            Time {
                year,
                month,
                day,
                hour: 0,
                minute: 0,
                second: 0,
            }
            .unix_seconds()
        };
        assert_eq!(at(1970, 1, 1), 0);
        assert_eq!(at(2000, 3, 1), 951_868_800);
        assert_eq!(at(2026, 7, 4), 1_783_123_200);
        assert_eq!(at(2026, 0, 4), 0);
        assert_eq!(at(2026, 13, 40), 0);
    }
}
