//! A domain's ring page (`struct xenstore_domain_interface` of io/xs_wire.h).
//!
//! The domain can write anything into the page at any time. The indexes that are xenstored's to move are kept here and
//! only written to the page; those of the domain are read once for each use and checked.

use core::mem::offset_of;

use hypercall::{LocalPort, Mapping};
use oxen_abi::io::xs_wire::{
    XENSTORE_CONNECTED, XENSTORE_ERROR_COMM, XENSTORE_ERROR_NONE, XENSTORE_ERROR_PROTO,
    XENSTORE_ERROR_RINGIDX, XENSTORE_RECONNECT, XENSTORE_RING_SIZE, XENSTORE_SERVER_FEATURE_ERROR,
    XENSTORE_SERVER_FEATURE_RECONNECTION, XenstoreInterface,
};
use xenstore::Message;
use xenstore::wire::Decoder;

const SIZE: u32 = 1024;
const _: () = assert!(SIZE as usize == XENSTORE_RING_SIZE && SIZE.is_power_of_two());

/// A ring and what is on its way through it.
#[derive(Debug)]
pub(super) struct Ring {
    page: Mapping,
    pub(super) port: LocalPort,
    /// Requests are consumed up to here.
    request_consumer: u32,
    /// Answers are produced up to here.
    answer_producer: u32,
    decoder: Decoder,
    sending: Vec<u8>,
    /// The domain broke the rules: nothing is read or written until it connects anew.
    broken: bool,
    /// It moved an index since the domain was last notified.
    moved: bool,
}

/// Why a ring is broken; the number that the domain finds in its page.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// An index is not within the ring.
    Index,
    /// A message is too long.
    Protocol,
    /// The page cannot be reached.
    Page,
}

impl Ring {
    /// Takes up a ring where its indexes are.
    pub(super) fn new(page: Mapping, port: LocalPort) -> Result<Self, hypercall::Error> {
        let request_consumer = page.load_u32(offset_of!(XenstoreInterface, req_cons))?;
        let answer_producer = page.load_u32(offset_of!(XenstoreInterface, rsp_prod))?;
        let features = XENSTORE_SERVER_FEATURE_ERROR | XENSTORE_SERVER_FEATURE_RECONNECTION;
        page.store_u32(offset_of!(XenstoreInterface, server_features), features)?;
        page.store_u32(offset_of!(XenstoreInterface, error), XENSTORE_ERROR_NONE)?;
        Ok(Self {
            page,
            port,
            request_consumer,
            answer_producer,
            decoder: Decoder::default(),
            sending: Vec::new(),
            broken: false,
            moved: true,
        })
    }

    /// Goes on with bytes that were on their way before a restart.
    pub(super) fn resume(&mut self, input: &[u8], output: Vec<u8>) {
        if self.decoder.push(input).is_err() {
            self.fail(Fault::Protocol);
        }
        self.sending = output;
    }

    /// What is on its way: bytes of a request, and of answers.
    pub(super) fn in_flight(&self) -> (Vec<u8>, Vec<u8>) {
        (self.decoder.partial().to_vec(), self.sending.clone())
    }

    /// Whether the domain is to be notified; asking resets it.
    pub(super) fn take_moved(&mut self) -> bool {
        core::mem::take(&mut self.moved)
    }

    /// The next request, if it is there whole.
    pub(super) fn receive(&mut self) -> Result<Option<Message>, Fault> {
        if self.broken {
            return Ok(None);
        }
        let received = self.try_receive();
        received.inspect_err(|&fault| self.fail(fault))
    }

    fn try_receive(&mut self) -> Result<Option<Message>, Fault> {
        let mut buffer = [0; XENSTORE_RING_SIZE];
        loop {
            let producer = self.load(offset_of!(XenstoreInterface, req_prod))?;
            let filled = producer.wrapping_sub(self.request_consumer);
            if filled > SIZE {
                return Err(Fault::Index);
            }
            if filled == 0 {
                return Ok(None);
            }
            let at = self.request_consumer % SIZE;
            let wanted = self.decoder.wanted().map_err(|_| Fault::Protocol)?;
            let len = wanted.min(in_bytes(filled)).min(in_bytes(SIZE - at));
            let space = buffer.get_mut(..len).ok_or(Fault::Index)?;
            let offset = offset_of!(XenstoreInterface, req) + in_bytes(at);
            self.page.read(offset, space).map_err(|_| Fault::Page)?;
            self.request_consumer = self.request_consumer.wrapping_add(in_index(len));
            self.store(
                offset_of!(XenstoreInterface, req_cons),
                self.request_consumer,
            )?;
            self.moved = true;
            if let Some(message) = self.decoder.push(space).map_err(|_| Fault::Protocol)? {
                return Ok(Some(message));
            }
        }
    }

