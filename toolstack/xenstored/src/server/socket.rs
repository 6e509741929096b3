//! A program's connection.

use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use xenstore::Message;
use xenstore::wire::Decoder;

use super::Closed;

/// A socket that never blocks.
#[derive(Debug)]
pub(super) struct Socket {
    stream: UnixStream,
    decoder: Decoder,
    /// What is being sent.
    sending: Vec<u8>,
}

impl Socket {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            sending: Vec::new(),
        }
    }

    /// The next request, if it is there whole.
    pub(super) fn receive(&mut self) -> Result<Option<Message>, Closed> {
        let mut buffer = [0; 4096];
        loop {
            let wanted = self.decoder.wanted().map_err(|_| Closed)?.min(buffer.len());
            let space = buffer.get_mut(..wanted).ok_or(Closed)?;
            match rustix::io::read(&self.stream, &mut *space) {
                Ok(0) => return Err(Closed),
                Ok(n) => {
                    let message = self
                        .decoder
                        .push(space.get(..n).unwrap_or_default())
                        .map_err(|_| Closed)?;
                    if message.is_some() {
                        return Ok(message);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(_) => return Err(Closed),
            }
        }
    }

    /// Sends messages that `next` gives, until there are none or the other side does not take more for now.
    pub(super) fn send(&mut self, mut next: impl FnMut() -> Option<Vec<u8>>) -> Result<(), Closed> {
        loop {
            if self.sending.is_empty() {
                match next() {
                    Some(bytes) => self.sending = bytes,
                    None => return Ok(()),
                }
            }
            match rustix::io::write(&self.stream, &self.sending) {
                Ok(n) => drop(self.sending.drain(..n.min(self.sending.len()))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Closed),
            }
        }
    }
}
