//! The hypervisor's console: messages with levels, the ring that keeps them, guests' output, and
//! the serial line's input.
//!
//! Messages are written with [`crate::log_error`], [`crate::log_warning`], [`crate::log_info`],
//! [`crate::log_debug`] and, for what is always printed, [`crate::log_always`]; messages that a
//! guest can cause with the `guest_` forms, which are rate-limited as `guest_loglvl` says.
//! Nothing here allocates after boot, and the console's lock is the last one in the lock order.

mod hypercall;
mod input;
pub mod keys;
mod limit;
mod line;
mod macros;
mod ring;

use core::fmt::{self, Write};

pub use hypercall::console_io;
pub use input::{give_input_to_dom0, serial_input};
pub use line::GuestLine;

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::options::{Fate, Level, Levels, Options};
use crate::percpu::Pending;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::{CpuId, DomId};

use input::Input;
use limit::{RateLimit, Verdict};
use line::LineWriter;
use ring::Ring;

/// What each of the hypervisor's lines starts with, as on every Xen.
const PREFIX: &str = "(XEN) ";

/// The console.
#[derive(Debug)]
pub struct Console {
    state: Mutex<State>,
    levels: Levels,
    guest_levels: Levels,
    guests_to_ring: bool,
    input: Mutex<Input>,
    /// The ring has output that `VIRQ_CON_RING` has not told of.
    news: AtomicBool,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    limit: RateLimit,
}

impl Console {
    /// A console with an empty ring.
    pub fn new(options: &Options) -> Self {
        Self {
            state: Mutex::new(State {
                ring: Ring::new(options.conring_size),
                limit: RateLimit::default(),
            }),
            levels: options.log,
            guest_levels: options.guest_log,
            guests_to_ring: options.console_to_ring,
            input: Mutex::new(Input::new(options.switch)),
            news: AtomicBool::new(false),
        }
    }

    /// Prints a message whatever the level.
    pub fn always<M: Machine>(&self, machine: &M, message: fmt::Arguments<'_>) {
        let mut state = self.state.lock();
        self.print(machine, &mut state, message);
    }

    /// Prints a message of the hypervisor's own, if its level is to be printed.
    pub fn log<M: Machine>(&self, machine: &M, level: Level, message: fmt::Arguments<'_>) {
        self.judged(machine, self.levels.fate(level), message);
    }

    /// Prints a message that a guest caused, if its level is to be printed.
    pub fn guest_log<M: Machine>(
        &self,
        machine: &M,
        domain: DomId,
        level: Level,
        message: fmt::Arguments<'_>,
    ) {
        let fate = self.guest_levels.fate(level);
        self.judged(machine, fate, format_args!("d{}: {message}", domain.0));
    }

    fn judged<M: Machine>(&self, machine: &M, fate: Fate, message: fmt::Arguments<'_>) {
        if fate == Fate::Drop {
            return;
        }
        let mut state = self.state.lock();
        if fate == Fate::Limit {
            match state.limit.message(machine.now()) {
                Verdict::Drop => return,
                Verdict::Print(0) => {}
                Verdict::Print(missed) => {
                    let note = format_args!("{missed} messages were dropped by the rate limit");
                    self.print(machine, &mut state, note);
                }
            }
        }
        self.print(machine, &mut state, message);
    }

    fn print<M: Machine>(&self, machine: &M, state: &mut State, message: fmt::Arguments<'_>) {
        let mut out = |bytes: &[u8]| {
            machine.console_write(bytes);
            state.ring.push(bytes);
        };
        let mut writer = LineWriter::new(PREFIX, &mut out);
        // The writer itself never fails; a message that does is printed as far as it goes.
        let _ = writer.write_fmt(message);
        writer.finish();
        self.news.store(true, Ordering::Release);
    }

    /// Writes dom0's bytes as they are.
    fn write_raw<M: Machine>(&self, machine: &M, bytes: &[u8]) {
        let mut state = self.state.lock();
        machine.console_write(bytes);
        if self.guests_to_ring {
            state.ring.push(bytes);
            self.news.store(true, Ordering::Release);
        }
    }

    /// Keeps output in the ring that has been on the physical console already.
    pub(crate) fn record(&self, bytes: &[u8]) {
        self.state.lock().ring.push(bytes);
        self.news.store(true, Ordering::Release);
    }

    /// Where a reader of the ring starts: at `index`, or at the oldest byte.
    pub fn ring_start(&self, index: Option<u32>) -> u32 {
        self.state.lock().ring.start(index)
    }

    /// Copies from the ring and moves `position` on; returns how many bytes (0 = at the end).
    pub fn read_ring(&self, position: &mut u32, bytes: &mut [u8]) -> usize {
        self.state.lock().ring.read(position, bytes)
    }

    /// Forgets what stands in the ring before `position`.
    pub fn clear_ring(&self, position: u32) {
        self.state.lock().ring.clear(position);
    }
}

/// Tells whoever watches the ring of new output. Called where no lock is held (on the way out
/// to a guest), because messages are also printed where events cannot be sent.
pub fn announce<M: Machine>(hv: &'static Hypervisor<M>) {
    if hv.console.news.swap(false, Ordering::AcqRel) {
        crate::event::send_global_virq(hv, oxen_abi::xen::VIRQ_CON_RING);
    }
}

/// Asks for [`announce`] to be called soon.
fn want_announce<M: Machine>(hv: &Hypervisor<M>) {
    // The boot CPU may have nothing else to do for long. Before there is a dom0 nobody listens.
    if hv.dom0.get().is_some() {
        hv.raise(CpuId(0), Pending::NEWS, CpuId(u16::MAX));
    }
}

/// Prints through the hypervisor; the macros lead here.
pub fn emit<M: Machine>(hv: &Hypervisor<M>, message: Message<'_>) {
    let Message {
        source,
        level,
        text,
    } = message;
    match (source, level) {
        (_, None) => hv.console.always(&hv.machine, text),
        (None, Some(level)) => hv.console.log(&hv.machine, level, text),
        (Some(domain), Some(level)) => hv.console.guest_log(&hv.machine, domain, level, text),
    }
    if hv.console.news.load(Ordering::Relaxed) {
        want_announce(hv);
    }
}

/// A message on its way to the console.
pub struct Message<'a> {
    /// The guest that caused it.
    pub source: Option<DomId>,
    /// Its level; `None` = printed always.
    pub level: Option<Level>,
    /// The text, without a newline at its end.
    pub text: fmt::Arguments<'a>,
}
