//! The store itself: an immutable tree, changes to it, and transactions over it. Pure code.

pub(crate) mod change;
pub(crate) mod node;
#[cfg(test)]
mod proptests;
pub(crate) mod transaction;
pub(crate) mod tree;

pub(crate) use change::{Change, Effect};
pub(crate) use node::Node;
pub(crate) use transaction::Transaction;
pub(crate) use tree::Tree;
