//! `mode=bench`: ticks of the time-stamp counter a call takes, the empty loop subtracted.
//!
//! With the word `trace` on the command line each call is made a few times between two markers instead, after a key
//! was typed, so that a tracing emulator can tell what it executes.
//!
//! Under an emulator that counts instructions as time (`-icount shift=0`) the ticks are
//! instructions. Each figure is the median of 11 batches; nothing is printed while measuring.

mod mappings;
mod memory;
mod sharing;
mod switch;
mod traps;

pub(crate) use switch::{ANSWER, answer};

use core::hint::black_box;

use oxen_abi::hypercall::{
    HYPERVISOR_CONSOLE_IO, HYPERVISOR_MULTICALL, HYPERVISOR_SCHED_OP, HYPERVISOR_SET_TIMER_OP,
    HYPERVISOR_VCPU_OP, HYPERVISOR_XEN_VERSION, MulticallEntry,
};
use oxen_abi::sched::SCHEDOP_YIELD;
use oxen_abi::vcpu::VCPUOP_STOP_PERIODIC_TIMER;
use oxen_abi::xen::CONSOLEIO_READ;

use crate::cmdline::CommandLine;
use crate::println;
use crate::sys::hypercall::{self, Result};
use crate::sys::{bench, cpu, probe};
use crate::time::now;

const BATCHES: usize = 11;
/// Calls in a batch: short enough that no timer tick falls into most of them.
const CALLS: u64 = 50;
/// Calls in a trace, and those before it that fill the caches of whoever is measured.
const TRACED: u64 = 16;
const WARM_UP: u64 = 4;

/// How the calls are measured.
pub(crate) struct Meter {
    /// Ticks of a batch that does nothing.
    empty: u64,
    /// The calls are made between two markers while the emulator writes down what it executes.
    trace: bool,
}

impl Meter {
    fn new(trace: bool) -> Self {
        Meter {
            empty: batch(|round| {
                black_box(round);
            }),
            trace,
        }
    }

    /// Measures a call and prints the ticks that it takes; `per` calls are made at once.
    fn measure(&self, name: &str, per: u64, mut call: impl FnMut(u64)) {
        if self.trace {
            trace(name, per, call);
        } else {
            let ticks = batch(&mut call).saturating_sub(self.empty) / CALLS / per;
            println!("BENCH {name} {ticks}");
        }
    }
}

/// Ticks of one batch, the middle one of several.
fn batch(mut call: impl FnMut(u64)) -> u64 {
    let mut ticks = [0u64; BATCHES];
    for slot in &mut ticks {
        let start = cpu::rdtsc_ordered();
        for round in 0..CALLS {
            call(black_box(round));
        }
        *slot = cpu::rdtsc_ordered().wrapping_sub(start);
    }
    ticks.sort_unstable();
    ticks[BATCHES / 2]
}

/// Makes the calls between two markers, once somebody has typed a key.
fn trace(name: &str, per: u64, mut call: impl FnMut(u64)) {
    for round in 0..WARM_UP {
        call(round);
    }
    println!("TRACE {name} {}", TRACED * per);
    while !key() {}
    bench::mark();
    for round in 0..TRACED {
        call(black_box(round));
    }
    bench::mark();
    println!("TRACED {name}");
}

/// Whether a key was typed on the console.
fn key() -> bool {
    let mut byte = [0u8];
    let address = hypercall::slice_address(&mut byte);
    hypercall::call(
        HYPERVISOR_CONSOLE_IO,
        [u64::from(CONSOLEIO_READ), 1, address],
    )
    .is_ok_and(|count| count > 0)
}

/// CR4.FSGSBASE.
const FSGSBASE: u64 = 1 << 16;

/// Runs all measurements; with the word `memory` on the command line those of memory instead.
pub(crate) fn run(line: &CommandLine<'_>) {
    // The tick that a vCPU starts with would fall into the batches.
    let _ = hypercall::call(
        HYPERVISOR_VCPU_OP,
        [u64::from(VCPUOP_STOP_PERIODIC_TIMER), 0, 0],
    );
    // As Linux has it wherever it can.
    if let Ok(cr4) = probe::read_cr4() {
        let _ = probe::write_cr4(cr4 | FSGSBASE);
    }
    let done = if line.flag("memory") {
        memory::run()
    } else {
        measurements(&Meter::new(line.flag("trace")))
    };
    if let Err(error) = done {
        println!("ERROR bench: {error}");
    }
    println!("BENCH end");
}

#[inline(always)]
fn call(number: u64, args: [u64; 3]) {
    let _ = hypercall::call(number, args);
}

fn measurements(meter: &Meter) -> Result<()> {
    meter.measure("hypercall.empty", 1, |_| {
        call(HYPERVISOR_XEN_VERSION, [0; 3])
    });
    meter.measure("hypercall.unknown", 1, |_| call(63, [0; 3]));
    let mut list = [MulticallEntry {
        op: HYPERVISOR_XEN_VERSION,
        ..MulticallEntry::default()
    }; 32];
    let address = hypercall::slice_address(&mut list);
    meter.measure("multicall.entry", 32, |_| {
        call(HYPERVISOR_MULTICALL, [address, 32, 0]);
    });
    let far = now() + 60_000_000_000;
    meter.measure("timer.set", 1, |round| {
        call(HYPERVISOR_SET_TIMER_OP, [far + round, 0, 0]);
    });
    call(HYPERVISOR_SET_TIMER_OP, [0; 3]);
    meter.measure("sched.yield", 1, |_| {
        call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_YIELD), 0, 0]);
    });
    mappings::run(meter)?;
    traps::run(meter)?;
    sharing::run(meter)?;
    switch::run(meter)
}
