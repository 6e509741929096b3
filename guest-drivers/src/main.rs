//! The PV test guest. Everything is in the library; this only makes an ELF of it.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
use guest_drivers as _;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("oxen-test-guest is a kernel: build it for x86_64-unknown-none");
    std::process::exit(2);
}
