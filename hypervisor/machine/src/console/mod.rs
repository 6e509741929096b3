//! The physical console: COM1, written by polling.
//!
//! `core` adds the ring, the log levels and the sharing with dom0; here are bytes only.

mod log;

use ::alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use log::Log;
use oxen_core::options::{Parity, Serial};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{self as uart, IER, WordLength};
use uart_16550::{BaudRate, Config, Uart16550};

/// Port of the first serial line.
const COM1: u16 = 0x3f8;
/// Polls for room in the transmitter before the byte is given up: about 100 ms on silicon, where each takes 1 us.
/// A line that takes nothing must not hang the hypervisor.
const SEND_POLLS: u32 = 100_000;

static PRESENT: AtomicBool = AtomicBool::new(false);

/// The lines of the boot, until `core` takes them over.
static BOOT_LOG: Mutex<Log> = Mutex::new(Log::new());

static COM: Mutex<Option<Uart16550<PioBackend>>> = Mutex::new(None);

/// Sets COM1 to 115200 8n1. Without a UART there the console stays silent.
pub fn init() {
    configure(&Serial::usual(COM1, 4));
}

/// Uses the UART that `serial` describes. Without one there everything stays as it is. A line without a speed is left
/// as the boot loader set it, which must be the one in use.
pub fn configure(serial: &Serial) {
    let Some(baud) = serial.baud else { return };
    let config = Config {
        frequency: serial.clock,
        baud_rate: BaudRate::from_integer(baud),
        data_bits: match serial.data_bits {
            5 => WordLength::FiveBits,
            6 => WordLength::SixBits,
            7 => WordLength::SevenBits,
            _ => WordLength::EightBits,
        },
        parity: match serial.parity {
            Parity::None => uart::Parity::Disabled,
            Parity::Odd => uart::Parity::Odd,
            Parity::Even => uart::Parity::Even,
            Parity::Mark => uart::Parity::Forced1,
            Parity::Space => uart::Parity::Forced0,
        },
        extra_stop_bits: serial.stop_bits == 2,
        ..Config::DEFAULT
    };
    // SAFETY: dom0 is never given the console's ports, so this driver is the only one that touches them.
    let Ok(mut uart) = (unsafe { Uart16550::new_port(serial.io_base) }) else {
        return;
    };
    if uart.init(config).is_ok() {
        *COM.lock() = Some(uart);
        PRESENT.store(true, Ordering::Release);
    }
}

/// Writes `bytes` as they are, except that a line feed gets a carriage return before it. Bytes that the line does not
/// take in time are dropped.
pub fn write(bytes: &[u8]) {
    if let Some(uart) = COM.lock().as_mut() {
        send(uart, bytes);
    }
}

/// Like [`write`], for a panic: goes ahead even if some CPU holds the line and will never let it go.
pub fn write_in_panic(bytes: &[u8]) {
    // Another CPU may be in the middle of a line: give it a moment.
    for _ in 0..SEND_POLLS {
        if let Some(mut guard) = COM.try_lock() {
            if let Some(uart) = guard.as_mut() {
                send(uart, bytes);
            }
            return;
        }
        core::hint::spin_loop();
    }
    // SAFETY: the other CPUs are stopped or stuck; the worst of two drivers on one UART is garbled text.
    unsafe { COM.force_unlock() };
    write(bytes);
}

/// Takes received bytes off the line; returns how many were put into `bytes`.
pub fn read(bytes: &mut [u8]) -> usize {
    COM.lock()
        .as_mut()
        .map_or(0, |uart| uart.receive_bytes(bytes))
}

/// Makes the UART interrupt (ISA IRQ 4 for COM1) when it has received something.
pub fn enable_receive_interrupt() {
    if let Some(uart) = COM.lock().as_mut() {
        uart.enable_interrupts(IER::DATA_READY);
    }
}

/// Whether there is a console to write to.
pub fn present() -> bool {
    PRESENT.load(Ordering::Acquire)
}

fn send(uart: &mut Uart16550<PioBackend>, bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (text, end): (&[u8], &[u8]) = match line.split_last() {
            Some((b'\n', text)) => (text, b"\r\n"),
            _ => (line, b""),
        };
        if !send_all(uart, text) || !send_all(uart, end) {
            return;
        }
    }
}

fn send_all(uart: &mut Uart16550<PioBackend>, mut bytes: &[u8]) -> bool {
    let mut polls = 0;
    while !bytes.is_empty() {
        let sent = uart.send_bytes(bytes);
        bytes = bytes.get(sent..).unwrap_or_default();
        polls = if sent == 0 { polls + 1 } else { 0 };
        if polls > SEND_POLLS {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// What has been printed with [`println`] so far.
pub(crate) fn boot_log() -> Vec<u8> {
    BOOT_LOG.lock().bytes().to_vec()
}

/// The console and the boot's log as a formatter's target.
#[derive(Debug)]
pub struct BootConsole;

impl Write for BootConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        BOOT_LOG.lock().push(text.as_bytes());
        Ok(())
    }
}

/// The console as a formatter's target while panicking.
#[derive(Debug)]
pub struct PanicConsole;

impl Write for PanicConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_in_panic(text.as_bytes());
        Ok(())
    }
}

/// Writes a line to the physical console and the boot's log, which becomes the beginning of the console ring. For the
/// time before `core` runs, whose lines look the same.
macro_rules! println {
    ($($arg:tt)*) => {{
        use core::fmt::Write as _;
        // The console takes every text.
        let _ = writeln!($crate::console::BootConsole, "(XEN) {}", format_args!($($arg)*));
    }};
}
pub(crate) use println;
