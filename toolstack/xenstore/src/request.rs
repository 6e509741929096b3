//! Requests as both clients send them, and what their answers mean.

use crate::error::{Error, ErrorCode, Result};
use crate::permission::{Permission, Permissions};
use crate::wire::{Message, MessageType, PAYLOAD_MAX};

/// A request without its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: MessageType,
    /// What it is about, for error messages.
    pub(crate) what: String,
    payload: Vec<u8>,
}

impl Request {
    /// A request whose payload is strings, each ended by a zero byte.
    pub(crate) fn of(kind: MessageType, strings: &[&str]) -> Result<Self> {
        let what = strings.first().copied().unwrap_or_default().to_owned();
        let mut payload = Vec::new();
        for s in strings {
            if s.contains('\0') {
                return Err(Error::ZeroByte {
                    request: kind,
                    what: (*s).to_owned(),
                });
            }
            payload.extend_from_slice(s.as_bytes());
            payload.push(0);
        }
        if strings.is_empty() {
            // Requests without arguments carry one empty string.
            payload.push(0);
        }
        Self {
            kind,
            what,
            payload,
        }
        .checked()
    }

    /// `WRITE`: the path, then the value with no zero byte after it.
    pub(crate) fn write(path: &str, value: &[u8]) -> Result<Self> {
        let mut request = Self::of(MessageType::Write, &[path])?;
        request.payload.extend_from_slice(value);
        request.checked()
    }

    /// `SET_PERMS`.
    pub(crate) fn set_permissions(path: &str, permissions: &Permissions) -> Result<Self> {
        let mut request = Self::of(MessageType::SetPermissions, &[path])?;
        for entry in permissions.entries() {
            request
                .payload
                .extend_from_slice(entry.to_string().as_bytes());
            request.payload.push(0);
        }
        request.checked()
    }

    fn checked(self) -> Result<Self> {
        if self.payload.len() > PAYLOAD_MAX {
            return Err(Error::TooLong {
                request: self.kind,
                what: self.what,
                len: self.payload.len(),
            });
        }
        Ok(self)
    }

    /// The message, with its numbers.
    pub(crate) fn message(&self, request: u32, transaction: u32) -> Message {
        Message {
            kind: self.kind.number(),
            request,
            transaction,
            payload: self.payload.clone(),
        }
    }

    /// The payload of the answer, or the error that it reports.
    pub(crate) fn answer(&self, reply: Message) -> Result<Vec<u8>> {
        if reply.kind == self.kind.number() {
            return Ok(reply.payload);
        }
        if reply.kind != MessageType::Error.number() {
            return Err(self.malformed("it answers something else"));
        }
        let name = reply.payload.strip_suffix(b"\0").unwrap_or(&reply.payload);
        let code = core::str::from_utf8(name)
            .ok()
            .and_then(ErrorCode::from_name);
        // A name that is not in the protocol's list means no more than that it failed.
        Err(Error::Refused {
            request: self.kind,
            what: self.what.clone(),
            code: code.unwrap_or(ErrorCode::EINVAL),
        })
    }

    pub(crate) fn malformed(&self, why: &'static str) -> Error {
        Error::Malformed {
            request: self.kind,
            what: self.what.clone(),
            why,
        }
    }

    /// An answer that is one string.
    pub(crate) fn text(&self, payload: Vec<u8>) -> Result<String> {
        let mut payload = payload;
        if payload.last() == Some(&0) {
            payload.pop();
        }
        String::from_utf8(payload).map_err(|_| self.malformed("it is not text"))
    }

    /// An answer that is a list of strings, each ended by a zero byte.
    pub(crate) fn texts(&self, payload: &[u8]) -> Result<Vec<String>> {
        let Some(body) = payload.strip_suffix(b"\0") else {
            return if payload.is_empty() {
                Ok(Vec::new())
            } else {
                Err(self.malformed("a string has no end"))
            };
        };
        let text =
            |s: &[u8]| String::from_utf8(s.to_vec()).map_err(|_| self.malformed("it is not text"));
        body.split(|&b| b == 0).map(text).collect()
    }

