//! From the boot loader to a machine that `oxen-core` can start on.

pub mod alloc;
#[cfg(target_os = "none")]
mod devices;
pub mod e820;
#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod handover;
pub mod info;
pub mod multiboot1;
pub mod multiboot2;
pub mod phys;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod start;

#[cfg(target_os = "none")]
pub(crate) use handover::{hypervisor, run_cpu};
