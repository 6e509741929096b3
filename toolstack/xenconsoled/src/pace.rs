//! How fast a guest may print. Without a bound a guest could keep a CPU of dom0 busy with its console.

use core::time::Duration;

use tokio::time::Instant;

/// The window, and the bytes in it: about 1.3 MB a second, a hundred times what a serial line carries.
const WINDOW: Duration = Duration::from_millis(50);
const BYTES: usize = 64 << 10;
/// Each look at the ring counts as this many bytes at least, for a guest can also ask often for nothing.
const LOOK: usize = 256;

/// A guest's budget.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Instant,
    used: usize,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            window: Instant::now(),
            used: 0,
        }
    }

    /// Notes that `bytes` were taken.
    pub(crate) fn spend(&mut self, bytes: usize) {
        let now = Instant::now();
        if now.saturating_duration_since(self.window) >= WINDOW {
            self.window = now;
            self.used = 0;
        }
        self.used = self.used.saturating_add(bytes.max(LOOK));
    }

    /// When the guest may print again, if it has used its budget up.
    pub(crate) fn pause(&self) -> Option<Instant> {
        let end = self.window + WINDOW;
        (self.used >= BYTES && Instant::now() < end).then_some(end)
    }
}
