//! xenstored's logic: requests in, answers and events out. No I/O: what the outside must do is asked of a
//! [`Platform`].

mod connection;
mod control;
mod domains;
mod nodes;
pub(crate) mod quota;
mod request;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod transactions;
mod watches;
pub(crate) mod who;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xenstore::{ErrorCode, Message, MessageType, Path, Permissions};

use crate::store::Tree;
use connection::Connection;
pub(crate) use connection::{ConnectionId, Peer};
use domains::Domains;
use request::Request;
use watches::WatchIndex;

/// What the logic needs from the outside.
pub(crate) trait Platform {
    /// Maps the ring of a domain and binds its port. A domain that is attached already gets its port bound anew.
    ///
    /// # Errors
    /// `EINVAL`: there is no such domain, ring or port.
    fn attach(&mut self, domain: u16, frame: u64, port: u32) -> Result<(), ErrorCode>;

    /// Unmaps the ring of a domain and closes its port.
    fn detach(&mut self, domain: u16);

    /// How a domain is.
    fn state(&mut self, domain: u16) -> DomainState;
}

/// How a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DomainState {
    /// It runs, or will.
    Alive,
    /// It has shut down and waits for the toolstack.
    ShutDown,
    /// It is being destroyed, or gone.
    Gone,
}

/// The whole state.
#[derive(Debug)]
pub(crate) struct Logic {
    tree: Tree,
    /// Permissions of `@introduceDomain` and `@releaseDomain`.
    specials: BTreeMap<&'static str, Permissions>,
    connections: BTreeMap<ConnectionId, Connection>,
    watches: WatchIndex,
    domains: Domains,
    limits: quota::Limits,
    next_connection: u64,
    generation: u64,
    /// Connections whose queues grew since they were last asked for.
    fresh: BTreeSet<ConnectionId>,
}

/// The path that changes when a domain appears.
pub(crate) const INTRODUCE: &str = "@introduceDomain";
/// The path that changes when a domain shuts down or goes.
pub(crate) const RELEASE: &str = "@releaseDomain";

impl Logic {
    /// An empty store, but for the nodes that everyone expects.
    pub(crate) fn new(limits: quota::Limits) -> Self {
        let mut logic = Self {
            tree: Tree::new(),
            specials: [INTRODUCE, RELEASE]
                .map(|name| (name, Permissions::private(0)))
                .into(),
            connections: BTreeMap::new(),
            watches: WatchIndex::default(),
            domains: Domains::default(),
            limits,
            next_connection: 0,
            generation: 0,
            fresh: BTreeSet::new(),
        };
        for (path, value) in BASE {
            if let Ok(path) = Path::new(path) {
                let generation = logic.next_generation();
                logic.tree.create(&path, None, generation);
                logic
                    .tree
                    .set_value(&path, Arc::from(value.as_bytes()), generation);
            }
        }
        logic
    }

    /// Handles a request. The answer, and the events that it causes, are in the connections' queues afterwards.
    pub(crate) fn handle(
        &mut self,
        id: ConnectionId,
        message: Message,
        platform: &mut impl Platform,
    ) {
        let request = Request::new(id, message);
        let kind = MessageType::from_number(request.message.kind);
        let mut effects = Vec::new();
        let result = match kind {
            None => Err(ErrorCode::ENOSYS),
            Some(kind) => self.dispatch(kind, &request, platform, &mut effects),
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.reply(&request.message, result);
        self.fresh.insert(id);
        // Events after the answer, so that a client that waits for its answer finds it first.
        self.fire(effects);
    }

    fn dispatch(
        &mut self,
        kind: MessageType,
        request: &Request,
        platform: &mut impl Platform,
        effects: &mut Vec<watches::Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        use MessageType as M;
        let connection = self
            .connections
            .get(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        let changes = !matches!(
            kind,
            M::Directory
                | M::DirectoryPart
                | M::Read
                | M::GetPermissions
                | M::Watch
                | M::Unwatch
                | M::ResetWatches
                | M::TransactionStart
                | M::TransactionEnd
                | M::GetDomainPath
                | M::IsDomainIntroduced
        );
        if changes && connection.who.read_only {
            return Err(ErrorCode::EROFS);
        }
        let dom0_only = matches!(
            kind,
            M::Control | M::Introduce | M::Release | M::Resume | M::SetTarget
        );
        if dom0_only && !connection.who.is_privileged() {
            return Err(ErrorCode::EACCES);
        }
        match kind {
            M::Directory => self.directory(request),
            M::DirectoryPart => self.directory_part(request),
            M::Read => self.read(request),
            M::GetPermissions => self.get_permissions(request),
            M::Write => self.write(request, effects),
            M::MakeDirectory => self.make_directory(request, effects),
            M::Remove => self.remove(request, effects),
            M::SetPermissions => self.set_permissions(request, effects),
            M::Watch => self.watch(request, effects),
            M::Unwatch => self.unwatch(request),
            M::ResetWatches => self.reset_watches(request),
            M::TransactionStart => self.transaction_start(request),
            M::TransactionEnd => self.transaction_end(request, effects),
            M::Introduce => self.introduce(request, platform, effects),
            M::Release => self.release(request, platform, effects),
            M::Resume => self.resume(request),
            M::SetTarget => self.set_target(request),
            M::GetDomainPath => Self::get_domain_path(request),
            M::IsDomainIntroduced => self.is_domain_introduced(request),
            M::Control => self.control(request),
            M::WatchEvent | M::Error => Err(ErrorCode::ENOSYS),
        }
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}

/// Nodes that are there from the start: xenstored's own, and what Xen's `xen-init-dom0` writes, which finds dom0's id
/// and leaves the rest as it is. The first CPU pool always exists and has this name in libxl.
const BASE: [(&str, &str); 4] = [
    ("/tool/xenstored", ""),
    ("/local/domain/0/domid", "0"),
    ("/local/domain/0/name", "Domain-0"),
    ("/local/pool/0/name", "Pool-0"),
];

/// What a request is answered with when there is nothing to say.
fn done() -> Vec<u8> {
    b"OK\0".to_vec()
}
