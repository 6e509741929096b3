//! Watches: requests about them, and who learns of a change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use xenstore::{ErrorCode, Path, Permissions};

use super::connection::{Connection, ConnectionId};
use super::quota::TOKEN_MAX;
use super::request::{Request, path_of};
use super::{INTRODUCE, Logic, RELEASE, done};
use crate::store::{Effect, Node};

/// What identifies a watch of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WatchKey {
    /// The absolute path, or a special one.
    pub(crate) target: Arc<str>,
    /// The client's token.
    pub(crate) token: Arc<[u8]>,
    /// The client gave a path relative to its directory, and gets such paths back.
    pub(crate) relative: bool,
}

/// All watches, by what they watch, so that a change need look only at the paths above it.
#[derive(Debug, Default)]
pub(super) struct WatchIndex {
    by_target: HashMap<Arc<str>, HashSet<(ConnectionId, WatchKey)>>,
}

impl WatchIndex {
    fn insert(&mut self, connection: ConnectionId, key: WatchKey) {
        self.by_target
            .entry(Arc::clone(&key.target))
            .or_default()
            .insert((connection, key));
    }

    pub(super) fn remove(&mut self, connection: ConnectionId, key: &WatchKey) {
        if let Some(watches) = self.by_target.get_mut(&key.target) {
            watches.remove(&(connection, key.clone()));
            if watches.is_empty() {
                self.by_target.remove(&key.target);
            }
        }
    }

    fn of(&self, target: &str) -> impl Iterator<Item = &(ConnectionId, WatchKey)> {
        self.by_target.get(target).into_iter().flatten()
    }
}

/// Something that watches may fire for.
#[derive(Debug)]
pub(super) enum Event {
    /// A change of the tree.
    Node(Effect),
    /// `@introduceDomain` or `@releaseDomain`.
    Special(&'static str),
    /// The first event of a new watch.
    First(ConnectionId, WatchKey),
}

impl Logic {
    pub(super) fn watch(
        &mut self,
        request: &Request,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let key = self.watch_key(request)?;
        let connection = self
            .connections
            .get_mut(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        let most = connection
            .who
            .limits
            .as_ref()
            .map_or(usize::MAX, |l| l.watches);
        if connection
            .watches
            .iter()
            .any(|k| k.target == key.target && k.token == key.token)
        {
            return Err(ErrorCode::EEXIST);
        }
        if connection.watches.len() >= most {
            return Err(ErrorCode::E2BIG);
        }
        connection.watches.insert(key.clone());
        self.watches.insert(request.connection, key.clone());
        effects.push(Event::First(request.connection, key));
        Ok(done())
    }

    pub(super) fn unwatch(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let key = self.watch_key(request)?;
        let connection = self
            .connections
            .get_mut(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        let found = connection
            .watches
            .iter()
            .find(|k| k.target == key.target && k.token == key.token);
        let key = found.cloned().ok_or(ErrorCode::ENOENT)?;
        connection.watches.remove(&key);
        self.watches.remove(request.connection, &key);
        Ok(done())
    }

    pub(super) fn reset_watches(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        self.forget_watches(request.connection);
        let connection = self
            .connections
            .get_mut(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        // A kernel that starts over in its domain knows nothing of earlier transactions either.
        connection.transactions.clear();
        Ok(done())
    }

    pub(super) fn forget_watches(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            for key in connection.watches.drain() {
                self.watches.remove(id, &key);
            }
        }
    }

    /// Puts a watch of a saved state in place.
    pub(super) fn restore_watch(&mut self, id: ConnectionId, key: WatchKey) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.watches.insert(key.clone());
            self.watches.insert(id, key);
        }
    }