    /// An answer to `GET_PERMS`.
    pub(crate) fn permissions(&self, payload: &[u8]) -> Result<Permissions> {
        let entries: Option<Vec<Permission>> = self
            .texts(payload)?
            .iter()
            .map(|s| s.parse().ok())
            .collect();
        entries
            .as_deref()
            .and_then(Permissions::from_entries)
            .ok_or_else(|| self.malformed("it is no list of permissions"))
    }

    /// An answer that is a number.
    pub(crate) fn number(&self, payload: Vec<u8>) -> Result<u32> {
        self.text(payload)?
            .parse()
            .map_err(|_| self.malformed("it is no number"))
    }

    /// An answer that is `T` or `F`.
    pub(crate) fn truth(&self, payload: Vec<u8>) -> Result<bool> {
        match self.text(payload)?.as_str() {
            "T" => Ok(true),
            "F" => Ok(false),
            _ => Err(self.malformed("it is neither T nor F")),
        }
    }
}

/// Puts the parts of a long list of children together (`DIRECTORY_PART`).
#[derive(Debug, Default)]
pub(crate) struct Parts {
    generation: Option<String>,
    children: Vec<u8>,
}

impl Parts {
    /// The request for the next part.
    pub(crate) fn next(&self, path: &str) -> Result<Request> {
        Request::of(
            MessageType::DirectoryPart,
            &[path, &self.children.len().to_string()],
        )
    }

    /// Takes a part; the whole list when it was the last one. Starts anew where the node changed in between.
    pub(crate) fn push(
        &mut self,
        request: &Request,
        payload: &[u8],
    ) -> Result<Option<Vec<String>>> {
        let at = payload
            .iter()
            .position(|&b| b == 0)
            .ok_or_else(|| request.malformed("it has no generation"))?;
        let (generation, rest) = payload.split_at(at);
        let part = rest.get(1..).unwrap_or_default();
        let generation = String::from_utf8_lossy(generation).into_owned();
        if self.generation.as_ref().is_some_and(|g| *g != generation) {
            *self = Self::default();
            return Ok(None);
        }
        self.generation = Some(generation);
        // The last part ends with an empty string, which no child's name is.
        let ends = part == b"\0" || part.ends_with(b"\0\0");
        if ends {
            self.children
                .extend_from_slice(part.strip_suffix(b"\0").unwrap_or(part));
            return request.texts(&self.children).map(Some);
        }
        if part.is_empty() {
            return Err(request.malformed("a part is empty"));
        }
        self.children.extend_from_slice(part);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: MessageType, payload: &[u8]) -> Message {
        Message {
            kind: kind.number(),
            request: 0,
            transaction: 0,
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn errors_name_the_path() {
        let request = Request::of(MessageType::Read, &["/a"]).unwrap();
        let error = request
            .answer(reply(MessageType::Error, b"ENOENT\0"))
            .unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            "xenstore refused to read /a: no such node (ENOENT)"
        );
    }

    #[test]
    fn parts_join_and_restart() {
        let mut parts = Parts::default();
        let request = parts.next("/a").unwrap();
        assert_eq!(parts.push(&request, b"7\0one\0two\0").unwrap(), None);
        assert_eq!(parts.next("/a").unwrap().payload, b"/a\x008\0");
        assert_eq!(
            parts.push(&request, b"8\0x\0\0").unwrap(),
            None,
            "another generation"
        );
        assert_eq!(parts.next("/a").unwrap().payload, b"/a\x000\0");
        assert_eq!(
            parts.push(&request, b"8\0x\0\0").unwrap(),
            Some(vec!["x".to_owned()])
        );
    }

    #[test]
    fn an_empty_directory_in_parts() {
        let mut parts = Parts::default();
        let request = parts.next("/a").unwrap();
        assert_eq!(parts.push(&request, b"7\0\0").unwrap(), Some(vec![]));
    }

    #[test]
    fn too_long_is_refused_before_sending() {
        assert!(matches!(
            Request::write("/a", &[0; 4096]),
            Err(Error::TooLong { .. })
        ));
        assert!(matches!(
            Request::of(MessageType::Read, &["/a\0b"]),
            Err(Error::ZeroByte { .. })
        ));
    }
}
