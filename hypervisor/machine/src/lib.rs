//! Mechanism of the Oxen hypervisor: the only bare-metal crate with unsafe.
//!
//! It boots the machine, owns the page tables, the traps, the interrupt controllers, the clocks and the other CPUs, and
//! gives all of it to `oxen-core` behind safe interfaces. Policy is not here.
//!
//! The crate builds for the host as well, so that its parsers and its arithmetic are tested there; what only makes
//! sense on bare metal is behind `cfg(target_os = "none")`.

#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
extern crate alloc;

pub mod acpi;
#[cfg(target_os = "none")]
mod apic;
#[cfg(any(target_os = "none", test))]
mod bios;
pub mod boot;
pub mod clock;
pub mod console;
#[cfg(target_os = "none")]
mod control;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
mod cpuid;
#[cfg(target_os = "none")]
mod debugreg;
#[cfg(target_os = "none")]
mod fpu;
#[cfg(target_os = "none")]
mod frames;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod hpet;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
mod isolation;
pub mod layout;
pub mod machine_check;
#[cfg(target_os = "none")]
pub mod memory;
#[cfg(target_os = "none")]
mod microcode;
#[cfg(target_os = "none")]
mod mmio;
#[cfg(target_os = "none")]
mod msr;
#[cfg(target_os = "none")]
mod nmi;
pub mod num;
#[cfg(target_os = "none")]
pub mod paging;
pub mod panic;
#[cfg(target_os = "none")]
mod pci;
pub mod percpu;
#[cfg(target_os = "none")]
pub(crate) mod pio;
#[cfg(target_os = "none")]
pub mod reboot;
#[cfg(target_os = "none")]
mod segments;
pub mod smp;
#[cfg(target_os = "none")]
mod speculation;
#[cfg(target_os = "none")]
mod stacks;
#[cfg(target_os = "none")]
mod trap;
#[cfg(target_os = "none")]
mod uaccess;
#[cfg(target_os = "none")]
mod watchdog;
#[cfg(target_os = "none")]
mod window;
#[cfg(target_os = "none")]
mod x86;
pub mod xsave_area;
