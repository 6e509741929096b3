//! The state that survives a restart: the tree, the introduced domains with their watches, and what was on its way to
//! or from them. Programs in dom0 connect anew; open transactions fail with `EAGAIN` when they end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xenstore::{Path, Permission, Permissions};

use super::connection::{ConnectionId, Peer};
use super::watches::WatchKey;
use super::{Logic, quota};
use crate::store::{Node, Transaction};

/// Version of the format.
const VERSION: u32 = 1;

/// A saved state.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    generation: u64,
    nodes: Vec<SavedNode>,
    specials: Vec<(String, Vec<String>)>,
    /// The introduced domains, and dom0's kernel.
    pub(crate) domains: Vec<SavedDomain>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedNode {
    path: String,
    value: Text,
    permissions: Vec<String>,
}

/// A domain and its connection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedDomain {
    /// Its number.
    pub(crate) domain: u16,
    /// Frame of its ring, as introduced.
    pub(crate) frame: u64,
    /// The port it offers.
    pub(crate) port: u32,
    shut_down: bool,
    target: Option<u16>,
    watches: Vec<(String, Text, bool)>,
    transactions: Vec<u32>,
    next_transaction: u32,
    /// Bytes of a request of which the rest is still to come.
    pub(crate) input: Text,
    /// Bytes that are still to be sent.
    pub(crate) output: Text,
}

/// Bytes as text, one character for each byte.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Text(String);

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|&b| char::from(b)).collect())
    }
}

impl Text {
    /// The bytes; characters that are none are left out.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0
            .chars()
            .filter_map(|c| u8::try_from(u32::from(c)).ok())
            .collect()
    }
}

impl Logic {
    /// Saves everything. `kernel` is the connection of dom0's kernel; `in_flight` tells what bytes of a connection
    /// have been read and not handled, and what has been taken from its queue and not been sent. The queues are empty
    /// afterwards.
    pub(crate) fn save(
        &mut self,
        kernel: Option<ConnectionId>,
        mut in_flight: impl FnMut(ConnectionId) -> (Vec<u8>, Vec<u8>),
    ) -> Saved {
        let mut nodes = Vec::new();
        self.tree
            .root()
            .walk(&mut |path, node| nodes.push(saved_node(path, node)));
        let mut domains: Vec<(ConnectionId, SavedDomain)> = Vec::new();
        if let Some(id) = kernel {
            domains.push((id, SavedDomain::default()));
        }
        for (&domain, known) in &self.domains.known {
            let (frame, port, shut_down) = (known.frame, known.port, known.shut_down);
            domains.push((
                known.connection,
                SavedDomain {
                    domain,
                    frame,
                    port,
                    shut_down,
                    ..SavedDomain::default()
                },
            ));
        }
        let complete = |(id, mut saved): (ConnectionId, SavedDomain)| {
            let (input, mut output) = in_flight(id);
            while let Some(bytes) = self.next_output(id) {
                output.extend_from_slice(&bytes);
            }
            let connection = self.connections.get(&id)?;
            saved.target = connection.who.target;
            saved.watches = connection
                .watches
                .iter()
                .map(|k| (k.target.to_string(), Text::from(&*k.token), k.relative))
                .collect();
            saved.transactions = connection.transactions.keys().copied().collect();
            saved.next_transaction = connection.next_transaction;
            saved.input = Text::from(input.as_slice());
            saved.output = Text::from(output.as_slice());
            Some(saved)
        };
        let domains = domains.into_iter().filter_map(complete).collect();
        let specials = self
            .specials
            .iter()
            .map(|(name, p)| ((*name).to_owned(), entries(p)))
            .collect();
        Saved {
            version: VERSION,
            generation: self.generation,
            nodes,
            specials,
            domains,
        }
    }

    /// A store as it was saved. The connections of domains are made, without their rings.
    pub(crate) fn restore(limits: quota::Limits, saved: &Saved) -> Result<Self, String> {
        if saved.version != VERSION {
            return Err(format!(
                "its format is version {}, this xenstored knows {VERSION}",
                saved.version
            ));
        }
        let mut logic = Self::new(limits);
        logic.tree = crate::store::Tree::new();
        logic.generation = saved.generation;
        for node in &saved.nodes {
            let path = Path::new(&node.path).map_err(|e| format!("{:?}: {e}", node.path))?;
            let permissions =
                parsed(&node.permissions).ok_or_else(|| format!("permissions of {path}"))?;
            let generation = logic.next_generation();
            logic.tree.restore(
                &path,
                Arc::from(node.value.bytes()),
                permissions,
                generation,
            );
        }
        for (name, permissions) in &saved.specials {
            if let (Some(place), Some(permissions)) =
                (logic.specials.get_mut(name.as_str()), parsed(permissions))
            {
                *place = permissions;
            }
        }
        Ok(logic)
    }

    /// Makes the connection of a saved domain, or of dom0's kernel.
    pub(crate) fn restore_domain(&mut self, saved: &SavedDomain) -> ConnectionId {
        let id = match saved.domain {
            0 => self.connect(Peer::Domain(0)),
            domain => self.add_domain(domain, saved.frame, saved.port),
        };
        if let Some(known) = self.domains.known.get_mut(&saved.domain) {
            known.shut_down = saved.shut_down;
        }
        for (target, token, relative) in &saved.watches {
            let key = WatchKey {
                target: target.as_str().into(),
                token: token.bytes().into(),
                relative: *relative,
            };
            self.restore_watch(id, key);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.who.target = saved.target;
            connection.next_transaction = saved.next_transaction;
            for &number in &saved.transactions {
                let transaction = Transaction::doomed(&self.tree);
                connection.transactions.insert(number, transaction);
            }
        }
        id
    }
}

fn saved_node(path: &str, node: &Node) -> SavedNode {
    SavedNode {
        path: if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        },
        value: Text::from(&*node.value),
        permissions: entries(&node.permissions),
    }
}

fn entries(permissions: &Permissions) -> Vec<String> {
    permissions.entries().map(|p| p.to_string()).collect()
}

fn parsed(entries: &[String]) -> Option<Permissions> {
    let entries: Option<Vec<Permission>> = entries.iter().map(|e| e.parse().ok()).collect();
    Permissions::from_entries(&entries?)
}
