//! A blocking client: one connection for each request, which xend closes after its answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;

/// Largest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 << 10;
/// Largest body of an answer that is read whole, in bytes.
const MAX_BODY: u64 = 64 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// xend cannot be reached.
    #[error("Unable to connect to xend: {source}. {advice}", advice = advice(source))]
    Connect {
        /// The cause.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("The connection to xend broke: {0}")]
    Io(#[from] std::io::Error),
    /// What came back is not what xend sends.
    #[error("xend's answer makes no sense: {0}. Are xm and xend of the same version?")]
    Answer(String),
    /// xend says no.
    #[error("{error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// xend's sentence.
        error: String,
    },
}

fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => "This command has to be run as root.",
        _ => "Is xend running? Start it with `xend start`.",
    }
}

/// A client of xend.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    body: BufReader<UnixStream>,
}

impl Client {
    /// A client of the xend that listens at `socket`.
    #[must_use]
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
        }
    }

    /// Asks for a value.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send("GET", path, None, "application/json")?.json()
    }

    /// Asks for text.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get_text(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.send("GET", path, None, "text/plain")?.bytes()
    }

    /// Has something done that gives nothing back.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn post(&self, path: &str) -> Result<(), Error> {
        self.send("POST", path, None, "application/json").map(drop)
    }

    /// Has something done with a value.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn post_json(&self, path: &str, body: &impl Serialize) -> Result<(), Error> {
        let body = encode(body)?;
        self.send("POST", path, Some(&body), "application/json")
            .map(drop)
    }

    /// Has something done that tells how it goes: values come one after the other.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn post_events(&self, path: &str, body: &impl Serialize) -> Result<Response, Error> {
        let body = encode(body)?;
        self.send("POST", path, Some(&body), crate::EVENTS)
    }

    /// Has something removed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete(&self, path: &str) -> Result<(), Error> {
        self.send("DELETE", path, None, "application/json")
            .map(drop)
    }

    /// HTTP 1.0, so that the body ends where the connection does.
    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        accept: &str,
    ) -> Result<Response, Error> {
        let mut stream =
            UnixStream::connect(&self.socket).map_err(|source| Error::Connect { source })?;
        let body = body.unwrap_or(&[]);
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: xend\r\nAccept: {accept}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut body = BufReader::new(stream);
        let status = read_head(&mut body)?;
        let response = Response { body };
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let bytes = response.bytes()?;
        let error = match serde_json::from_slice::<Failure>(&bytes) {
            Ok(failure) => failure.error,
            Err(_) => format!(
                "xend answered {status}: {}",
                String::from_utf8_lossy(&bytes)
            ),
        };
        Err(Error::Refused { status, error })
    }
}

impl Response {
    fn bytes(self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.body.take(MAX_BODY).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes()?).map_err(|e| Error::Answer(e.to_string()))
    }

    /// The next value of a stream of them; `None` at its end.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn next_value<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let mut line = Vec::new();
        let mut limited = self.body.by_ref().take(MAX_BODY);
        if limited.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|e| Error::Answer(e.to_string()))
    }
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|e| Error::Answer(e.to_string()))
}

/// Reads the status line and the headers; gives the status.
fn read_head(from: &mut BufReader<UnixStream>) -> Result<u16, Error> {
    let mut head = Vec::new();
    let mut limited = from.by_ref().take(MAX_HEAD);
    while !head.ends_with(b"\r\n\r\n") {
        if limited.read_until(b'\n', &mut head)? == 0 {
            return Err(Error::Answer("it ends in the middle".into()));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    response
        .parse(&head)
        .map_err(|e| Error::Answer(e.to_string()))?;
    response
        .code
        .ok_or_else(|| Error::Answer("it has no status".into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers one request with `answer`, and gives the request.
    fn exchange(answer: &'static str) -> (Result<u32, Error>, String) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("xend.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        let result = Client::new(&socket).get("/v1/x");
        let request = server.join().unwrap();
        (result, request)
    }

    #[test]
    fn values_and_refusals() {
        let (result, request) = exchange("HTTP/1.0 200 OK\r\ncontent-type: a\r\n\r\n42");
        assert_eq!(result.unwrap(), 42);
        assert!(request.starts_with("GET /v1/x HTTP/1.0\r\n"), "{request}");
        let (result, _) = exchange("HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"no such\"}");
        assert_eq!(result.unwrap_err().to_string(), "no such");
    }

    #[test]
    fn nonsense_is_an_error() {
        for answer in ["", "HTTP/1.0 200", "\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nx"] {
            assert!(
                matches!(exchange(answer).0, Err(Error::Answer(_))),
                "{answer}"
            );
        }
    }

    #[test]
    fn an_absent_xend_is_said_so() {
        let e = Client::new("/nonexistent/x").get::<u32>("/").unwrap_err();
        assert!(e.to_string().contains("Is xend running?"), "{e}");
    }
}
