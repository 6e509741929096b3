//! `mode=bench`: ticks of the time-stamp counter a call takes, the empty loop subtracted.
//!
//! Under an emulator that counts instructions as time (`-icount shift=0`) the ticks are
//! instructions. Each figure is the median of 11 batches; nothing is printed while measuring.

mod mappings;
mod sharing;
mod traps;

use core::hint::black_box;

use oxen_abi::hypercall::{
    HYPERVISOR_MULTICALL, HYPERVISOR_SCHED_OP, HYPERVISOR_SET_TIMER_OP, HYPERVISOR_VCPU_OP,
    HYPERVISOR_XEN_VERSION, MulticallEntry,
};
use oxen_abi::sched::SCHEDOP_YIELD;
use oxen_abi::vcpu::VCPUOP_STOP_PERIODIC_TIMER;

use crate::println;
use crate::sys::cpu;
use crate::sys::hypercall::{self, Result};
use crate::time::now;

const BATCHES: usize = 11;
/// Calls in a batch: short enough that no timer tick falls into most of them.
const CALLS: u64 = 50;

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

/// Measures a call and prints its ticks; `per` calls are made at once.
fn measure(name: &str, per: u64, empty: u64, call: impl FnMut(u64)) {
    let ticks = batch(call).saturating_sub(empty) / CALLS / per;
    println!("BENCH {name} {ticks}");
}

/// Runs all measurements.
pub(crate) fn run() {
    // The tick that a vCPU starts with would fall into the batches.
    let _ = hypercall::call(
        HYPERVISOR_VCPU_OP,
        [u64::from(VCPUOP_STOP_PERIODIC_TIMER), 0, 0],
    );
    if let Err(error) = measurements() {
        println!("ERROR bench: {error}");
    }
    println!("BENCH end");
}

fn measurements() -> Result<()> {
    let empty = batch(|round| {
        black_box(round);
    });
    let call = |number: u64, args: [u64; 3]| {
        let _ = hypercall::call(number, args);
    };
    measure("hypercall.empty", 1, empty, |_| {
        call(HYPERVISOR_XEN_VERSION, [0; 3])
    });
    measure("hypercall.unknown", 1, empty, |_| call(63, [0; 3]));
    let mut list = [MulticallEntry {
        op: HYPERVISOR_XEN_VERSION,
        ..MulticallEntry::default()
    }; 32];
    let address = hypercall::slice_address(&mut list);
    measure("multicall.entry", 32, empty, |_| {
        call(HYPERVISOR_MULTICALL, [address, 32, 0]);
    });
    let far = now() + 60_000_000_000;
    measure("timer.set", 1, empty, |round| {
        call(HYPERVISOR_SET_TIMER_OP, [far + round, 0, 0]);
    });
    call(HYPERVISOR_SET_TIMER_OP, [0; 3]);
    measure("sched.yield", 1, empty, |_| {
        call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_YIELD), 0, 0]);
    });
    mappings::run(empty)?;
    traps::run(empty)?;
    sharing::run(empty)
}
