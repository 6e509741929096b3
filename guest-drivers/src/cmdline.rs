//! The kernel's command line: words, some of them `name=value`.

/// A parsed view of the command line's bytes.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine<'a> {
    text: &'a str,
}

impl<'a> CommandLine<'a> {
    /// Takes the bytes up to the first zero; what is not UTF-8 ends the text.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let bytes = bytes.get(..end).unwrap_or_default();
        let text = match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|valid| core::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        };
        CommandLine { text }
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Value of the last `name=value`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.text
            .split_ascii_whitespace()
            .rev()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Decimal value of the last `name=value`, `default` if there is none or it is no number.
    #[must_use]
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.value(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    /// Whether the word stands there.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.text.split_ascii_whitespace().any(|word| word == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_numbers_and_flags() {
        let line = CommandLine::new(b"kernel mode=hello count=12 debug\0rest=1");
        assert_eq!(line.value("mode"), Some("hello"));
        assert_eq!(line.value("mod"), None);
        assert_eq!(line.number("count", 1), 12);
        assert_eq!(line.number("mode", 7), 7);
        assert!(line.flag("debug"));
        assert_eq!(line.value("rest"), None);
    }

    #[test]
    fn the_last_value_wins_and_bad_bytes_end_the_text() {
        let line = CommandLine::new(b"a=1 a=2 \xff a=3");
        assert_eq!(line.value("a"), Some("2"));
        assert_eq!(CommandLine::new(b"").text(), "");
    }
}
