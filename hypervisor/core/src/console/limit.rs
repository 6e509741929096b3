//! The rate limit of messages that guests can cause.

/// Messages in a window.
const BURST: u32 = 10;
/// Length of a window in nanoseconds.
const WINDOW: u64 = 5_000_000_000;

/// Counts messages in windows of 5 s.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    window: u64,
    printed: u32,
    missed: u32,
}

/// Whether a limited message is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is, after a note that this many were dropped before it.
    Print(u32),
    /// It is not.
    Drop,
}

impl RateLimit {
    /// A message comes at system time `now` (nanoseconds).
    pub(super) fn message(&mut self, now: u64) -> Verdict {
        if now.saturating_sub(self.window) >= WINDOW {
            self.window = now;
            self.printed = 0;
        }
        if self.printed < BURST {
            self.printed += 1;
            Verdict::Print(core::mem::take(&mut self.missed))
        } else {
            self.missed = self.missed.saturating_add(1);
            Verdict::Drop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_in_five_seconds() {
        let mut limit = RateLimit::default();
        for _ in 0..10 {
            assert_eq!(limit.message(7), Verdict::Print(0));
        }
        assert_eq!(limit.message(8), Verdict::Drop);
        assert_eq!(limit.message(9), Verdict::Drop);
        assert_eq!(limit.message(WINDOW + 7), Verdict::Print(2));
        assert_eq!(limit.message(WINDOW + 8), Verdict::Print(0));
    }
}
