//! A version of the whole tree, with a count of the nodes that each domain owns. Cloning takes a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use xenstore::{Path, Permissions};

use super::node::Node;

/// The tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: Arc<Node>,
    owned: Arc<BTreeMap<u16, usize>>,
}

impl Tree {
    /// A tree of one node, the root, which is dom0's and closed to others.
    pub(crate) fn new() -> Self {
        let root = Node::new(Arc::new(Permissions::private(0)), 0);
        Self {
            root: Arc::new(root),
            owned: Arc::new(BTreeMap::from([(0, 1)])),
        }
    }

    /// The root.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// How many nodes a domain owns.
    pub(crate) fn owned_by(&self, domain: u16) -> usize {
        self.owned.get(&domain).copied().unwrap_or(0)
    }

    /// A node.
    pub(crate) fn get(&self, path: &Path) -> Option<&Node> {
        path.components().try_fold(&*self.root, |node, name| {
            node.children.get(name).map(|n| &**n)
        })
    }

    /// The deepest node that exists on the way to `path`, and how many components of the path it takes.
    pub(crate) fn nearest(&self, path: &Path) -> (&Node, usize) {
        let mut node = &*self.root;
        let mut depth = 0;
        for name in path.components() {
            match node.children.get(name) {
                Some(child) => node = child,
                None => break,
            }
            depth += 1;
        }
        (node, depth)
    }

    /// Sets the value of a node that exists.
    pub(crate) fn set_value(&mut self, path: &Path, value: Arc<[u8]>, generation: u64) {
        if let Some(node) = self.get_mut(path) {
            node.value = value;
            node.generation = generation;
        }
    }

    /// Sets the permissions of a node that exists.
    pub(crate) fn set_permissions(
        &mut self,
        path: &Path,
        permissions: Arc<Permissions>,
        generation: u64,
    ) {
        let new_owner = permissions.owner.domain;
        let Some(node) = self.get_mut(path) else {
            return;
        };
        let old_owner = node.owner();
        node.permissions = permissions;
        node.generation = generation;
        self.count(old_owner, -1);
        self.count(new_owner, 1);
    }

    /// Makes a node and those that are missing above it; each takes its parent's permissions, owned by `owner` where
    /// that is given. Nothing happens to nodes that exist.
    pub(crate) fn create(&mut self, path: &Path, owner: Option<u16>, generation: u64) {
        let mut made: Vec<u16> = Vec::new();
        let mut node = Arc::make_mut(&mut self.root);
        for name in path.components() {
            if !node.children.contains_key(name) {
                let mut permissions = Arc::clone(&node.permissions);
                if let Some(owner) = owner
                    && permissions.owner.domain != owner
                {
                    Arc::make_mut(&mut permissions).owner.domain = owner;
                }
                made.push(permissions.owner.domain);
                node.children
                    .insert(name.into(), Arc::new(Node::new(permissions, generation)));
                node.children_generation = generation;
            }
            match node.children.get_mut(name) {
                Some(child) => node = Arc::make_mut(child),
                None => break,
            }
        }
        for owner in made {
            self.count(owner, 1);
        }
    }

    /// Removes a node that is not the root, with all below it, and returns it.
    pub(crate) fn remove(&mut self, path: &Path, generation: u64) -> Option<Arc<Node>> {
        let (parent, name) = (path.parent()?, path.name()?);
        self.get(path)?;
        let parent = self.get_mut(&parent)?;
        let removed = parent.children.remove(name)?;
        parent.children_generation = generation;
        removed.walk(&mut |_, node| self.count(node.owner(), -1));
        Some(removed)
    }