    /// Sends messages that `next` gives, until there are none or the ring is full.
    pub(super) fn send(&mut self, mut next: impl FnMut() -> Option<Vec<u8>>) -> Result<(), Fault> {
        if self.broken {
            return Ok(());
        }
        let sent = self.try_send(&mut next);
        sent.inspect_err(|&fault| self.fail(fault))
    }

    fn try_send(&mut self, next: &mut impl FnMut() -> Option<Vec<u8>>) -> Result<(), Fault> {
        loop {
            if self.sending.is_empty() {
                match next() {
                    Some(bytes) => self.sending = bytes,
                    None => return Ok(()),
                }
            }
            let consumer = self.load(offset_of!(XenstoreInterface, rsp_cons))?;
            let filled = self.answer_producer.wrapping_sub(consumer);
            if filled > SIZE {
                return Err(Fault::Index);
            }
            if filled == SIZE {
                return Ok(());
            }
            let at = self.answer_producer % SIZE;
            let len = self
                .sending
                .len()
                .min(in_bytes(SIZE - filled))
                .min(in_bytes(SIZE - at));
            let offset = offset_of!(XenstoreInterface, rsp) + in_bytes(at);
            let bytes = self.sending.get(..len).unwrap_or_default();
            self.page.write(offset, bytes).map_err(|_| Fault::Page)?;
            self.answer_producer = self.answer_producer.wrapping_add(in_index(len));
            self.store(
                offset_of!(XenstoreInterface, rsp_prod),
                self.answer_producer,
            )?;
            self.sending.drain(..len);
            self.moved = true;
        }
    }

    /// Whether the domain asks for a fresh start; it gets one. Its watches and transactions are to be forgotten.
    pub(super) fn reconnects(&mut self) -> bool {
        if self.load(offset_of!(XenstoreInterface, connection)).ok() != Some(XENSTORE_RECONNECT) {
            return false;
        }
        self.decoder = Decoder::default();
        self.sending.clear();
        (self.request_consumer, self.answer_producer, self.broken) = (0, 0, false);
        for index in [
            offset_of!(XenstoreInterface, req_cons),
            offset_of!(XenstoreInterface, req_prod),
            offset_of!(XenstoreInterface, rsp_cons),
            offset_of!(XenstoreInterface, rsp_prod),
        ] {
            // The page was readable just now, and these are inside it.
            let _ = self.store(index, 0);
        }
        let _ = self.store(offset_of!(XenstoreInterface, error), XENSTORE_ERROR_NONE);
        let _ = self.store(
            offset_of!(XenstoreInterface, connection),
            XENSTORE_CONNECTED,
        );
        self.moved = true;
        true
    }

    fn fail(&mut self, fault: Fault) {
        let code = match fault {
            Fault::Index => XENSTORE_ERROR_RINGIDX,
            Fault::Protocol => XENSTORE_ERROR_PROTO,
            Fault::Page => XENSTORE_ERROR_COMM,
        };
        // Where the page cannot be written there is nobody to tell.
        let _ = self.store(offset_of!(XenstoreInterface, error), code);
        self.broken = true;
        self.moved = true;
    }

    fn load(&self, offset: usize) -> Result<u32, Fault> {
        self.page.load_u32(offset).map_err(|_| Fault::Page)
    }

    fn store(&self, offset: usize, value: u32) -> Result<(), Fault> {
        self.page.store_u32(offset, value).map_err(|_| Fault::Page)
    }
}

