//! Random hypercalls from an unprivileged copy (`mode=fuzz`, `mode=fuzzer`).
//!
//! A call is either any number with any arguments, or one of a family that knows how its
//! arguments look and gets some of them wrong. Two vCPUs of the copy make calls at once, on the
//! same frames, ports and grants.

pub mod calls;
mod events;
mod grants;
pub mod material;
mod memory;
pub mod plan;
mod platform;
mod tables;
mod vcpus;

#[cfg(target_os = "none")]
mod finale;
#[cfg(target_os = "none")]
mod lateness;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod send;

#[cfg(target_os = "none")]
pub(crate) use lateness::upcall;
#[cfg(target_os = "none")]
pub(crate) use run::run;
#[cfg(target_os = "none")]
pub(crate) use send::{COMMAND, second, send};
