//! The ring that keeps the console's latest output for `xm dmesg`.

use alloc::boxed::Box;
use alloc::vec;

/// The latest output. Positions count bytes since boot and wrap at 2^32, as the ABI has them.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: Box<[u8]>,
    /// Position after the newest byte.
    producer: u32,
    /// Position of the oldest byte that has not been cleared; never more than the ring's size
    /// behind `producer`.
    consumer: u32,
}

impl Ring {
    /// An empty ring of `size` bytes, rounded to a power of two so that positions may wrap.
    pub(super) fn new(size: usize) -> Self {
        let size = size.clamp(16 << 10, 64 << 20).next_power_of_two();
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            producer: 0,
            consumer: 0,
        }
    }

    fn size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn index(&self, position: u32) -> usize {
        position as usize & (self.bytes.len() - 1)
    }

    /// Adds output; the oldest gives way.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = self.index(self.producer);
            if let Some(place) = self.bytes.get_mut(index) {
                *place = *byte;
            }
            self.producer = self.producer.wrapping_add(1);
        }
        if self.producer.wrapping_sub(self.consumer) > self.size() {
            self.consumer = self.producer.wrapping_sub(self.size());
        }
    }

    /// Where a reader starts: at the oldest byte, or at `index` if that is still there.
    pub(super) fn start(&self, index: Option<u32>) -> u32 {
        let held = self.producer.wrapping_sub(self.consumer);
        match index {
            Some(index) if self.producer.wrapping_sub(index) <= held => index,
            _ => self.consumer,
        }
    }

    /// Copies what stands at `position`; returns how many bytes. Output that was overwritten
    /// since [`Ring::start`] is skipped.
    pub(super) fn read(&self, position: &mut u32, bytes: &mut [u8]) -> usize {
        let from = self.start(Some(*position));
        let available = self.producer.wrapping_sub(from) as usize;
        let count = available.min(bytes.len());
        let mut at = from;
        for place in bytes.iter_mut().take(count) {
            *place = self.bytes.get(self.index(at)).copied().unwrap_or(0);
            at = at.wrapping_add(1);
        }
        *position = at;
        count
    }

    /// Forgets what stands before `position`.
    pub(super) fn clear(&mut self, position: u32) {
        self.consumer = self.start(Some(position));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn all(ring: &Ring, index: Option<u32>) -> Vec<u8> {
        let mut at = ring.start(index);
        let mut out = Vec::new();
        let mut piece = [0; 100];
        loop {
            let count = ring.read(&mut at, &mut piece);
            if count == 0 {
                return out;
            }
            out.extend_from_slice(&piece[..count]);
        }
    }

    #[test]
    fn incremental_reads_go_on_where_they_were() {
        let mut ring = Ring::new(0);
        ring.push(b"one\n");
        let mut at = ring.start(None);
        let mut piece = [0; 64];
        assert_eq!(ring.read(&mut at, &mut piece), 4);
        ring.push(b"two\n");
        assert_eq!(all(&ring, Some(at)), b"two\n");
        ring.clear(at);
        assert_eq!(all(&ring, None), b"two\n");
    }

    proptest! {
        #[test]
        fn keeps_the_newest(start in any::<u32>(), pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..8)) {
            let mut ring = Ring::new(0);
            ring.producer = start;
            ring.consumer = start;
            let mut model = Vec::new();
            for piece in &pieces {
                ring.push(piece);
                model.extend_from_slice(piece);
            }
            let kept = model.len().min(16 << 10);
            prop_assert_eq!(all(&ring, None), &model[model.len() - kept..]);
        }
    }
}
