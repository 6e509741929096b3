//! The other CPUs: who they are, and how they are started.

#[cfg(target_os = "none")]
mod start;
pub mod topology;
#[cfg(target_os = "none")]
mod trampoline;

#[cfg(target_os = "none")]
pub(crate) use start::{make, release, start_all};
