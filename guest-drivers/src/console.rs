//! The console: dom0 writes through the hypervisor.

use core::fmt::{self, Write};

use oxen_abi::hypercall::HYPERVISOR_CONSOLE_IO;
use oxen_abi::xen::CONSOLEIO_WRITE;

use crate::sys::hypercall;

/// Collects a line, so that it reaches the console in one piece.
struct Line {
    bytes: [u8; 256],
    used: usize,
}

impl Line {
    fn flush(&mut self) {
        let used = core::mem::take(&mut self.used);
        if let Some(bytes) = self.bytes.get_mut(..used) {
            write(bytes);
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(slot) = self.bytes.get_mut(self.used) {
                *slot = byte;
                self.used += 1;
            }
            if self.used == self.bytes.len() || byte == b'\n' {
                self.flush();
            }
        }
        Ok(())
    }
}

/// Writes bytes; what the hypervisor refuses is lost, for there is nobody else to tell.
fn write(bytes: &mut [u8]) {
    let _ = hypercall::call(
        HYPERVISOR_CONSOLE_IO,
        [
            u64::from(CONSOLEIO_WRITE),
            bytes.len() as u64,
            hypercall::slice_address(bytes),
        ],
    );
}

/// Prints formatted text.
pub fn print(args: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 256],
        used: 0,
    };
    let _ = line.write_fmt(args);
    line.flush();
}

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($arg)*)))
    };
}
