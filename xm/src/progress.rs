//! Showing what long work is at, to people only.

use std::io::{IsTerminal, Write};

/// A line on standard error that says what is being done; nothing where that is no terminal.
pub(crate) struct Progress {
    shown: bool,
    wanted: bool,
}

impl Progress {
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            shown: false,
            wanted: wanted && std::io::stderr().is_terminal() && can_move_cursor(),
        }
    }

    /// Shows `text` in the place of what was shown before.
    pub(crate) fn show(&mut self, text: &str) {
        if self.wanted {
            self.shown = true;
            self.put(&format!("\r\x1b[K{text}..."));
        }
    }

    /// Removes the line.
    pub(crate) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            self.put("\r\x1b[K");
        }
    }

    fn put(&self, text: &str) {
        let mut err = std::io::stderr();
        // It is only for show.
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

/// Whether the terminal knows more than printing.
fn can_move_cursor() -> bool {
    std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb")
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
