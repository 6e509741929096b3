//! The console daemon.

fn main() {}
