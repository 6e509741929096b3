//! The conformance suite: each hypercall, used rightly, wrongly, and at its limits.
//!
//! One boot runs all checks, from the simplest to the most demanding, so that it serves as a
//! ladder while a hypervisor comes up. A line for each check, `CHECK name ok`, `CHECK name FAIL
//! why` or `CHECK name skip why`; at the end `VERDICT passed=N failed=M skipped=K`. With the word
//! `debug` on the command line a line `TRY name` comes before each check; `only=prefix` runs
//! the checks whose names start so.

mod assist;
mod callbacks;
mod console;
mod control;
mod cpuid;
mod descriptors;
mod emulation;
mod events;
mod expected;
mod fifo;
mod firmware;
mod grants;
mod grants_given;
mod grants_v2;
mod hypercalls;
mod isolation;
mod mappings;
mod memory;
mod microcode;
mod mmio;
mod msrs;
mod multicall;
mod numa;
mod physmap;
mod pinning;
mod pirqs;
mod platform;
mod ports;
mod refused;
mod reservation;
mod roots;
mod sched;
mod screen;
mod shared_info;
mod start_of_day;
mod timers;
mod traps;
mod user_mode;
mod vcpus;
pub(crate) mod version;

pub(crate) use callbacks::register as register_callback;
pub(crate) use events::{
    bind_interdomain, bind_ipi, bind_virq, close, let_in, send, set_mask, status,
};
pub(crate) use grants::{Table, copy, end as copy_end, map, place, unmap};
pub(crate) use grants_given::{give, renew};
pub(crate) use grants_v2::TableV2;
pub(crate) use pinning::mmuext_for;
pub(crate) use refused::mca_call;
pub(crate) use roots::{LOOK, look};
pub(crate) use traps::faulted;
pub(crate) use version::UNMAPPED;

use core::fmt::{self, Write};

use oxen_abi::start_info::SIF_INITDOMAIN;

use crate::cmdline::CommandLine;
use crate::println;
use crate::sys;

/// Why a check failed or was skipped; small, because every check returns it.
pub(crate) struct Why {
    text: [u8; 120],
    used: u8,
    skipped: bool,
}

impl Why {
    /// A failure.
    pub(crate) fn new(args: fmt::Arguments<'_>) -> Self {
        let mut why = Why {
            text: [0; 120],
            used: 0,
            skipped: false,
        };
        // What does not fit is cut.
        let _ = why.write_fmt(args);
        why
    }

    /// A reason not to run the check.
    pub(crate) fn skip(args: fmt::Arguments<'_>) -> Self {
        Why {
            skipped: true,
            ..Why::new(args)
        }
    }

    fn text(&self) -> &str {
        self.text
            .get(..usize::from(self.used))
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or("?")
    }
}

impl Write for Why {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let Some(slot) = self.text.get_mut(usize::from(self.used)) else {
                return Err(fmt::Error);
            };
            // The verdict of a check is one line.
            *slot = if byte == b'\n' { b' ' } else { byte };
            self.used += 1;
        }
        Ok(())
    }
}

/// Outcome of a check.
pub(crate) type Outcome<T = ()> = Result<T, Why>;

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($arg:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Why::new(format_args!($($arg)+)));
        }
    };
}
pub(crate) use ensure;

/// Fails the check unless both values are equal.
macro_rules! same {
    ($got:expr, $want:expr) => {
        match (&$got, &$want) {
            (got, want) => {
                if *got != *want {
                    return Err($crate::conformance::Why::new(format_args!(
                        "line {}: {} is {got:x?}, want {want:x?}",
                        line!(),
                        stringify!($got),
                    )));
                }
            }
        }
    };
}
pub(crate) use same;

/// Unwraps a result, or fails the check with its error.
macro_rules! good {
    ($got:expr) => {
        match $got {
            Ok(value) => value,
            Err(error) => {
                return Err($crate::conformance::Why::new(format_args!(
                    "line {}: {} failed: {error:?}",
                    line!(),
                    stringify!($got),
                )));
            }
        }
    };
}
pub(crate) use good;

