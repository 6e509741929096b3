//! The console: dom0 writes through the hypervisor, others into their console ring.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use oxen_abi::event_channel::{EVTCHNOP_SEND, Send};
use oxen_abi::hypercall::{
    HYPERVISOR_CONSOLE_IO, HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_SCHED_OP,
};
use oxen_abi::sched::SCHEDOP_YIELD;
use oxen_abi::start_info::SIF_INITDOMAIN;
use oxen_abi::xen::CONSOLEIO_WRITE;

use crate::sys::shared::{self, ConsoleRing};
use crate::sys::{self, hypercall};

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

/// Writes bytes; what cannot be written is lost, for there is nobody else to tell.
fn write(bytes: &mut [u8]) {
    if sys::start_info().flags & SIF_INITDOMAIN == 0 {
        if let Some(ring) = shared::own_console() {
            write_ring(ring, bytes);
        }
        return;
    }
    let _ = hypercall::call(
        HYPERVISOR_CONSOLE_IO,
        [
            u64::from(CONSOLEIO_WRITE),
            bytes.len() as u64,
            hypercall::slice_address(bytes),
        ],
    );
}

/// How often a full ring is looked at again before its rest is dropped: a console daemon that
/// does not run must not stop the guest for ever.
const PATIENCE: u32 = 100_000;

fn write_ring(ring: &ConsoleRing, bytes: &[u8]) {
    let mut produced = ring.out_prod.load(Ordering::Relaxed);
    let mut patience = PATIENCE;
    for &byte in bytes {
        while produced.wrapping_sub(ring.out_cons.load(Ordering::Acquire)) >= 2048 {
            if patience == 0 {
                return;
            }
            patience -= 1;
            notify();
            let _ = hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_YIELD), 0]);
        }
        if let Some(slot) = ring.out.get(produced as usize % 2048) {
            slot.store(byte, Ordering::Relaxed);
        }
        produced = produced.wrapping_add(1);
        ring.out_prod.store(produced, Ordering::Release);
    }
    notify();
}

fn notify() {
    let mut send = Send {
        port: sys::start_info().console_evtchn,
    };
    let _ = hypercall::op(HYPERVISOR_EVENT_CHANNEL_OP, EVTCHNOP_SEND, &mut send);
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
