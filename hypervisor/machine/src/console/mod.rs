//! The physical console: serial lines and the VGA screen.
//!
//! `core` adds the ring, the log levels and the sharing with dom0; here are bytes only. Output goes to the transmitter
//! as far as it has room; the rest waits for the line's interrupt. With `sync_console`, in a panic, and before
//! interrupts work, it is sent by polling.

#[cfg(target_os = "none")]
mod line;
#[cfg(target_os = "none")]
mod log;
#[cfg(target_os = "none")]
mod physical;
pub mod queue;
pub mod screen;
#[cfg(target_os = "none")]
mod vga;

#[cfg(target_os = "none")]
pub(crate) use physical::*;

/// Writes a line to the physical console and the boot's log, which becomes the beginning of the console ring. For the
/// time before `core` runs, whose lines look the same.
#[cfg(target_os = "none")]
macro_rules! println {
    ($($arg:tt)*) => {{
        use core::fmt::Write as _;
        // The console takes every text.
        let _ = writeln!($crate::console::BootConsole, "(XEN) {}", format_args!($($arg)*));
    }};
}
#[cfg(target_os = "none")]
pub(crate) use println;
