//! cargo xtask: the one door to building, running and testing.

fn main() {}
