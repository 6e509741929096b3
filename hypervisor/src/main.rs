//! The Oxen hypervisor image.

fn main() {}
