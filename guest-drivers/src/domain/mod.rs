//! Building and ending a second domain: an unprivileged copy of this kernel.

mod layout;

#[cfg(target_os = "none")]
mod builder;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
pub mod control;

#[cfg(target_os = "none")]
pub use builder::{Domain, Spec, create_idle, destroy};
pub use layout::Layout;
