//! Taking requests apart.

use xenstore::{ErrorCode, Message, Path};

use super::connection::ConnectionId;

/// A request and who sent it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) connection: ConnectionId,
    pub(super) message: Message,
}

impl Request {
    pub(super) fn new(connection: ConnectionId, message: Message) -> Self {
        Self {
            connection,
            message,
        }
    }

    /// Its strings, of which there must be between `least` and `most`, each ended by a zero byte.
    pub(super) fn strings(&self, least: usize, most: usize) -> Result<Vec<&str>, ErrorCode> {
        let body = self
            .message
            .payload
            .strip_suffix(b"\0")
            .ok_or(ErrorCode::EINVAL)?;
        let mut strings = Vec::new();
        for bytes in body.split(|&b| b == 0) {
            if strings.len() == most {
                return Err(ErrorCode::EINVAL);
            }
            strings.push(core::str::from_utf8(bytes).map_err(|_| ErrorCode::EINVAL)?);
        }
        if strings.len() < least {
            Err(ErrorCode::EINVAL)
        } else {
            Ok(strings)
        }
    }

    /// Its only string.
    pub(super) fn string(&self) -> Result<&str, ErrorCode> {
        self.strings(1, 1)?
            .first()
            .copied()
            .ok_or(ErrorCode::EINVAL)
    }

    /// Its two strings.
    pub(super) fn two_strings(&self) -> Result<(&str, &str), ErrorCode> {
        match self.strings(2, 2)?.as_slice() {
            [a, b] => Ok((a, b)),
            _ => Err(ErrorCode::EINVAL),
        }
    }

    /// Its first string, and the bytes after it.
    pub(super) fn string_and_rest(&self) -> Result<(&str, &[u8]), ErrorCode> {
        let at = self
            .message
            .payload
            .iter()
            .position(|&b| b == 0)
            .ok_or(ErrorCode::EINVAL)?;
        let (first, rest) = self.message.payload.split_at(at);
        let first = core::str::from_utf8(first).map_err(|_| ErrorCode::EINVAL)?;
        Ok((first, rest.get(1..).unwrap_or_default()))
    }

    /// Its only string as a domain's number.
    pub(super) fn domain(&self) -> Result<u16, ErrorCode> {
        number(self.string()?)
    }
}

/// A decimal number.
pub(super) fn number<T: core::str::FromStr>(text: &str) -> Result<T, ErrorCode> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ErrorCode::EINVAL);
    }
    text.parse().map_err(|_| ErrorCode::EINVAL)
}

/// A path as a client of `domain` gives it: absolute, or relative to the domain's directory.
pub(super) fn path_of(domain: u16, text: &str) -> Result<Path, ErrorCode> {
    Path::resolve(&Path::of_domain(domain), text).map_err(|_| ErrorCode::EINVAL)
}
