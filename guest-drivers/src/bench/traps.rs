//! Exceptions that are bounced to the guest's handler, and its way back.

use super::{CALLS, batch};
use crate::conformance::UNMAPPED;
use crate::println;
use crate::sys::bench;
use crate::sys::hypercall::Result;

pub(super) fn run(empty: u64) -> Result<()> {
    bench::install()?;
    let int3 = batch(|_| bench::int3());
    let fault = batch(|_| bench::page_fault(UNMAPPED));
    bench::uninstall()?;
    for (name, ticks, share) in [
        ("trap.int3", int3, bench::INT3_SHARE),
        ("trap.page_fault", fault, bench::PAGE_FAULT_SHARE),
    ] {
        let ticks = ticks.saturating_sub(empty) / CALLS;
        println!("BENCH {name} {ticks} of which the guest's own instructions are {share}");
    }
    Ok(())
}
