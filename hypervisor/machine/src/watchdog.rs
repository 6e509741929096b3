//! The watchdog: finds a CPU that is stuck in the hypervisor, with interrupts off, and ends in a panic there.
//!
//! The interval timer (8254) interrupts the boot CPU through the IO-APIC as an NMI, 18 times a second. The handler looks
//! whether every CPU has taken an ordinary interrupt lately: a CPU that runs guests has one at least every 30 ms, for the
//! scheduler. One that waits for an interrupt is well. A CPU that is not gets an NMI itself, so that the panic shows where
//! it is stuck.
//!
//! The performance counters that other watchdogs use are left to guests' tools, and many emulators have none. A stuck
//! boot CPU is found as well: an NMI does not ask whether interrupts are on.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::apic::{ioapic, lapic, route};
use crate::console::println;
use crate::layout::MAX_CPUS;
use crate::percpu::{self, this_cpu};
use crate::trap::HostFrame;
use crate::{clock, pio};

/// Interval timer: control word and counter 0.
const CONTROL: u16 = 0x43;
const COUNTER_0: u16 = 0x40;
/// Counter 0, both bytes, rate generator; and a mode in which it waits for a count that does not come.
const RATE: u8 = 0x34;
const STOPPED: u8 = 0x30;
/// Ticks in a second with the longest count, 65,536 of 1,193,182 Hz, rounded up.
const TICKS_PER_SECOND: u32 = 19;
/// How long the first tick may take.
const PATIENCE_NS: u64 = 500_000_000;

static ON: AtomicBool = AtomicBool::new(false);
static TICKS: AtomicU32 = AtomicU32::new(0);
/// Ticks without a sign of life after which a CPU is stuck.
static LIMIT: AtomicU32 = AtomicU32::new(0);
/// The CPU that has been found stuck, plus 1; 0 for none.
static STUCK: AtomicU32 = AtomicU32::new(0);
static CPUS: [Cpu; MAX_CPUS] = [const { Cpu::new() }; MAX_CPUS];

/// What is known of a CPU.
struct Cpu {
    /// Counts its interrupts.
    life: AtomicU32,
    /// It waits for an interrupt.
    waiting: AtomicBool,
    /// `life` at the last tick.
    seen: AtomicU32,
    /// Ticks since `life` changed.
    missed: AtomicU32,
}

impl Cpu {
    const fn new() -> Self {
        Self {
            life: AtomicU32::new(0),
            waiting: AtomicBool::new(false),
            seen: AtomicU32::new(0),
            missed: AtomicU32::new(0),
        }
    }

    /// Ticks that it has missed, this one counted.
    fn missed(&self) -> u32 {
        let life = self.life.load(Ordering::Relaxed);
        if self.seen.swap(life, Ordering::Relaxed) != life || self.waiting.load(Ordering::Relaxed) {
            self.missed.store(0, Ordering::Relaxed);
            return 0;
        }
        self.missed.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn own() -> Option<&'static Cpu> {
    CPUS.get(usize::try_from(this_cpu().cpu).ok()?)
}

/// Starts it, on the boot CPU; `seconds` is how long a CPU may be stuck. Says in the log how that went.
pub(crate) fn start(seconds: u32) {
    let (gsi, _) = route::isa(0);
    if !route::claim(gsi) || !ioapic::route_nmi(gsi, this_cpu().apic_id) {
        println!("Watchdog: off, for the interval timer does not reach an IO-APIC");
        return;
    }
    LIMIT.store(
        seconds.saturating_mul(TICKS_PER_SECOND).max(2),
        Ordering::Relaxed,
    );
    // The boot goes on for longer than that with interrupts off.
    set_waiting(true);
    ON.store(true, Ordering::Release);
    pio::outb(CONTROL, RATE);
    pio::outb(COUNTER_0, 0);
    pio::outb(COUNTER_0, 0);
    let deadline = clock::now() + PATIENCE_NS;
    while TICKS.load(Ordering::Acquire) == 0 && clock::now() < deadline {
        core::hint::spin_loop();
    }
    if TICKS.load(Ordering::Acquire) == 0 {
        stop();
        println!("Watchdog: off, for the interval timer causes no NMI");
    } else {
        println!(
            "Watchdog: a CPU that is stuck for {seconds} s ends in a panic (NMI by the interval timer)"
        );
    }
}

/// Stops it; also in a panic.
pub(crate) fn stop() {
    if ON.swap(false, Ordering::AcqRel) {
        pio::outb(CONTROL, STOPPED);
    }
}

/// This CPU takes an interrupt, and so does not wait for one any more: what the handler does must end, too.
#[inline]
pub(crate) fn alive() {
    if ON.load(Ordering::Relaxed)
        && let Some(cpu) = own()
    {
        cpu.life.fetch_add(1, Ordering::Relaxed);
        cpu.waiting.store(false, Ordering::Relaxed);
    }
}

/// This CPU waits for an interrupt, or does not any more.
#[inline]
pub(crate) fn set_waiting(waiting: bool) {
    if let Some(cpu) = own() {
        cpu.waiting.store(waiting, Ordering::Relaxed);
    }
}

/// An NMI that no device has asked for. Returns whether it is the watchdog's.
pub(crate) fn tick(frame: &HostFrame) -> bool {
    if !ON.load(Ordering::Acquire) {
        return false;
    }
    let this = this_cpu().cpu;
    if STUCK.load(Ordering::Acquire) == this + 1 {
        give_up(frame);
    }
    if this != 0 {
        return false;
    }
    TICKS.fetch_add(1, Ordering::AcqRel);
    let limit = LIMIT.load(Ordering::Relaxed);
    for (number, cpu) in (0..percpu::cpu_count()).zip(&CPUS) {
        let Some(data) = percpu::get(number).filter(|data| data.online.load(Ordering::Acquire))
        else {
            continue;
        };
        if cpu.missed() != limit {
            continue;
        }
        STUCK.store(number + 1, Ordering::Release);
        if number == this {
            give_up(frame);
        }
        lapic::send_nmi(data.apic_id);
    }
    true
}

fn give_up(frame: &HostFrame) -> ! {
    stop();
    crate::panic::stuck(frame)
}
