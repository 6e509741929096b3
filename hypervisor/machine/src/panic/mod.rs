//! The end of the hypervisor: what happened, where, who called, and then a reboot.

#[cfg(target_os = "none")]
pub(crate) mod backtrace;
#[cfg(target_os = "none")]
mod handler;
pub mod symbols;

#[cfg(target_os = "none")]
pub(crate) use handler::{fatal_nmi, fatal_trap, machine_check, stuck};
