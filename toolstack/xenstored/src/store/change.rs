//! Changes of the tree, as requests ask for them and as transactions replay them.

use std::sync::Arc;

use xenstore::{ErrorCode, Path, Permissions};

use super::node::Node;
use super::tree::Tree;
use crate::logic::who::Who;

/// A change that one request makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Sets a value, making what is missing.
    Write(Path, Arc<[u8]>),
    /// Makes a node.
    MakeDirectory(Path),
    /// Removes a node and all below it.
    Remove(Path),
    /// Sets permissions.
    SetPermissions(Path, Permissions),
}

/// What a change did, for the watches.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Nothing, as when a node to be made exists.
    Nothing,
    /// A node has a new value, new permissions, or is new. The permissions it had before, if it existed.
    Changed(Path, Option<Arc<Permissions>>),
    /// A node is gone, with all below it.
    Removed(Path, Arc<Node>),
}

impl Change {
    /// The node that is changed.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Write(path, _)
            | Self::MakeDirectory(path)
            | Self::Remove(path)
            | Self::SetPermissions(path, _) => path,
        }
    }

    /// Makes the change. Permissions to do so were checked before; the quota of nodes is checked here.
    ///
    /// # Errors
    /// `ENOSPC`: the quota; `EINVAL`: the root is to be removed; `ENOENT`: there is no such node, or for a removal no
    /// such directory.
    pub(crate) fn apply(
        &self,
        tree: &mut Tree,
        who: &Who,
        generation: u64,
    ) -> Result<Effect, ErrorCode> {
        let before = tree.get(self.path()).map(|n| Arc::clone(&n.permissions));
        match self {
            Self::Write(path, value) => {
                make(tree, path, who, generation)?;
                tree.set_value(path, Arc::clone(value), generation);
            }
            Self::MakeDirectory(path) => {
                if before.is_some() {
                    return Ok(Effect::Nothing);
                }
                make(tree, path, who, generation)?;
            }
            Self::Remove(path) => {
                let parent = path.parent().ok_or(ErrorCode::EINVAL)?;
                if tree.get(&parent).is_none() {
                    return Err(ErrorCode::ENOENT);
                }
                return Ok(match tree.remove(path, generation) {
                    Some(node) => Effect::Removed(path.clone(), node),
                    None => Effect::Nothing,
                });
            }
            Self::SetPermissions(path, permissions) => {
                if before.is_none() {
                    return Err(ErrorCode::ENOENT);
                }
                tree.set_permissions(path, Arc::new(permissions.clone()), generation);
            }
        }
        Ok(Effect::Changed(self.path().clone(), before))
    }
}

/// Makes a node where it is missing, within the quota. A guest owns what it makes.
fn make(tree: &mut Tree, path: &Path, who: &Who, generation: u64) -> Result<(), ErrorCode> {
    let (_, depth) = tree.nearest(path);
    let missing = path.components().count() - depth;
    if missing == 0 {
        return Ok(());
    }
    let owner = who.limits.is_some().then_some(who.domain);
    if let Some(limits) = &who.limits
        && tree.owned_by(who.domain).saturating_add(missing) > limits.nodes
    {
        return Err(ErrorCode::ENOSPC);
    }
    tree.create(path, owner, generation);
    Ok(())
}