    /// Takes a domain that is gone out of all permissions; its nodes go to dom0. No generation changes and no watch
    /// need fire, for nobody else's rights change.
    pub(crate) fn forget_domain(&mut self, domain: u16) {
        let mut mentions: Vec<String> = Vec::new();
        self.root.walk(&mut |path, node| {
            if node.permissions.entries().any(|p| p.domain == domain) {
                mentions.push(if path.is_empty() {
                    "/".to_owned()
                } else {
                    path.to_owned()
                });
            }
        });
        for path in mentions {
            let Ok(path) = Path::new(&path) else { continue };
            let Some(node) = self.get_mut(&path) else {
                continue;
            };
            let permissions = Arc::make_mut(&mut node.permissions);
            permissions.others.retain(|p| p.domain != domain);
            if permissions.owner.domain == domain {
                permissions.owner.domain = 0;
                self.count(domain, -1);
                self.count(0, 1);
            }
        }
    }

    /// Whether the counts are true; for the control command `check` and for tests.
    pub(crate) fn counts_are_true(&self) -> bool {
        let mut counted: BTreeMap<u16, usize> = BTreeMap::new();
        self.root
            .walk(&mut |_, node| *counted.entry(node.owner()).or_default() += 1);
        counted == *self.owned
    }

    /// Puts a node of a saved tree in place.
    pub(crate) fn restore(
        &mut self,
        path: &Path,
        value: Arc<[u8]>,
        permissions: Permissions,
        generation: u64,
    ) {
        self.create(path, None, generation);
        self.set_value(path, value, generation);
        self.set_permissions(path, Arc::new(permissions), generation);
    }

    fn get_mut(&mut self, path: &Path) -> Option<&mut Node> {
        // Looked up first, so that a missing node does not copy the way to it.
        self.get(path)?;
        let mut node = Arc::make_mut(&mut self.root);
        for name in path.components() {
            node = Arc::make_mut(node.children.get_mut(name)?);
        }
        Some(node)
    }

    fn count(&mut self, domain: u16, change: isize) {
        let owned = Arc::make_mut(&mut self.owned);
        let entry = owned.entry(domain).or_default();
        *entry = entry.saturating_add_signed(change);
        if *entry == 0 {
            owned.remove(&domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(s: &str) -> Path {
        Path::new(s).unwrap()
    }

    #[test]
    fn snapshots_do_not_see_later_changes() {
        let mut tree = Tree::new();
        tree.create(&path("/a/b"), None, 1);
        let before = tree.clone();
        tree.set_value(&path("/a/b"), Arc::from(*b"x"), 2);
        tree.remove(&path("/a"), 3);
        assert!(tree.get(&path("/a")).is_none());
        assert_eq!(&*before.get(&path("/a/b")).unwrap().value, b"");
        assert!(tree.counts_are_true() && before.counts_are_true());
    }

    #[test]
    fn created_nodes_inherit_and_change_owner() {
        let mut tree = Tree::new();
        tree.create(&path("/d"), None, 1);
        tree.set_permissions(&path("/d"), Arc::new(Permissions::readable_by(5, 7)), 2);
        tree.create(&path("/d/x"), None, 3);
        tree.create(&path("/d/y"), Some(9), 4);
        assert_eq!(tree.get(&path("/d/x")).unwrap().owner(), 5);
        let y = tree.get(&path("/d/y")).unwrap();
        assert_eq!((y.owner(), y.permissions.others.len()), (9, 1));
        assert_eq!((tree.owned_by(5), tree.owned_by(9)), (2, 1));
        tree.forget_domain(5);
        assert_eq!((tree.owned_by(5), tree.owned_by(0)), (0, 3));
        assert!(tree.counts_are_true());
    }

    #[test]
    fn deep_trees_need_no_stack() {
        let mut tree = Tree::new();
        let deep = path(&"/x".repeat(1000));
        tree.create(&deep, None, 1);
        let copy = tree.clone();
        drop(tree);
        assert!(copy.get(&deep).is_some());
        let mut nodes = 0;
        copy.root().walk(&mut |_, _| nodes += 1);
        assert_eq!(nodes, 1001);
    }
}
