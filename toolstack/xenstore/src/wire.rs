//! The wire protocol: a header of 16 bytes and a payload of at most 4096, the same in both directions.

use core::fmt;

use oxen_abi::io::xs_wire as abi;
use zerocopy::{FromBytes, IntoBytes};

/// Largest payload, in bytes.
pub const PAYLOAD_MAX: usize = abi::XENSTORE_PAYLOAD_MAX;
/// Bytes of a header.
pub const HEADER_LEN: usize = size_of::<abi::SockMsg>();

macro_rules! types {
    ($($name:ident = $value:ident, $verb:literal;)*) => {
        /// Kind of a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MessageType {
            $(#[doc = concat!("`", stringify!($value), "`")] $name,)*
        }

        impl MessageType {
            /// The number in the protocol.
            pub fn number(self) -> u32 {
                match self { $(Self::$name => abi::$value,)* }
            }

            /// The kind with this number.
            pub fn from_number(number: u32) -> Option<Self> {
                match number { $(abi::$value => Some(Self::$name),)* _ => None }
            }
        }

        /// A verb, for messages to people.
        impl fmt::Display for MessageType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $verb,)* })
            }
        }
    };
}

types! {
    Control = XS_CONTROL, "control";
    Directory = XS_DIRECTORY, "list";
    Read = XS_READ, "read";
    GetPermissions = XS_GET_PERMS, "get the permissions of";
    Watch = XS_WATCH, "watch";
    Unwatch = XS_UNWATCH, "unwatch";
    TransactionStart = XS_TRANSACTION_START, "start a transaction";
    TransactionEnd = XS_TRANSACTION_END, "end a transaction";
    Introduce = XS_INTRODUCE, "introduce";
    Release = XS_RELEASE, "release";
    GetDomainPath = XS_GET_DOMAIN_PATH, "get the path of";
    Write = XS_WRITE, "write";
    MakeDirectory = XS_MKDIR, "make";
    Remove = XS_RM, "remove";
    SetPermissions = XS_SET_PERMS, "set the permissions of";
    WatchEvent = XS_WATCH_EVENT, "report an event for";
    Error = XS_ERROR, "report an error for";
    IsDomainIntroduced = XS_IS_DOMAIN_INTRODUCED, "ask about";
    Resume = XS_RESUME, "resume";
    SetTarget = XS_SET_TARGET, "set the target of";
    ResetWatches = XS_RESET_WATCHES, "reset watches";
    DirectoryPart = XS_DIRECTORY_PART, "list a part of";
}

/// Header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Kind, as a number: a request may have one that nobody knows.
    pub kind: u32,
    /// Chosen by the client, repeated in the answer.
    pub request: u32,
    /// Transaction, 0 for none.
    pub transaction: u32,
    /// Bytes of the payload.
    pub len: u32,
}

impl Header {
    /// The 16 bytes.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let raw = abi::SockMsg {
            type_: self.kind,
            req_id: self.request,
            tx_id: self.transaction,
            len: self.len,
        };
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// From 16 bytes.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Self {
        let raw = abi::SockMsg::read_from_bytes(bytes).unwrap_or_default();
        Self {
            kind: raw.type_,
            request: raw.req_id,
            transaction: raw.tx_id,
            len: raw.len,
        }
    }
}

/// A header and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Kind, as a number.
    pub kind: u32,
    /// Chosen by the client, repeated in the answer.
    pub request: u32,
    /// Transaction, 0 for none.
    pub transaction: u32,
    /// At most [`PAYLOAD_MAX`] bytes.
    pub payload: Vec<u8>,
}

impl Message {
    /// Header and payload as bytes. The payload is cut at [`PAYLOAD_MAX`], which callers check before.
    pub fn encode(&self) -> Vec<u8> {
        let payload = self.payload.get(..PAYLOAD_MAX).unwrap_or(&self.payload);
        let len = u32::try_from(payload.len()).unwrap_or_default();
        let header = Header {
            kind: self.kind,
            request: self.request,
            transaction: self.transaction,
            len,
        };
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(payload);
        bytes
    }
}

/// A message that is not in the protocol; the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {0} bytes is longer than {PAYLOAD_MAX}")]
pub struct WireError(pub u32);

/// Puts messages together from bytes as they arrive. Never holds more than one message.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// How many bytes to read next at most; never 0 and never beyond the current message.
    ///
    /// # Errors
    /// [`WireError`] where the header announces too long a payload.
    pub fn wanted(&self) -> Result<usize, WireError> {
        Ok(self.total()?.saturating_sub(self.bytes.len()).max(1))
    }

    /// Takes bytes in, at most as many as [`Decoder::wanted`], and returns the message when it is whole.
    ///
    /// # Errors
    /// [`WireError`] where the header announces too long a payload.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Message>, WireError> {
        self.bytes.extend_from_slice(bytes);
        let total = self.total()?;
        let Some((header, payload)) = self.bytes.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        if self.bytes.len() < total {
            return Ok(None);
        }
        let header = Header::decode(header);
        let message = Message {
            kind: header.kind,
            request: header.request,
            transaction: header.transaction,
            payload: payload.to_vec(),
        };
        self.bytes.clear();
        Ok(Some(message))
    }

    /// Whether a message has begun.
    pub fn is_mid_message(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The bytes of the message that has begun.
    pub fn partial(&self) -> &[u8] {
        &self.bytes
    }

    fn total(&self) -> Result<usize, WireError> {
        let Some((header, _)) = self.bytes.split_first_chunk::<HEADER_LEN>() else {
            return Ok(HEADER_LEN);
        };
        let len = Header::decode(header).len;
        match usize::try_from(len) {
            Ok(n) if n <= PAYLOAD_MAX => Ok(HEADER_LEN + n),
            _ => Err(WireError(len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_fragmentation() {
        let message = Message {
            kind: 2,
            request: 7,
            transaction: 9,
            payload: b"/a/b\0".to_vec(),
        };
        let bytes = message.encode();
        for size in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut got = None;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let n = size.min(decoder.wanted().unwrap()).min(rest.len());
                let (now, later) = rest.split_at(n);
                got = decoder.push(now).unwrap();
                rest = later;
            }
            assert_eq!(got.as_ref(), Some(&message), "fragments of {size}");
        }
    }

    #[test]
    fn a_long_payload_is_an_error() {
        let header = Header {
            kind: 2,
            request: 0,
            transaction: 0,
            len: 4097,
        };
        assert_eq!(
            Decoder::default().push(&header.encode()),
            Err(WireError(4097))
        );
    }

    #[test]
    fn an_empty_payload_is_a_message() {
        let header = Header {
            kind: 6,
            request: 1,
            transaction: 0,
            len: 0,
        };
        assert!(Decoder::default().push(&header.encode()).unwrap().is_some());
    }
}
