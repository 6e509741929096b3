//! The consoles that the boot options name: two serial lines and the screen.

use ::alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use oxen_core::options::{EarlyConsole, Serial, Share};
use spin::Mutex;

use super::line::Line;
use super::log::Log;
use super::queue::Queue;
use super::vga::Vga;

/// Tries to get a console in a panic before it is taken by force.
const PANIC_POLLS: u32 = 100_000;

/// The lines of the boot, until `core` takes them over.
static BOOT_LOG: Mutex<Log> = Mutex::new(Log::new());
/// The serial lines: com1, com2.
static LINES: [Mutex<Port>; 2] = [const {
    Mutex::new(Port {
        line: None,
        queue: Queue::new(),
    })
}; 2];
static SCREEN: Mutex<Vga> = Mutex::new(Vga::new());
/// Nothing waits in queues: `sync_console`, or a panic.
static SYNCHRONOUS: AtomicBool = AtomicBool::new(false);
/// A serial line has no interrupt and is looked at from time to time.
static POLLED: AtomicBool = AtomicBool::new(false);

/// A serial line, if it is there, and what waits for it.
struct Port {
    line: Option<Line>,
    queue: Queue,
}

impl Port {
    /// Works on an open line.
    fn with<R>(&mut self, work: impl FnOnce(&mut Line, &mut Queue) -> R) -> Option<R> {
        self.line.as_mut().map(|line| work(line, &mut self.queue))
    }
}

/// Opens the consoles. One that is not there stays silent. Called once, by the boot CPU.
pub(crate) fn init(consoles: &EarlyConsole) {
    let sinks = [
        (consoles.sinks.com1, &consoles.com1),
        (consoles.sinks.com2, &consoles.com2),
    ];
    for (line, (share, serial)) in LINES.iter().zip(sinks) {
        line.lock().line = share.and_then(|share| Line::open(serial, share));
    }
    if consoles.sinks.vga {
        SCREEN.lock().find();
    }
    SYNCHRONOUS.store(consoles.synchronous, Ordering::Release);
}

/// The first serial line with its usual settings, for what is said before any option is known.
pub(crate) fn init_usual() {
    LINES[0].lock().line = Line::open(&Serial::usual(0x3f8, 4), Share::No);
}

/// The page tables are the hypervisor's own: video memory can be mapped.
pub(crate) fn attach_screen() {
    SCREEN.lock().attach();
}

/// Leaves the screen to dom0.
pub(crate) fn release_screen() {
    SCREEN.lock().release();
}

/// Row of the cursor and rows of the screen, if the console is there.
pub(crate) fn screen_rows() -> Option<(usize, usize)> {
    SCREEN.lock().rows()
}

/// Whether a serial line (0 for com1, 1 for com2) is there.
pub(crate) fn is_open(line: usize) -> bool {
    LINES
        .get(line)
        .is_some_and(|port| port.lock().line.is_some())
}

/// A serial line can interrupt now; without an interrupt it is polled.
pub(crate) fn listen(line: usize, interrupts: bool) {
    if !interrupts {
        POLLED.store(true, Ordering::Release);
    } else if let Some(port) = LINES.get(line) {
        port.lock().with(|line, _| line.enable_interrupts());
    }
}

/// Whether some serial line has to be looked at from time to time.
#[inline]
pub(crate) fn is_polled() -> bool {
    POLLED.load(Ordering::Relaxed)
}

/// Writes `bytes` as they are, except that a line feed gets a carriage return before it. Bytes that a line does not take
/// in time are dropped.
pub(crate) fn write(bytes: &[u8]) {
    let now = SYNCHRONOUS.load(Ordering::Relaxed);
    for port in &LINES {
        port.lock()
            .with(|line, queue| line.write(queue, bytes, now));
    }
    SCREEN.lock().write(bytes);
}

/// Like [`write`], for a panic: goes ahead even if some CPU holds a console and will never let it go.
pub(crate) fn write_in_panic(bytes: &[u8]) {
    SYNCHRONOUS.store(true, Ordering::Release);
    LINES.iter().for_each(take_by_force);
    take_by_force(&SCREEN);
    write(bytes);
}

/// Another CPU may be in the middle of a line: gives it a moment.
fn take_by_force<T>(console: &Mutex<T>) {
    for _ in 0..PANIC_POLLS {
        if console.try_lock().is_some() {
            return;
        }
        core::hint::spin_loop();
    }
    // SAFETY: the other CPUs are stopped or stuck; the worst of two drivers on one device is garbled text.
    unsafe { console.force_unlock() };
}

/// A serial line has interrupted, or is looked at: output that waits goes on.
pub(crate) fn pump() {
    for port in &LINES {
        port.lock().with(|line, queue| line.pump(queue));
    }
}

/// Sends all that waits. Before the machine ends.
pub(crate) fn flush() {
    for port in &LINES {
        if let Some(mut port) = port.try_lock() {
            port.with(|line, queue| line.drain(queue, 0));
        }
    }
}

/// Takes received bytes off the lines; returns how many were put into `bytes`.
pub(crate) fn read(bytes: &mut [u8]) -> usize {
    LINES.iter().fold(0, |count, port| {
        let room = bytes.get_mut(count..).unwrap_or_default();
        count + port.lock().with(|line, _| line.read(room)).unwrap_or(0)
    })
}

/// What has been printed with `println` so far.
pub(crate) fn boot_log() -> Vec<u8> {
    BOOT_LOG.lock().bytes().to_vec()
}

/// The consoles and the boot's log as a formatter's target.
#[derive(Debug)]
pub(crate) struct BootConsole;

impl Write for BootConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        BOOT_LOG.lock().push(text.as_bytes());
        Ok(())
    }
}

/// The consoles as a formatter's target while panicking.
#[derive(Debug)]
pub(crate) struct PanicConsole;

impl Write for PanicConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_in_panic(text.as_bytes());
        Ok(())
    }
}
