//! End-to-end tests: real QEMU, real GRUB, a real Linux dom0, driven over the serial console.
//!
//! [`list`] says what is tested, where and when. A [`session`] is one boot with several checks, which are in
//! [`checks`]. [`qemu`] describes the emulated machine and starts it, [`console`] talks to it; `cargo xtask`
//! uses these two for its own runs as well.
#![forbid(unsafe_code)]

#[cfg(test)]
mod book;
pub mod boot_time;
pub mod boots;
pub mod checks;
pub mod console;
pub mod disk;
pub mod dom0;
pub mod expensive;
pub mod figures;
mod filter;
pub mod guest;
pub mod list;
mod monitor;
pub mod qemu;
pub mod session;
pub mod trace;
