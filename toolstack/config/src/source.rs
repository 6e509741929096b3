//! The text of a configuration file and positions in it.

use std::fmt;
use std::path::Path;

/// Largest file that is read, in bytes. Xen's own examples are below 20 KiB.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// A half-open range of byte offsets in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte; never below `start`.
    pub end: usize,
}

impl Span {
    /// The span from `start` to `end`, empty if they are the wrong way round.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// The smallest span that holds both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start.min(other.start), self.end.max(other.end))
    }
}

/// A named piece of configuration text: a file, or one command-line override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What messages call it: the file's path, or "command line".
    pub name: String,
    /// The text.
    pub text: String,
}

/// A line and a column, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Source {
    /// Text with a name for messages.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Reads `path`, refusing files that are not text or are too large.
    ///
    /// # Errors
    /// A sentence that names the path and the reason.
    pub fn read(path: &Path) -> Result<Self, String> {
        use std::io::Read;
        let shown = path.display();
        let file = std::fs::File::open(path).map_err(|e| format!("cannot open {shown}: {e}"))?;
        let meta = file
            .metadata()
            .map_err(|e| format!("cannot read {shown}: {e}"))?;
        if meta.is_dir() {
            return Err(format!("{shown} is a directory, not a configuration file"));
        }
        let mut bytes = Vec::new();
        // One byte more than allowed, so that a file that is too large is told from one that fits.
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("cannot read {shown}: {e}"))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!(
                "{shown} is larger than {MAX_FILE_BYTES} bytes; is it a configuration file?"
            ));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{shown} is not UTF-8 text; is it a configuration file?"))?;
        Ok(Self::new(shown.to_string(), text))
    }

    /// Where byte `offset` is. Offsets past the end give the last position.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let mut line = 1;
        let mut column = 1;
        for (at, c) in self.text.char_indices() {
            if at >= offset {
                break;
            }
            if c == '\n' {
                line += 1;
                column = 1;
            } else {
                column += 1;
            }
        }
        Position { line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let source = Source::new("f", "a=1\nµ=2\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(4), Position { line: 2, column: 1 });
        // The Greek letter takes two bytes and one column.
        assert_eq!(source.position(6), Position { line: 2, column: 2 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
    }

    #[test]
    fn missing_file_is_named() {
        let e = Source::read(Path::new("/nonexistent/demo")).unwrap_err();
        assert!(e.contains("/nonexistent/demo"), "{e}");
    }
}
