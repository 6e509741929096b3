//! The checks, by what they are about.

pub mod hardware;
