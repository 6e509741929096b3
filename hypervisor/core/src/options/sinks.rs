//! `console=` and `conswitch=`: where the console is, and who gets its input.

/// How a serial port is shared with something else, by the top bit of each byte.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Share {
    /// Not shared.
    #[default]
    No,
    /// The console's bytes have the top bit set (`com2H`).
    High,
    /// The console's bytes have the top bit clear (`com2L`).
    Low,
}

/// Where the console's output goes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sinks {
    /// The first serial port.
    pub com1: Option<Share>,
    /// The second serial port.
    pub com2: Option<Share>,
    /// The screen.
    pub vga: bool,
}

/// What [`Sinks::parse`] takes, for messages.
pub(super) const SINKS_EXPECTED: &str =
    "a list of com1, com2, com1H, com1L, com2H, com2L, vga, none";

impl Sinks {
    /// The manual's default: `com1,vga`.
    pub const USUAL: Self = Self {
        com1: Some(Share::No),
        com2: None,
        vga: true,
    };

    /// Parses the comma-separated list.
    pub fn parse(value: &str) -> Option<Self> {
        let mut sinks = Self::default();
        for part in value.split(',') {
            match part.trim() {
                "vga" => sinks.vga = true,
                "com1" => sinks.com1 = Some(Share::No),
                "com1H" => sinks.com1 = Some(Share::High),
                "com1L" => sinks.com1 = Some(Share::Low),
                "com2" => sinks.com2 = Some(Share::No),
                "com2H" => sinks.com2 = Some(Share::High),
                "com2L" => sinks.com2 = Some(Share::Low),
                "none" => sinks = Self::default(),
                _ => return None,
            }
        }
        Some(sinks)
    }
}

/// Who gets the serial input, and how that is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// The control character that, typed three times, switches; `None` = no switching.
    pub control: Option<u8>,
    /// Whether dom0 gets the input when it boots.
    pub auto: bool,
}

/// What [`Switch::parse`] takes, for messages.
pub(super) const SWITCH_EXPECTED: &str =
    "a letter (or ` for no switching), and optionally x for no switch to dom0 at boot";

impl Default for Switch {
    fn default() -> Self {
        Self {
            control: Some(b'a' & 0x1f),
            auto: true,
        }
    }
}

impl Switch {
    /// Parses `<switch char>[<auto-switch char>]`.
    pub fn parse(value: &str) -> Option<Self> {
        let (first, auto) = match *value.as_bytes() {
            [first] => (first, true),
            [first, second] => (first, second != b'x'),
            _ => return None,
        };
        let control = match first.to_ascii_lowercase() {
            b'`' => None,
            letter @ b'a'..=b'z' => Some(letter & 0x1f),
            _ => return None,
        };
        Some(Self { control, auto })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks() {
        assert_eq!(Sinks::parse("com1,vga"), Some(Sinks::USUAL));
        let high = Sinks {
            com2: Some(Share::High),
            ..Sinks::default()
        };
        assert_eq!(Sinks::parse("com2H"), Some(high));
        assert_eq!(Sinks::parse("none"), Some(Sinks::default()));
        assert_eq!(Sinks::parse("com3"), None);
        assert_eq!(Sinks::parse(""), None);
    }

    #[test]
    fn switch() {
        assert_eq!(
            Switch::parse("a"),
            Some(Switch {
                control: Some(1),
                auto: true
            })
        );
        assert_eq!(
            Switch::parse("bx"),
            Some(Switch {
                control: Some(2),
                auto: false
            })
        );
        assert_eq!(
            Switch::parse("`"),
            Some(Switch {
                control: None,
                auto: true
            })
        );
        for text in ["", "1", "abc", "é"] {
            assert_eq!(Switch::parse(text), None, "{text}");
        }
    }
}
