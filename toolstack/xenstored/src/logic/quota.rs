//! Limits of guests. dom0 has none.

/// What one guest may use of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Nodes that it owns.
    pub(crate) nodes: usize,
    /// Watches.
    pub(crate) watches: usize,
    /// Transactions at a time.
    pub(crate) transactions: usize,
    /// Nodes that one transaction looks at or changes.
    pub(crate) transaction_size: usize,
    /// Bytes of a value.
    pub(crate) value: usize,
    /// Entries of a node's permissions.
    pub(crate) permissions: usize,
    /// Answers that it has not taken yet; no request of it is looked at beyond that.
    pub(crate) outstanding: usize,
    /// Watch events that it has not taken yet; more are dropped.
    pub(crate) events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes: 1000,
            watches: 128,
            transactions: 10,
            transaction_size: 1024,
            value: 2048,
            permissions: 5,
            outstanding: 20,
            events: 2048,
        }
    }
}

/// The same two bounds for dom0's own clients, so that one that stopped reading does not fill the memory. A socket that
/// passes the second is closed.
pub(crate) const OUTSTANDING_OF_DOM0: usize = 256;
pub(crate) const EVENTS_OF_DOM0: usize = 1 << 16;

/// Longest token of a watch, so that an event with the longest path fits a message.
pub(crate) const TOKEN_MAX: usize = 1000;
