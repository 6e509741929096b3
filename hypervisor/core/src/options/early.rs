//! The options that are needed before there is memory to parse all of them: where the console is.

use super::{Serial, Sinks, boolean, words};

/// Where the first line is printed. Parsing it allocates nothing; the values are those that
/// [`Options::parse`](super::Options::parse) gives later on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EarlyConsole {
    /// `com1=`.
    pub com1: Serial,
    /// `com2=`.
    pub com2: Serial,
    /// `console=`.
    pub sinks: Sinks,
    /// `sync_console`.
    pub synchronous: bool,
}

impl Default for EarlyConsole {
    fn default() -> Self {
        Self {
            com1: Serial::COM1,
            com2: Serial::COM2,
            sinks: Sinks::USUAL,
            synchronous: false,
        }
    }
}

impl EarlyConsole {
    /// Looks for the options in a command line. Wrong values leave what was before.
    pub fn parse(command_line: &str) -> Self {
        let mut early = Self::default();
        for word in words(super::own(command_line)) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "com1" => early.com1 = early.com1.parse(value).unwrap_or(early.com1),
                "com2" => early.com2 = early.com2.parse(value).unwrap_or(early.com2),
                "console" => early.sinks = Sinks::parse(value).unwrap_or(early.sinks),
                "sync_console" if value.is_empty() => early.synchronous = true,
                "sync_console" => early.synchronous = boolean(value).unwrap_or(early.synchronous),
                "no-sync_console" => early.synchronous = false,
                _ => {}
            }
        }
        early
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_finds_them_anywhere() {
        let line = "noreboot com1=9600, 8n1, 0x408, 5 console=com2H,vga sync_console com2=auto -- console=com1";
        let early = EarlyConsole::parse(line);
        assert_eq!((early.com1.io_base, early.com1.irq), (0x408, 5));
        assert_eq!(early.com2.baud, None);
        assert_eq!(early.sinks, Sinks::parse("com2H,vga").unwrap());
        assert!(early.synchronous);
    }

    proptest! {
        #[test]
        fn it_sees_what_the_whole_parser_sees(
            parts in prop::collection::vec(
                "(com1=|com2=|console=|no-|)(sync_console|9600|auto|,8n1|com2|com1L|vga|--|=no|, )?",
                0..12,
            ),
        ) {
            let line = parts.join(" ");
            let early = EarlyConsole::parse(&line);
            let (whole, _) = Options::parse(&line);
            prop_assert_eq!(early.com1, whole.com1);
            prop_assert_eq!(early.com2, whole.com2);
            prop_assert_eq!(early.sinks, whole.console);
            prop_assert_eq!(early.synchronous, whole.sync_console);
        }
    }
}
