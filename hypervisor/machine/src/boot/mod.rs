//! From the boot loader to a machine that `oxen-core` can start on.

#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod start;
