//! The blocking client.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorCode, Result};
use crate::permission::Permissions;
use crate::request::{Parts, Request};
use crate::wire::{Decoder, Message, MessageType};

/// Collisions after which a transaction is given up.
const MOST_COLLISIONS: u32 = 1000;

/// An event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// The path that changed.
    pub path: String,
    /// The token that the watch was made with.
    pub token: String,
}

/// A connection to xenstored. One request at a time; threads take turns.
#[derive(Debug)]
pub struct Client {
    fd: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    decoder: Decoder,
    next_request: u32,
    events: VecDeque<WatchEvent>,
}

impl Client {
    /// Connects to the usual endpoint.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub fn connect() -> Result<Self> {
        Self::connect_to(&Endpoint::usual())
    }

    /// Connects to a certain endpoint.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub fn connect_to(endpoint: &Endpoint) -> Result<Self> {
        Ok(Self {
            fd: endpoint.open()?,
            state: Mutex::default(),
        })
    }

    /// The tree outside of any transaction.
    pub fn store(&self) -> Store<'_> {
        Store {
            client: self,
            transaction: 0,
        }
    }

    /// Starts a transaction; see [`crate::Client::begin`].
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn begin(&self) -> Result<Transaction<'_>> {
        let request = Request::of(MessageType::TransactionStart, &[])?;
        let transaction = request.number(self.ask(&request, 0)?)?;
        Ok(Transaction {
            store: Store {
                client: self,
                transaction,
            },
            open: true,
        })
    }

    /// Runs `body` in a transaction and commits it, anew as long as others interfered. An error of `body` aborts.
    ///
    /// # Errors
    /// What `body` returns; [`Error::Contended`] after very many collisions; a broken connection.
    pub fn transaction<T, E: From<Error>>(
        &self,
        body: impl Fn(&Store<'_>) -> core::result::Result<T, E>,
    ) -> core::result::Result<T, E> {
        for _ in 0..MOST_COLLISIONS {
            let transaction = self.begin()?;
            let value = body(&transaction.store)?;
            match transaction.commit() {
                Ok(()) => return Ok(value),
                Err(e) if e.is_again() => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(Error::Contended(MOST_COLLISIONS).into())
    }

    /// Watches a path and all below it; its events carry `token`.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn watch(&self, path: &str, token: &str) -> Result<()> {
        self.acknowledged(MessageType::Watch, &[path, token])
    }

    /// Removes a watch. Events that are on their way still come.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn unwatch(&self, path: &str, token: &str) -> Result<()> {
        self.acknowledged(MessageType::Unwatch, &[path, token])
    }

    /// Waits for the next event of any watch.
    ///
    /// # Errors
    /// A broken connection.
    pub fn next_event(&self) -> Result<WatchEvent> {
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Ok(event);
            }
            // An answer here belongs to nobody: the lock is held from a request to its answer.
            let message = self.receive(&mut state)?;
            state.keep_event(&message);
        }
    }

    /// Tells xenstored of a new domain: the machine frame of its xenstore ring and the port it offers.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn introduce(&self, domain: u16, frame: u64, port: u32) -> Result<()> {
        self.acknowledged(
            MessageType::Introduce,
            &[&domain.to_string(), &frame.to_string(), &port.to_string()],
        )
    }

    /// Tells xenstored that a domain is gone.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn release(&self, domain: u16) -> Result<()> {
        self.acknowledged(MessageType::Release, &[&domain.to_string()])
    }

    /// Whether xenstored knows the domain.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn is_introduced(&self, domain: u16) -> Result<bool> {
        let request = Request::of(MessageType::IsDomainIntroduced, &[&domain.to_string()])?;
        request.truth(self.ask(&request, 0)?)
    }

    /// The directory of a domain.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn domain_path(&self, domain: u16) -> Result<String> {
        let request = Request::of(MessageType::GetDomainPath, &[&domain.to_string()])?;
        request.text(self.ask(&request, 0)?)
    }

    fn acknowledged(&self, kind: MessageType, strings: &[&str]) -> Result<()> {
        self.ask(&Request::of(kind, strings)?, 0).map(drop)
    }

    fn ask(&self, request: &Request, transaction: u32) -> Result<Vec<u8>> {
        let mut state = self.lock();
        state.next_request = state.next_request.wrapping_add(1);
        let number = state.next_request;
        self.send(&request.message(number, transaction))?;
        loop {
            let message = self.receive(&mut state)?;
            if state.keep_event(&message) {
                continue;
            }
            if message.request == number {
                return request.answer(message);
            }
        }
    }

    fn send(&self, message: &Message) -> Result<()> {
        let bytes = message.encode();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(&self.fd, rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::Io(e.into())),
            }
        }
        Ok(())
    }

    fn receive(&self, state: &mut State) -> Result<Message> {
        let mut buffer = [0; 4096];
        loop {
            let wanted = state.decoder.wanted()?.min(buffer.len());
            let Some(space) = buffer.get_mut(..wanted) else {
                return Err(Error::Disconnected);
            };
            let got = match rustix::io::read(&self.fd, &mut *space) {
                Ok(0) => return Err(Error::Disconnected),
                Ok(n) => n,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(Error::Io(e.into())),
            };
            if let Some(message) = state.decoder.push(space.get(..got).unwrap_or_default())? {
                return Ok(message);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The descriptor is readable when an event or an answer has come.
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl State {
    fn keep_event(&mut self, message: &Message) -> bool {
        if message.kind != MessageType::WatchEvent.number() {
            return false;
        }
        let mut strings = message
            .payload
            .split(|&b| b == 0)
            .map(|s| String::from_utf8_lossy(s).into_owned());
        if let (Some(path), Some(token)) = (strings.next(), strings.next()) {
            self.events.push_back(WatchEvent { path, token });
        }
        true
    }
}

/// Operations on nodes, inside a transaction or outside; see [`crate::Store`] for what each does.
#[derive(Clone, Copy, Debug)]
pub struct Store<'a> {
    client: &'a Client,
    transaction: u32,
}

impl Store<'_> {
    /// A node's value.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.client
            .ask(&Request::of(MessageType::Read, &[path])?, self.transaction)
    }

    /// A node's value as text.
    ///
    /// # Errors
    /// As [`Store::read`]; [`Error::NotText`].
    pub fn read_string(&self, path: &str) -> Result<String> {
        String::from_utf8(self.read(path)?).map_err(|_| Error::NotText(path.to_owned()))
    }

    /// Sets a node's value; makes what is missing.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::TooLong`], or a broken connection.
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<()> {
        self.client
            .ask(&Request::write(path, value.as_ref())?, self.transaction)
            .map(drop)
    }

    /// Makes a node.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn mkdir(&self, path: &str) -> Result<()> {
        self.client
            .ask(
                &Request::of(MessageType::MakeDirectory, &[path])?,
                self.transaction,
            )
            .map(drop)
    }

    /// Removes a node and all below it; it is no error where it does not exist.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn remove(&self, path: &str) -> Result<()> {
        match self.client.ask(
            &Request::of(MessageType::Remove, &[path])?,
            self.transaction,
        ) {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }

    /// Names of a node's children.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn directory(&self, path: &str) -> Result<Vec<String>> {
        let request = Request::of(MessageType::Directory, &[path])?;
        match self.client.ask(&request, self.transaction) {
            Err(e) if e.code() == Some(ErrorCode::E2BIG) => {}
            other => return request.texts(&other?),
        }
        let mut parts = Parts::default();
        loop {
            let request = parts.next(path)?;
            let payload = self.client.ask(&request, self.transaction)?;
            if let Some(children) = parts.push(&request, &payload)? {
                return Ok(children);
            }
        }
    }

    /// A node's permissions.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn permissions(&self, path: &str) -> Result<Permissions> {
        let request = Request::of(MessageType::GetPermissions, &[path])?;
        request.permissions(&self.client.ask(&request, self.transaction)?)
    }

    /// Sets a node's permissions.
    ///
    /// # Errors
    /// [`Error::Refused`], or a broken connection.
    pub fn set_permissions(&self, path: &str, permissions: &Permissions) -> Result<()> {
        self.client
            .ask(
                &Request::set_permissions(path, permissions)?,
                self.transaction,
            )
            .map(drop)
    }
}

/// An open transaction; dropped without a commit, it is aborted.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// The tree as the transaction sees it.
    pub store: Store<'a>,
    open: bool,
}

impl Transaction<'_> {
    /// Makes the changes visible to others, all at once.
    ///
    /// # Errors
    /// [`Error::Refused`], for which [`Error::is_again`] says whether a new attempt may succeed.
    pub fn commit(mut self) -> Result<()> {
        self.end("T")
    }

    fn end(&mut self, how: &str) -> Result<()> {
        self.open = false;
        let request = Request::of(MessageType::TransactionEnd, &[how])?;
        self.store
            .client
            .ask(&request, self.store.transaction)
            .map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // On a broken connection there is nothing to abort any more.
            let _ = self.end("F");
        }
    }
}
