//! Bytes that wait for a serial line's transmitter.

/// Bytes that can wait: at 115,200 bits a second about 1.4 s of output.
const ROOM: usize = 16 << 10;

/// A ring of bytes.
#[derive(Debug)]
pub struct Queue {
    bytes: [u8; ROOM],
    first: usize,
    count: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            bytes: [0; ROOM],
            first: 0,
            count: 0,
        }
    }

    /// Adds a byte; `false` if there is no room.
    pub fn push(&mut self, byte: u8) -> bool {
        if self.count == ROOM {
            return false;
        }
        if let Some(place) = self.bytes.get_mut((self.first + self.count) % ROOM) {
            *place = byte;
            self.count += 1;
        }
        true
    }

    /// The oldest bytes, as far as they lie in one piece; empty only if there are none.
    pub fn front(&self) -> &[u8] {
        let end = (self.first + self.count).min(ROOM);
        self.bytes.get(self.first..end).unwrap_or_default()
    }

    /// Takes the `count` oldest bytes out.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.count);
        self.first = (self.first + count) % ROOM;
        self.count -= count;
    }

    /// Gives up what waits.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_full_at_its_size() {
        let mut queue = Queue::new();
        assert!((0..ROOM).all(|_| queue.push(1)));
        assert!(!queue.push(2));
        queue.consume(1);
        assert!(queue.push(3) && !queue.push(4));
    }

    proptest! {
        #[test]
        fn bytes_come_out_in_order(steps in prop::collection::vec((0usize..9000, 0usize..9000), 1..30)) {
            let mut queue = Queue::new();
            let (mut next, mut wanted) = (0u8, 0u8);
            for (pushed, taken) in steps {
                for _ in 0..pushed {
                    if queue.push(next) {
                        next = next.wrapping_add(1);
                    }
                }
                let mut left = taken;
                while left > 0 && !queue.is_empty() {
                    let count = queue.front().len().min(left);
                    for byte in &queue.front()[..count] {
                        prop_assert_eq!(*byte, wanted);
                        wanted = wanted.wrapping_add(1);
                    }
                    queue.consume(count);
                    left -= count;
                }
            }
        }
    }
}
