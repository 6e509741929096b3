//! What the BIOS is asked at boot.

/// `edd=`: what it is asked about its disks (Enhanced Disk Drive services).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Edd {
    /// Their parameters, and the signatures of their boot sectors.
    #[default]
    On,
    /// Their parameters. No disk is read.
    SkipMbr,
    /// Nothing.
    Off,
}

/// What [`Edd::parse`] takes, for messages.
pub(super) const EDD_EXPECTED: &str = "off, on or skipmbr";

impl Edd {
    /// Parses the option's value.
    pub fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "on" => Self::On,
            "skipmbr" => Self::SkipMbr,
            "off" => Self::Off,
            _ => return None,
        })
    }
}

/// `edid=`: whether it is asked for the display's description of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Edid {
    /// If it says that it has a channel to the display.
    #[default]
    IfReachable,
    /// Whatever it says.
    Force,
    /// Not at all.
    No,
}

/// What [`Edid::parse`] takes, for messages.
pub(super) const EDID_EXPECTED: &str = "no or force";

impl Edid {
    /// Parses the option's value.
    pub fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "no" => Self::No,
            "force" => Self::Force,
            _ => return None,
        })
    }
}
