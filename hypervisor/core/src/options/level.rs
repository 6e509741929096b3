//! `loglvl=` and `guest_loglvl=`: which messages are printed.

/// How serious a message is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is odd.
    Warning,
    /// Something happened.
    Info,
    /// For those who look for a fault.
    Debug,
}

/// Which levels are printed, and which of them at a limited rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    /// Printed always: this level and the more serious ones.
    pub always: Option<Level>,
    /// Printed at a limited rate: what `always` leaves out, down to this level.
    pub limited: Option<Level>,
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is printed.
    Print,
    /// It is printed if the rate limit allows.
    Limit,
    /// It is dropped.
    Drop,
}

/// What [`Levels::parse`] takes, for messages.
pub(super) const EXPECTED: &str =
    "<level>[/<rate-limited level>], each none, error, warning, info, debug or all";

impl Levels {
    /// Parses `<level>[/<level>]`.
    pub fn parse(value: &str) -> Option<Self> {
        let (always, limited) = match value.split_once('/') {
            Some((always, limited)) => (level(always)?, level(limited)?),
            None => (level(value)?, level(value)?),
        };
        Some(Self {
            always,
            limited: always.max(limited),
        })
    }

    /// What becomes of a message of this level.
    pub fn fate(self, level: Level) -> Fate {
        // `None` is below every level, so a threshold of none drops all.
        if Some(level) <= self.always {
            Fate::Print
        } else if Some(level) <= self.limited {
            Fate::Limit
        } else {
            Fate::Drop
        }
    }
}

#[allow(
    clippy::option_option,
    reason = "outer: was it a level at all; inner: `none`"
)]
fn level(text: &str) -> Option<Option<Level>> {
    Some(match text {
        "none" => None,
        "error" => Some(Level::Error),
        "warning" => Some(Level::Warning),
        "info" => Some(Level::Info),
        "debug" | "all" => Some(Level::Debug),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_and_two() {
        let levels = Levels::parse("warning").unwrap();
        assert_eq!(levels.fate(Level::Warning), Fate::Print);
        assert_eq!(levels.fate(Level::Info), Fate::Drop);
        let levels = Levels::parse("none/warning").unwrap();
        assert_eq!(levels.fate(Level::Error), Fate::Limit);
        assert_eq!(levels.fate(Level::Info), Fate::Drop);
        let levels = Levels::parse("error/all").unwrap();
        assert_eq!(levels.fate(Level::Error), Fate::Print);
        assert_eq!(levels.fate(Level::Debug), Fate::Limit);
    }

    #[test]
    fn a_lower_second_level_limits_nothing() {
        assert_eq!(Levels::parse("info/error"), Levels::parse("info"));
    }

    #[test]
    fn wrong_levels() {
        for text in ["", "loud", "info/", "/info", "info/debug/all"] {
            assert_eq!(Levels::parse(text), None, "{text}");
        }
    }
}
