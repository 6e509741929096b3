//! One node of the tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use xenstore::Permissions;

/// A node. Shared between versions of the tree; a change copies the nodes from the root down to it, and only those
/// that an older version still holds.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its value.
    pub(crate) value: Arc<[u8]>,
    /// Its permissions.
    pub(crate) permissions: Arc<Permissions>,
    /// Changes with the value and the permissions; never the same for two nodes of one path.
    pub(crate) generation: u64,
    /// Changes when a child is added or removed.
    pub(crate) children_generation: u64,
    /// Its children by name.
    pub(crate) children: BTreeMap<Arc<str>, Arc<Node>>,
}

impl Node {
    /// A node without value and children.
    pub(crate) fn new(permissions: Arc<Permissions>, generation: u64) -> Self {
        Self {
            value: Arc::default(),
            permissions,
            generation,
            children_generation: generation,
            children: BTreeMap::new(),
        }
    }

    /// The domain that owns it.
    pub(crate) fn owner(&self) -> u16 {
        self.permissions.owner.domain
    }

    /// Calls `visit` for the node and all below it, with their paths relative to it (empty for itself).
    pub(crate) fn walk(&self, visit: &mut impl FnMut(&str, &Node)) {
        // No recursion: a path has up to a thousand components, and they are a guest's choice.
        let mut pending: Vec<(String, &Node)> = vec![(String::new(), self)];
        while let Some((path, node)) = pending.pop() {
            visit(&path, node);
            for (name, child) in node.children.iter().rev() {
                pending.push((format!("{path}/{name}"), child));
            }
        }
    }
}

impl Drop for Node {
    /// Frees deep trees without recursion.
    fn drop(&mut self) {
        let mut pending: Vec<Arc<Node>> =
            core::mem::take(&mut self.children).into_values().collect();
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                pending.extend(core::mem::take(&mut node.children).into_values());
            }
        }
    }
}
