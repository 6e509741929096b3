//! The Oxen hypervisor image: links the machine, whose boot entry starts everything.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
use oxen_machine as _;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "This is the hypervisor's image built for the host, which is of no use; run `cargo xtask build`."
    );
    std::process::exit(1);
}
