//! Hypercalls by number.
