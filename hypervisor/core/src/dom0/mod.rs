//! Building the control domain from the files that the boot loader left in memory.
//!
//! The steps: tell the files apart (`files`), load the kernel to a block of frames (`load`),
//! lay the rest out (`plan`), give the frames to a new domain and write the tables that it
//! starts with (`write`), allow it the hardware (`access`), and let it run.

mod access;
mod build;
mod elf;
mod error;
mod extents;
mod files;
mod load;
mod notes;
mod payload;
mod plan;
mod tables;
#[cfg(test)]
mod tests;
mod write;

pub use build::build;
pub use error::BuildError;
pub use files::Module;

use oxen_abi::start_info::Dom0VgaConsoleInfo;

/// What the machine hands over for dom0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boot<'a> {
    /// The files, in the boot loader's order.
    pub modules: &'a [Module<'a>],
    /// What is on the screen.
    pub vga: Option<Dom0VgaConsoleInfo>,
    /// The first port of the ACPI PM timer, which the hypervisor keeps.
    pub pm_timer: Option<u16>,
}
