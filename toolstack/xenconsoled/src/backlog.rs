//! What a guest printed and nobody has read yet, within a limit: the oldest lines go first.

use std::collections::VecDeque;

/// Bytes that wait for a reader.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Backlog {
    /// Holds at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            limit,
        }
    }

    /// Changes the limit.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shorten();
    }

    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.shorten();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The first bytes, as many as lie in one piece.
    pub(crate) fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// Forgets the first `n` bytes: they have been read.
    pub(crate) fn consume(&mut self, n: usize) {
        self.bytes.drain(..n.min(self.bytes.len()));
    }

    /// Drops whole lines from the front until the limit is kept; the rest of a line that is longer than the limit
    /// goes too.
    fn shorten(&mut self) {
        let Some(excess) = self.bytes.len().checked_sub(self.limit).filter(|&n| n > 0) else {
            return;
        };
        let line_end = self.bytes.range(excess - 1..).position(|&b| b == b'\n');
        let drop = line_end.map_or(excess, |at| excess + at);
        self.bytes.drain(..drop.min(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(b: &Backlog) -> String {
        String::from_utf8(b.bytes.iter().copied().collect()).unwrap()
    }

    #[test]
    fn the_oldest_lines_go() {
        let mut b = Backlog::new(12);
        b.push(b"one\ntwo\n");
        b.push(b"three\n");
        assert_eq!(text(&b), "two\nthree\n");
        b.consume(4);
        assert_eq!(text(&b), "three\n");
        b.push(b"0123456789abcdefghij");
        assert_eq!(text(&b), "89abcdefghij");
        b.set_limit(3);
        assert_eq!(text(&b), "hij");
        b.set_limit(0);
        assert!(b.is_empty());
        b.push(b"x");
        assert!(b.is_empty());
    }

    #[test]
    fn a_line_that_just_fits_stays() {
        let mut b = Backlog::new(4);
        b.push(b"ab\nabc\n");
        assert_eq!(text(&b), "abc\n");
    }
}
