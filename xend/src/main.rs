//! The Oxen daemon.

fn main() {}
