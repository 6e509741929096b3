//! Turning messages and guests' bytes into lines, without allocation.

use core::fmt;

/// Bytes of a line that are put together before they go out.
const LINE: usize = 256;

/// Collects formatted text and hands it on in pieces. Each line starts with a prefix.
pub(super) struct LineWriter<'a> {
    out: &'a mut dyn FnMut(&[u8]),
    prefix: &'a str,
    buffer: [u8; LINE],
    used: usize,
    at_start: bool,
}

impl<'a> LineWriter<'a> {
    /// A writer whose pieces go to `out`.
    pub(super) fn new(prefix: &'a str, out: &'a mut dyn FnMut(&[u8])) -> Self {
        Self {
            out,
            prefix,
            buffer: [0; LINE],
            used: 0,
            at_start: true,
        }
    }

    fn put(&mut self, byte: u8) {
        if self.used == LINE {
            self.flush();
        }
        if let Some(place) = self.buffer.get_mut(self.used) {
            *place = byte;
            self.used += 1;
        }
    }

    fn flush(&mut self) {
        if let Some(piece) = self.buffer.get(..self.used) {
            (self.out)(piece);
        }
        self.used = 0;
    }

    /// Ends the line, if one was begun, and hands the rest on.
    pub(super) fn finish(mut self) {
        if !self.at_start {
            self.put(b'\n');
        }
        self.flush();
    }
}

impl fmt::Write for LineWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.at_start {
                for byte in self.prefix.bytes() {
                    self.put(byte);
                }
                self.at_start = false;
            }
            self.put(byte);
            self.at_start = byte == b'\n';
        }
        Ok(())
    }
}

/// What an unprivileged guest has written since its last line's end.
#[derive(Debug)]
pub struct GuestLine {
    bytes: [u8; 120],
    used: usize,
}

impl Default for GuestLine {
    fn default() -> Self {
        Self {
            bytes: [0; 120],
            used: 0,
        }
    }
}

impl GuestLine {
    /// Takes a byte. Gives the line when it is ended or full; bytes that are no printable ASCII
    /// are dropped, for they could play tricks on the terminal of whoever reads the log.
    pub(super) fn push(&mut self, byte: u8) -> Option<GuestText> {
        match byte {
            b'\n' => return self.take(),
            b' '..=b'~' | b'\t' => {
                if let Some(place) = self.bytes.get_mut(self.used) {
                    *place = byte;
                    self.used += 1;
                }
            }
            _ => {}
        }
        if self.used == self.bytes.len() {
            self.take()
        } else {
            None
        }
    }

    fn take(&mut self) -> Option<GuestText> {
        let text = GuestText {
            bytes: self.bytes,
            used: self.used,
        };
        self.used = 0;
        (text.used > 0).then_some(text)
    }
}

/// A line that a guest wrote.
pub(super) struct GuestText {
    bytes: [u8; 120],
    used: usize,
}

impl fmt::Display for GuestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.bytes.get(..self.used).unwrap_or_default();
        f.write_str(core::str::from_utf8(text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use core::fmt::Write;

    fn written(pieces: &[&str]) -> String {
        let mut out = Vec::new();
        let mut sink = |bytes: &[u8]| out.extend_from_slice(bytes);
        let mut writer = LineWriter::new("(XEN) ", &mut sink);
        for piece in pieces {
            writer.write_str(piece).unwrap();
        }
        writer.finish();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_line_has_its_prefix() {
        assert_eq!(written(&["a", "b\nc"]), "(XEN) ab\n(XEN) c\n");
        assert_eq!(written(&["a\n"]), "(XEN) a\n");
        assert_eq!(written(&[]), "");
    }

    #[test]
    fn long_lines_are_whole() {
        let long = "x".repeat(1000);
        assert_eq!(written(&[&long]), format!("(XEN) {long}\n"));
    }

    #[test]
    fn guest_lines_are_printable() {
        let mut line = GuestLine::default();
        let mut got = Vec::new();
        for byte in *b"\x1b[2Jhi\r\n\nyo" {
            got.extend(line.push(byte).map(|l| l.to_string()));
        }
        assert_eq!(got, ["[2Jhi"]);
        let many: Vec<_> = (0..300).filter_map(|_| line.push(b'z')).collect();
        assert_eq!(many.len(), 2);
    }
}
