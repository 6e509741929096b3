//! Random hypercalls from an unprivileged copy (`mode=fuzz`, `mode=fuzzer`).

#[cfg(target_os = "none")]
mod bare;
pub mod calls;

#[cfg(target_os = "none")]
pub(crate) use bare::{run, send};
