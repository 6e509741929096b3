//! What was wrong with the command line.

use alloc::string::String;
use core::fmt;

/// One thing to tell the user about the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// No option has this name.
    Unknown {
        /// The word as it stands on the command line.
        word: String,
    },
    /// The option does not take this value; its default (or earlier value) stays.
    Value {
        /// The word as it stands on the command line.
        word: String,
        /// What the option takes.
        expected: &'static str,
    },
    /// The option is known and taken, but does nothing.
    NoEffect {
        /// The option's name.
        name: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { word } => {
                write!(f, "boot option '{word}' is not known and is ignored")
            }
            Self::Value { word, expected } => write!(
                f,
                "boot option '{word}' has a wrong value: expected {expected}; the default is taken"
            ),
            Self::NoEffect { name, why } => write!(f, "boot option '{name}' has no effect: {why}"),
        }
    }
}
