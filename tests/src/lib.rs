//! End-to-end tests: real QEMU, real GRUB, a real Linux dom0, driven over the serial console.
//!
//! [`qemu`] describes the emulated machine and starts it, [`console`] talks to it. `cargo xtask` uses both for
//! its own runs too.
#![forbid(unsafe_code)]

pub mod console;
pub mod qemu;
