//! One connection, shared: requests go out in order, answers find their requests by number, events their watches by
//! token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::endpoint::{Reader, Writer};
use crate::error::{Error, Result};
use crate::request::Request;
use crate::wire::{Decoder, Message, MessageType};

/// The handle that clients share. Dropping the last one closes the connection.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    reader: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    next_request: u32,
    next_token: u64,
    waiting: HashMap<u32, oneshot::Sender<Message>>,
    watches: HashMap<String, mpsc::UnboundedSender<String>>,
}

impl Connection {
    /// Starts the two tasks that read and write.
    pub(super) fn start(from: Reader, to: Writer) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
        });
        let (outgoing, queue) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_all(from, Arc::clone(&shared)));
        tokio::spawn(write_all(to, queue, Arc::clone(&shared)));
        Self {
            shared,
            outgoing,
            reader,
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&self, request: &Request, transaction: u32) -> Result<Vec<u8>> {
        let (sender, receiver) = oneshot::channel();
        let number = {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(Error::Disconnected);
            }
            let number = state.number();
            state.waiting.insert(number, sender);
            number
        };
        let bytes = request.message(number, transaction).encode();
        self.outgoing.send(bytes).map_err(|_| Error::Disconnected)?;
        let reply = receiver.await.map_err(|_| Error::Disconnected)?;
        request.answer(reply)
    }

    /// Sends a request whose answer nobody waits for.
    pub(super) fn send(&self, request: &Request, transaction: u32) {
        let number = self.shared.lock().number();
        // A broken connection has nothing to clean up on the other side.
        let _ = self
            .outgoing
            .send(request.message(number, transaction).encode());
    }

    /// A token for a new watch, and its events.
    pub(super) fn add_watch(&self) -> (String, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.shared.lock();
        state.next_token += 1;
        let token = format!("w{}", state.next_token);
        if !state.closed {
            state.watches.insert(token.clone(), sender);
        }
        (token, receiver)
    }

    pub(super) fn remove_watch(&self, token: &str) {
        self.shared.lock().watches.remove(token);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The reader would wait for ever. The writer ends by itself once it has sent what is queued.
        self.reader.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everyone who waits with an error.
    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        state.watches.clear();
    }

    fn deliver(&self, message: Message) {
        let mut state = self.lock();
        if message.kind != MessageType::WatchEvent.number() {
            if let Some(waiting) = state.waiting.remove(&message.request) {
                // Whoever asked may have stopped waiting.
                let _ = waiting.send(message);
            }
            return;
        }
        let mut strings = message
            .payload
            .split(|&b| b == 0)
            .map(|s| String::from_utf8_lossy(s).into_owned());
        if let (Some(path), Some(token)) = (strings.next(), strings.next())
            && let Some(watch) = state.watches.get(&token)
        {
            let _ = watch.send(path);
        }
    }
}

impl State {
    fn number(&mut self) -> u32 {
        self.next_request = self.next_request.wrapping_add(1);
        self.next_request
    }
}

async fn read_all(mut from: Reader, shared: Arc<Shared>) {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 4096];
    // The cause is lost to nobody: each request reports that the connection is gone.
    while let Ok(wanted) = decoder.wanted() {
        let len = wanted.min(buffer.len());
        let Some(space) = buffer.get_mut(..len) else {
            break;
        };
        let got = match from.read(space).await {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        match decoder.push(space.get(..got).unwrap_or_default()) {
            Ok(Some(message)) => shared.deliver(message),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    shared.close();
}

async fn write_all(
    mut to: Writer,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: Arc<Shared>,
) {
    while let Some(bytes) = queue.recv().await {
        if to.write_all(&bytes).await.is_err() {
            return shared.close();
        }
    }
}