    fn watch_key(&self, request: &Request) -> Result<WatchKey, ErrorCode> {
        let (text, rest) = request.string_and_rest()?;
        // The token ends with a zero byte; what some clients send after it does not matter.
        let token = rest
            .split(|&b| b == 0)
            .next()
            .filter(|t| t.len() < rest.len())
            .ok_or(ErrorCode::EINVAL)?;
        if token.len() > TOKEN_MAX {
            return Err(ErrorCode::E2BIG);
        }
        let token = Arc::from(token);
        if text.starts_with('@') {
            if text != INTRODUCE && text != RELEASE {
                return Err(ErrorCode::EINVAL);
            }
            return Ok(WatchKey {
                target: text.into(),
                token,
                relative: false,
            });
        }
        let path = path_of(self.who(request)?.domain, text)?;
        Ok(WatchKey {
            target: path.as_str().into(),
            token,
            relative: !text.starts_with('/'),
        })
    }

    /// Queues the events of what happened.
    pub(super) fn fire(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Node(Effect::Nothing) => {}
                Event::Node(Effect::Changed(path, before)) => {
                    self.fire_changed(&path, before.as_deref())
                }
                Event::Node(Effect::Removed(path, node)) => self.fire_removed(&path, &node),
                Event::Special(name) => self.fire_special(name),
                Event::First(id, key) => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        // The path that the client gave, whether or not it may see the node.
                        let path = seen_as(connection, &key, &key.target);
                        connection.event((path, key.token));
                        self.fresh.insert(id);
                    }
                }
            }
        }
    }

    fn fire_changed(&mut self, path: &Path, before: Option<&Permissions>) {
        let node = self.tree.get(path).map(|n| Arc::clone(&n.permissions));
        let parent = path
            .parent()
            .and_then(|p| self.tree.get(&p))
            .map(|n| Arc::clone(&n.permissions));
        let permissions = [before, node.as_deref(), parent.as_deref()];
        let mut watched = Some(path.clone());
        while let Some(target) = watched {
            fire_target(
                &self.watches,
                &mut self.connections,
                &mut self.fresh,
                target.as_str(),
                path.as_str(),
                &permissions,
            );
            watched = target.parent();
        }
    }

    /// A removal is seen by watches of the node and above, and by those of each node that went with it.
    fn fire_removed(&mut self, path: &Path, removed: &Node) {
        self.fire_changed(path, Some(&removed.permissions));
        let mut parents: HashMap<String, Arc<Permissions>> = HashMap::new();
        removed.walk(&mut |below, node| {
            parents.insert(below.to_owned(), Arc::clone(&node.permissions));
            let Some((parent, _)) = below.rsplit_once('/') else {
                return;
            };
            let permissions = [
                Some(&*node.permissions),
                parents.get(parent).map(|p| &**p),
                None,
            ];
            let target = format!("{path}{below}");
            fire_target(
                &self.watches,
                &mut self.connections,
                &mut self.fresh,
                &target,
                &target,
                &permissions,
            );
        });
    }

    fn fire_special(&mut self, name: &'static str) {
        let permissions = [self.specials.get(name), None, None];
        fire_target(
            &self.watches,
            &mut self.connections,
            &mut self.fresh,
            name,
            name,
            &permissions,
        );
    }
}

/// Queues an event for the watches of `target`, where any of the `permissions` lets the watcher read.
fn fire_target(
    watches: &WatchIndex,
    connections: &mut BTreeMap<ConnectionId, Connection>,
    fresh: &mut BTreeSet<ConnectionId>,
    target: &str,
    changed: &str,
    permissions: &[Option<&Permissions>; 3],
) {
    for (id, key) in watches.of(target) {
        let Some(connection) = connections.get_mut(id) else {
            continue;
        };
        let may_see = permissions
            .iter()
            .flatten()
            .any(|p| connection.who.access(p).reads());
        if may_see {
            let path = seen_as(connection, key, changed);
            connection.event((path, Arc::clone(&key.token)));
            fresh.insert(*id);
        }
    }
}

/// The path as the watcher expects it: relative to its directory if it watches so.
fn seen_as(connection: &Connection, key: &WatchKey, path: &str) -> String {
    let base = Path::of_domain(connection.who.domain);
    let relative = path
        .strip_prefix(base.as_str())
        .and_then(|p| p.strip_prefix('/'));
    match relative {
        Some(relative) if key.relative => relative.to_owned(),
        _ => path.to_owned(),
    }
}
