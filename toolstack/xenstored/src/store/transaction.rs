//! Transactions.
//!
//! A transaction works on a snapshot. It notes which nodes it looked at and what it changed. At its end the changes
//! are replayed onto the tree as it is then, provided that nothing it looked at has changed since the snapshot; else
//! the client is told to try again. So transactions that do not meet do not disturb each other.

use std::collections::BTreeSet;

use xenstore::{ErrorCode, Path};

use super::change::{Change, Effect};
use super::tree::Tree;
use crate::logic::who::Who;

/// An open transaction.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    base: Tree,
    /// The snapshot with the transaction's own changes.
    pub(crate) tree: Tree,
    seen: BTreeSet<Seen>,
    changes: Vec<Change>,
    doomed: bool,
}

/// Something that a transaction looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// Whether a node exists, its value, its permissions.
    Node(Path),
    /// The names of a node's children.
    Children(Path),
}

impl Transaction {
    /// Starts on a snapshot of `tree`.
    pub(crate) fn new(tree: &Tree) -> Self {
        Self {
            base: tree.clone(),
            tree: tree.clone(),
            seen: BTreeSet::new(),
            changes: Vec::new(),
            doomed: false,
        }
    }

    /// Stands for one that was open when xenstored was restarted: it can be used, but not committed.
    pub(crate) fn doomed(tree: &Tree) -> Self {
        Self {
            doomed: true,
            ..Self::new(tree)
        }
    }

    /// Notes that a node was looked at. Where it does not exist, what is noted is that, and the node on which the
    /// right to make it depends.
    pub(crate) fn see(&mut self, path: &Path) {
        let (_, depth) = self.base.nearest(path);
        let mut ancestor = path.clone();
        let mut below = path.components().count();
        // Up from the path to the first missing node, then to the deepest one that exists.
        while below > depth {
            if below == depth + 1 {
                self.seen.insert(Seen::Node(ancestor.clone()));
            }
            let Some(parent) = ancestor.parent() else {
                break;
            };
            ancestor = parent;
            below -= 1;
        }
        self.seen.insert(Seen::Node(ancestor));
    }

    /// Notes that the names of a node's children were looked at.
    pub(crate) fn see_children(&mut self, path: &Path) {
        self.see(path);
        self.seen.insert(Seen::Children(path.clone()));
    }

    /// How much it has noted; bounded by the quota of guests.
    pub(crate) fn size(&self) -> usize {
        self.seen.len().saturating_add(self.changes.len())
    }

    /// Makes a change in the snapshot.
    ///
    /// # Errors
    /// As [`Change::apply`].
    pub(crate) fn change(
        &mut self,
        change: Change,
        who: &Who,
        generation: u64,
    ) -> Result<(), ErrorCode> {
        self.see(change.path());
        change.apply(&mut self.tree, who, generation)?;
        // Of several writes to one node in a row only the last counts.
        if let (Change::Write(path, _), Some(Change::Write(last, _))) =
            (&change, self.changes.last())
            && path == last
        {
            self.changes.pop();
        }
        self.changes.push(change);
        Ok(())
    }

    /// Replays the changes onto `tree` and returns what they did.
    ///
    /// # Errors
    /// `EAGAIN`: something that was looked at has changed; `ENOSPC`: the quota. `tree` is as before then.
    pub(crate) fn commit(
        self,
        tree: &mut Tree,
        who: &Who,
        mut generation: impl FnMut() -> u64,
    ) -> Result<Vec<Effect>, ErrorCode> {
        if self.doomed
            || self
                .seen
                .iter()
                .any(|seen| seen.state(&self.base) != seen.state(tree))
        {
            return Err(ErrorCode::EAGAIN);
        }
        let mut result = tree.clone();
        let mut effects = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            effects.push(change.apply(&mut result, who, generation())?);
        }
        *tree = result;
        Ok(effects)
    }
}

impl Seen {
    /// What of it can change.
    fn state(&self, tree: &Tree) -> Option<u64> {
        match self {
            Self::Node(path) => tree.get(path).map(|n| n.generation),
            Self::Children(path) => tree.get(path).map(|n| n.children_generation),
        }
    }
}