/// Unwraps an option, or fails the check.
macro_rules! some {
    ($got:expr) => {
        match $got {
            Some(value) => value,
            None => {
                return Err($crate::conformance::Why::new(format_args!(
                    "line {}: {} is nothing",
                    line!(),
                    stringify!($got),
                )));
            }
        }
    };
}
pub(crate) use some;

/// Leaves the check as skipped.
macro_rules! skip {
    ($($arg:tt)+) => {
        return Err($crate::conformance::Why::skip(format_args!($($arg)+)))
    };
}
pub(crate) use skip;

/// The run: options and counts.
pub(crate) struct Suite<'a> {
    debug: bool,
    only: &'a str,
    /// The domain is dom0.
    pub(crate) privileged: bool,
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl<'a> Suite<'a> {
    /// A run with the options of the command line.
    pub(crate) fn new(line: &CommandLine<'a>) -> Self {
        Suite {
            debug: line.flag("debug"),
            only: line.value("only").unwrap_or(""),
            privileged: sys::start_info().flags & SIF_INITDOMAIN != 0,
            passed: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Prints the verdict; true if nothing failed.
    pub(crate) fn finish(&self) -> bool {
        println!(
            "VERDICT passed={} failed={} skipped={}",
            self.passed, self.failed, self.skipped
        );
        self.failed == 0
    }

    /// Runs a check and prints its line.
    pub(crate) fn check(&mut self, name: &str, body: impl FnOnce() -> Outcome) {
        if !name.starts_with(self.only) {
            return;
        }
        if self.debug {
            println!("TRY {name}");
        }
        match body() {
            Ok(()) => {
                self.passed += 1;
                println!("CHECK {name} ok");
            }
            Err(why) if why.skipped => {
                self.skipped += 1;
                println!("CHECK {name} skip {}", why.text());
            }
            Err(why) => {
                self.failed += 1;
                println!("CHECK {name} FAIL {}", why.text());
            }
        }
    }
}

/// Brings up what most checks need, and checks that: shared page, trap table, callbacks.
pub(crate) fn essentials(suite: &mut Suite<'_>) {
    shared_info::run(suite);
    traps::run(suite);
    callbacks::run(suite);
}

/// Runs all checks; true if none failed.
pub(crate) fn run(line: &CommandLine<'_>) -> bool {
    let mut suite = Suite::new(line);
    hypercalls::run(&mut suite);
    version::run(&mut suite);
    console::run(&mut suite);
    sched::run(&mut suite);
    multicall::run(&mut suite);
    memory::run(&mut suite);
    physmap::run(&mut suite);
    refused::run(&mut suite);
    // What is set up here is needed below, whatever `only` says.
    shared_info::run(&mut suite);
    traps::run(&mut suite);
    start_of_day::run(&mut suite);
    cpuid::run(&mut suite);
    emulation::run(&mut suite);
    msrs::run(&mut suite);
    ports::run(&mut suite);
    // Before the checks that get frames which are in no list.
    isolation::run(&mut suite);
    mappings::run(&mut suite);
    mmio::run(&mut suite);
    screen::run(&mut suite);
    expected::run(&mut suite, line);
    pinning::run(&mut suite);
    descriptors::run(&mut suite);
    callbacks::run(&mut suite);
    events::run(&mut suite);
    timers::run(&mut suite);
    vcpus::run(&mut suite);
    assist::run(&mut suite);
    pirqs::run(&mut suite);
    control::run(&mut suite);
    platform::run(&mut suite, line);
    numa::run(&mut suite);
    reservation::run(&mut suite);
    grants::run(&mut suite);
    grants_given::run(&mut suite);
    grants_v2::run(&mut suite);
    user_mode::run(&mut suite);
    fifo::run(&mut suite);
    suite.finish()
}
