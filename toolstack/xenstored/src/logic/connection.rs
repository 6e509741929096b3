//! A connection: who it is, what waits to be sent to it, its transactions.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use xenstore::wire::PAYLOAD_MAX;
use xenstore::{ErrorCode, Message, MessageType};

use super::quota::{EVENTS_OF_DOM0, OUTSTANDING_OF_DOM0};
use super::watches::WatchKey;
use super::who::Who;
use super::{Logic, quota};
use crate::store::Transaction;

/// Names a connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A program in dom0.
    Socket {
        /// It may change things.
        writes: bool,
    },
    /// A domain's kernel, through its ring.
    Domain(u16),
}

/// An event as it is sent: the path and the token of the watch.
pub(super) type QueuedEvent = (String, Arc<[u8]>);

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) who: Who,
    pub(super) watches: HashSet<WatchKey>,
    pub(super) transactions: BTreeMap<u32, Transaction>,
    pub(super) next_transaction: u32,
    output: VecDeque<Output>,
    /// Answers in `output`.
    outstanding: usize,
    /// Events in `output`: one that is waiting already need not be queued again.
    queued: HashSet<QueuedEvent>,
    /// Events were dropped. Stays set, for the other end has missed something for good.
    overflowed: bool,
}

#[derive(Debug)]
enum Output {
    Reply(Vec<u8>),
    Event(QueuedEvent),
}

impl Connection {
    pub(super) fn new(peer: Peer, limits: &quota::Limits) -> Self {
        let who = match peer {
            Peer::Socket { writes } => Who {
                read_only: !writes,
                ..Who::dom0()
            },
            Peer::Domain(0) => Who::dom0(),
            Peer::Domain(domain) => Who::guest(domain, limits.clone()),
        };
        Self {
            peer,
            who,
            watches: HashSet::new(),
            transactions: BTreeMap::new(),
            next_transaction: 0,
            output: VecDeque::new(),
            outstanding: 0,
            queued: HashSet::new(),
            overflowed: false,
        }
    }

    /// Queues the answer to a request.
    pub(super) fn reply(&mut self, request: &Message, result: Result<Vec<u8>, ErrorCode>) {
        let result = result.and_then(|payload| {
            if payload.len() > PAYLOAD_MAX {
                Err(ErrorCode::E2BIG)
            } else {
                Ok(payload)
            }
        });
        let (kind, payload) = match result {
            Ok(payload) => (request.kind, payload),
            Err(code) => (
                MessageType::Error.number(),
                format!("{}\0", code.name()).into_bytes(),
            ),
        };
        let message = Message {
            kind,
            request: request.request,
            transaction: request.transaction,
            payload,
        };
        self.output.push_back(Output::Reply(message.encode()));
        self.outstanding += 1;
    }

    /// Queues a watch event, unless the same one is waiting already.
    pub(super) fn event(&mut self, event: QueuedEvent) {
        let most = self
            .who
            .limits
            .as_ref()
            .map_or(EVENTS_OF_DOM0, |l| l.events);
        if self.queued.contains(&event) {
            return;
        }
        if self.queued.len() >= most {
            if !self.overflowed {
                tracing::warn!(peer = ?self.peer, most, "does not take its watch events; more are dropped");
            }
            self.overflowed = true;
            return;
        }
        self.queued.insert(event.clone());
        self.output.push_back(Output::Event(event));
    }

    fn next_output(&mut self) -> Option<Vec<u8>> {
        match self.output.pop_front()? {
            Output::Reply(bytes) => {
                self.outstanding = self.outstanding.saturating_sub(1);
                Some(bytes)
            }
            Output::Event(event) => {
                self.queued.remove(&event);
                let (path, token) = event;
                let mut payload = path.into_bytes();
                payload.push(0);
                payload.extend_from_slice(&token);
                payload.push(0);
                let kind = MessageType::WatchEvent.number();
                Some(
                    Message {
                        kind,
                        request: 0,
                        transaction: 0,
                        payload,
                    }
                    .encode(),
                )
            }
        }
    }
}

impl Logic {
    /// A new connection.
    pub(crate) fn connect(&mut self, peer: Peer) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.connections
            .insert(id, Connection::new(peer, &self.limits));
        id
    }

    /// Forgets a connection with its watches and transactions.
    pub(crate) fn disconnect(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            for key in connection.watches {
                self.watches.remove(id, &key);
            }
        }
    }

    /// Forgets a connection's watches, transactions and what waits to be sent: the kernel at the other end is new.
    pub(crate) fn start_over(&mut self, id: ConnectionId) {
        self.forget_watches(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.transactions.clear();
            connection.output.clear();
            connection.queued.clear();
            connection.outstanding = 0;
        }
    }

    /// The next message to send, as bytes.
    pub(crate) fn next_output(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        self.connections.get_mut(&id)?.next_output()
    }

    /// Connections whose queues grew since the last call.
    pub(crate) fn take_fresh(&mut self) -> BTreeSet<ConnectionId> {
        core::mem::take(&mut self.fresh)
    }

    /// Whether requests of it may be looked at: it takes its answers.
    pub(crate) fn may_ask(&self, id: ConnectionId) -> bool {
        let most = |c: &Connection| {
            c.who
                .limits
                .as_ref()
                .map_or(OUTSTANDING_OF_DOM0, |l| l.outstanding)
        };
        self.connections
            .get(&id)
            .is_some_and(|c| c.outstanding < most(c))
    }

    /// Whether a socket has stopped reading for so long that events were lost: it is to be closed.
    pub(crate) fn has_overflowed(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|c| c.overflowed && matches!(c.peer, Peer::Socket { .. }))
    }
}