/// A number of bytes up to [`SIZE`] as a length.
fn in_bytes(n: u32) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// A length up to [`SIZE`] as a step of an index.
fn in_index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const INDEXES: [usize; 4] = [2048, 2052, 2056, 2060];

    fn ring(start: u32) -> Ring {
        let page = Mapping::of_own_memory(1).unwrap();
        for index in INDEXES {
            page.store_u32(index, start).unwrap();
        }
        Ring::new(page, LocalPort(1)).unwrap()
    }

    /// The domain's side: puts bytes in as far as there is room.
    fn ask(ring: &Ring, bytes: &mut VecDeque<u8>) {
        let page = &ring.page;
        let (consumer, producer) = (page.load_u32(2048).unwrap(), page.load_u32(2052).unwrap());
        let mut at = producer;
        while at.wrapping_sub(consumer) < SIZE {
            let Some(b) = bytes.pop_front() else { break };
            page.write(in_bytes(at % SIZE), &[b]).unwrap();
            at = at.wrapping_add(1);
        }
        page.store_u32(2052, at).unwrap();
    }

    /// The domain's side: takes what is there.
    fn take(ring: &Ring) -> Vec<u8> {
        let page = &ring.page;
        let (mut at, producer) = (page.load_u32(2056).unwrap(), page.load_u32(2060).unwrap());
        let mut got = Vec::new();
        while at != producer {
            let mut b = [0];
            page.read(1024 + in_bytes(at % SIZE), &mut b).unwrap();
            got.extend(b);
            at = at.wrapping_add(1);
        }
        page.store_u32(2056, at).unwrap();
        got
    }

    fn message(n: usize) -> Message {
        let payload = (0..=255u8).cycle().take(n).collect();
        Message {
            kind: 2,
            request: u32::try_from(n).unwrap(),
            transaction: 0,
            payload,
        }
    }

    proptest! {
        #[test]
        fn messages_pass_both_ways(start in any::<u32>(), sizes in prop::collection::vec(0..4097usize, 1..8)) {
            let mut ring = ring(start);
            let messages: Vec<Message> = sizes.into_iter().map(message).collect();
            let mut to_send: VecDeque<u8> = messages.iter().flat_map(Message::encode).collect();
            let mut received = Vec::new();
            while !to_send.is_empty() || received.len() < messages.len() {
                ask(&ring, &mut to_send);
                if let Some(m) = ring.receive().unwrap() {
                    received.push(m);
                }
            }
            prop_assert_eq!(&received, &messages);

            let mut queue: VecDeque<Vec<u8>> = messages.iter().map(Message::encode).collect();
            let all: Vec<u8> = queue.iter().flatten().copied().collect();
            let mut got = Vec::new();
            while got.len() < all.len() {
                ring.send(|| queue.pop_front()).unwrap();
                got.extend(take(&ring));
            }
            prop_assert_eq!(got, all);
        }

        #[test]
        fn any_page_is_survived(
            bytes in prop::collection::vec(any::<u8>(), 4096),
            writes in prop::collection::vec((prop::sample::select(INDEXES.to_vec()), any::<u32>()), 0..20),
        ) {
            let page = Mapping::of_own_memory(1).unwrap();
            page.write(0, &bytes).unwrap();
            let mut ring = Ring::new(page, LocalPort(1)).unwrap();
            for (index, value) in writes {
                ring.page.store_u32(index, value).unwrap();
                for _ in 0..4 {
                    let _ = ring.receive();
                }
                let _ = ring.send(|| Some(vec![1; 100]));
                ring.reconnects();
            }
        }
    }

    #[test]
    fn a_broken_ring_says_so_until_it_reconnects() {
        let mut ring = ring(0);
        ring.page.store_u32(2052, SIZE + 1).unwrap();
        assert!(matches!(ring.receive(), Err(Fault::Index)));
        assert_eq!(ring.page.load_u32(2072).unwrap(), XENSTORE_ERROR_RINGIDX);
        ring.page.store_u32(2052, 0).unwrap();
        assert!(ring.receive().unwrap().is_none());
        assert!(!ring.reconnects());
        ring.page.store_u32(2068, XENSTORE_RECONNECT).unwrap();
        assert!(ring.reconnects());
        assert_eq!(ring.page.load_u32(2068).unwrap(), XENSTORE_CONNECTED);
        assert_eq!(ring.page.load_u32(2072).unwrap(), XENSTORE_ERROR_NONE);
        ask(&ring, &mut message(3).encode().into());
        assert_eq!(ring.receive().unwrap(), Some(message(3)));
    }

    #[test]
    fn a_payload_too_long_breaks_the_ring() {
        let mut ring = ring(7);
        let header = xenstore::Header {
            kind: 2,
            request: 0,
            transaction: 0,
            len: 5000,
        };
        ask(&ring, &mut header.encode().to_vec().into());
        assert!(matches!(ring.receive(), Err(Fault::Protocol)));
        assert_eq!(ring.page.load_u32(2072).unwrap(), XENSTORE_ERROR_PROTO);
    }

    #[test]
    fn what_was_on_its_way_goes_on() {
        let mut before = ring(0);
        let bytes = message(30).encode();
        let (first, rest) = bytes.split_at(20);
        ask(&before, &mut first.to_vec().into());
        assert!(before.receive().unwrap().is_none());
        before.send(|| None).unwrap();
        let (input, _) = before.in_flight();
        let mut after = Ring::new(before.page, LocalPort(2)).unwrap();
        after.resume(&input, b"rest of an answer".to_vec());
        ask(&after, &mut rest.to_vec().into());
        assert_eq!(after.receive().unwrap(), Some(message(30)));
        after.send(|| None).unwrap();
        assert_eq!(take(&after), b"rest of an answer");
    }
}
