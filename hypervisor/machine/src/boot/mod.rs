//! From the boot loader to a machine that `oxen-core` can start on.

pub mod alloc;
pub mod e820;
#[cfg(target_os = "none")]
mod entry;
pub mod info;
pub mod multiboot1;
pub mod multiboot2;
pub mod phys;
#[cfg(target_os = "none")]
mod start;
