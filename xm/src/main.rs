//! The Oxen command line.

fn main() {}
