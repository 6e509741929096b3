//! What was printed before `core` has its console ring.

use arrayvec::ArrayVec;

/// Room for about 60 lines; the boot prints ten.
const ROOM: usize = 4096;

/// The boot's lines, the first ones kept when there are too many.
#[derive(Debug)]
pub(super) struct Log {
    bytes: ArrayVec<u8, ROOM>,
}

impl Log {
    pub(super) const fn new() -> Self {
        Self {
            bytes: ArrayVec::new_const(),
        }
    }

    /// Adds output, as much of it as fits.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.remaining_capacity();
        self.bytes.extend(bytes.iter().copied().take(room));
    }

    /// What it holds.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
