//! A guest's console page (`struct xencons_interface` of io/console.h).
//!
//! The guest can write anything into the page at any time. The indexes that are the daemon's to move are kept here and
//! only written to the page; those of the guest are read once for each use and checked.

use core::mem::offset_of;

use hypercall::{Mapping, Result};
use oxen_abi::io::console::ConsoleInterface;

const IN_SIZE: u32 = 1024;
const OUT_SIZE: u32 = 2048;
const _: () = assert!(IN_SIZE.is_power_of_two() && OUT_SIZE.is_power_of_two());

/// The two rings of a console.
#[derive(Debug)]
pub(crate) struct Ring {
    page: Mapping,
    /// The guest's output is consumed up to here.
    out_consumer: u32,
    /// Input for the guest is produced up to here.
    in_producer: u32,
    /// How often the guest's index was not within the ring.
    pub(crate) faults: u64,
}

impl Ring {
    /// Takes up the rings where they are.
    pub(crate) fn new(page: Mapping) -> Result<Self> {
        let out_consumer = page.load_u32(offset_of!(ConsoleInterface, out_cons))?;
        let in_producer = page.load_u32(offset_of!(ConsoleInterface, in_prod))?;
        Ok(Self {
            page,
            out_consumer,
            in_producer,
            faults: 0,
        })
    }

    /// Takes what the guest has written, at most a ring full. Where its index is not within the ring, what is there
    /// makes no sense; it is passed over.
    pub(crate) fn take_output(&mut self) -> Result<Vec<u8>> {
        let producer = self.page.load_u32(offset_of!(ConsoleInterface, out_prod))?;
        let filled = producer.wrapping_sub(self.out_consumer);
        if filled > OUT_SIZE {
            self.faults = self.faults.saturating_add(1);
            self.out_consumer = producer;
            self.page
                .store_u32(offset_of!(ConsoleInterface, out_cons), producer)?;
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; length(filled)];
        let at = self.out_consumer % OUT_SIZE;
        let first = length(filled.min(OUT_SIZE - at));
        let (to_end, from_start) = bytes.split_at_mut(first);
        let base = offset_of!(ConsoleInterface, out);
        self.page.read(base + length(at), to_end)?;
        self.page.read(base, from_start)?;
        self.out_consumer = producer;
        self.page
            .store_u32(offset_of!(ConsoleInterface, out_cons), producer)?;
        Ok(bytes)
    }

    /// How many bytes of input the guest takes now.
    pub(crate) fn input_room(&self) -> Result<usize> {
        let consumer = self.page.load_u32(offset_of!(ConsoleInterface, in_cons))?;
        let filled = self.in_producer.wrapping_sub(consumer);
        // A consumer beyond the ring means no room, until the guest sets it right.
        Ok(length(IN_SIZE.saturating_sub(filled)))
    }

    /// Gives the guest input, as much as there is room for; returns how much.
    pub(crate) fn give_input(&mut self, input: &[u8]) -> Result<usize> {
        let room = self.input_room()?;
        let input = input.get(..room).unwrap_or(input);
        let at = self.in_producer % IN_SIZE;
        let (to_end, from_start) = input.split_at(input.len().min(length(IN_SIZE - at)));
        let base = offset_of!(ConsoleInterface, in_);
        self.page.write(base + length(at), to_end)?;
        self.page.write(base, from_start)?;
        let step = u32::try_from(input.len()).unwrap_or(0);
        self.in_producer = self.in_producer.wrapping_add(step);
        self.page
            .store_u32(offset_of!(ConsoleInterface, in_prod), self.in_producer)?;
        Ok(input.len())
    }
}

/// A number of bytes, at most a ring's.
fn length(n: u32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const INDEXES: [usize; 4] = [3072, 3076, 3080, 3084];

    /// The guest's side of the output ring.
    fn print(page: &Mapping, bytes: &[u8]) -> usize {
        let (producer, consumer) = (page.load_u32(3084).unwrap(), page.load_u32(3080).unwrap());
        let room = length(OUT_SIZE - producer.wrapping_sub(consumer));
        let bytes = &bytes[..bytes.len().min(room)];
        for (i, b) in (0u32..).zip(bytes) {
            page.write(1024 + length(producer.wrapping_add(i) % OUT_SIZE), &[*b])
                .unwrap();
        }
        page.store_u32(
            3084,
            producer.wrapping_add(u32::try_from(bytes.len()).unwrap()),
        )
        .unwrap();
        bytes.len()
    }

    /// The guest's side of the input ring.
    fn listen(page: &Mapping, most: usize) -> Vec<u8> {
        let (producer, consumer) = (page.load_u32(3076).unwrap(), page.load_u32(3072).unwrap());
        let n = producer
            .wrapping_sub(consumer)
            .min(u32::try_from(most).unwrap());
        let mut got = vec![0; length(n)];
        for (i, b) in (0u32..).zip(&mut got) {
            page.read(
                length(consumer.wrapping_add(i) % IN_SIZE),
                core::slice::from_mut(b),
            )
            .unwrap();
        }
        page.store_u32(3072, consumer.wrapping_add(n)).unwrap();
        got
    }

    proptest! {
        #[test]
        fn bytes_arrive_once_and_in_order(
            start in any::<u32>(),
            steps in prop::collection::vec((0..4u8, 0..3000usize), 1..40),
        ) {
            let mut ring = Ring::new(Mapping::of_own_memory(1).unwrap()).unwrap();
            for index in INDEXES {
                ring.page.store_u32(index, start).unwrap();
            }
            (ring.out_consumer, ring.in_producer) = (start, start);
            let (mut printed, mut typed) = (VecDeque::new(), VecDeque::new());
            for (serial, (what, n)) in (0u8..=255).cycle().zip(steps) {
                let bytes: Vec<u8> = (0..=250u8).cycle().take(n).map(|b| serial.wrapping_add(b)).collect();
                match what {
                    0 => { let n = print(&ring.page, &bytes); printed.extend(&bytes[..n]); }
                    1 => for b in ring.take_output().unwrap() { prop_assert_eq!(printed.pop_front(), Some(b)); },
                    2 => { let n = ring.give_input(&bytes).unwrap(); typed.extend(&bytes[..n]); }
                    _ => for b in listen(&ring.page, n) { prop_assert_eq!(typed.pop_front(), Some(b)); },
                }
            }
            prop_assert_eq!(ring.take_output().unwrap(), printed.into_iter().collect::<Vec<u8>>());
            prop_assert_eq!(listen(&ring.page, 4096), typed.into_iter().collect::<Vec<u8>>());
        }

        #[test]
        fn any_page_is_survived(
            page in prop::collection::vec(any::<u8>(), 4096),
            writes in prop::collection::vec((prop::sample::select(INDEXES.to_vec()), any::<u32>()), 0..20),
        ) {
            let memory = Mapping::of_own_memory(1).unwrap();
            memory.write(0, &page).unwrap();
            let mut ring = Ring::new(memory).unwrap();
            for (index, value) in writes {
                ring.page.store_u32(index, value).unwrap();
                prop_assert!(ring.take_output().unwrap().len() <= length(OUT_SIZE));
                prop_assert!(ring.give_input(b"0123456789").unwrap() <= 10);
            }
        }
    }
}
