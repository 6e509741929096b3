//! Port I/O.
//!
//! Safe within this crate: the callers name ports of devices that do no DMA by them. What a guest may reach is `core`'s
//! decision.

use x86_64::instructions::port::{PortRead, PortWrite};

/// Reads a byte.
pub(crate) fn inb(port: u16) -> u8 {
    // SAFETY: a port read changes no memory of ours.
    unsafe { u8::read_from_port(port) }
}

/// Writes a byte.
pub(crate) fn outb(port: u16, value: u8) {
    // SAFETY: as the module says.
    unsafe { u8::write_to_port(port, value) }
}

/// Reads a word.
pub(crate) fn inw(port: u16) -> u16 {
    // SAFETY: a port read changes no memory of ours.
    unsafe { u16::read_from_port(port) }
}

/// Writes a word.
pub(crate) fn outw(port: u16, value: u16) {
    // SAFETY: as the module says.
    unsafe { u16::write_to_port(port, value) }
}

/// Reads a doubleword.
pub(crate) fn inl(port: u16) -> u32 {
    // SAFETY: a port read changes no memory of ours.
    unsafe { u32::read_from_port(port) }
}

/// Writes a doubleword.
pub(crate) fn outl(port: u16, value: u32) {
    // SAFETY: as the module says.
    unsafe { u32::write_to_port(port, value) }
}
