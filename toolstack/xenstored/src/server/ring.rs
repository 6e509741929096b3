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
