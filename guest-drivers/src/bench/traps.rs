//! Exceptions that are bounced to the guest's handler, and its way back.

use super::Meter;
use crate::conformance::UNMAPPED;
use crate::sys::bench;
use crate::sys::hypercall::Result;

pub(super) fn run(meter: &Meter) -> Result<()> {
    bench::install()?;
    meter.measure("trap.int3", 1, |_| bench::int3());
    meter.measure("trap.page_fault", 1, |_| bench::page_fault(UNMAPPED));
    bench::uninstall().map(|_| ())
}
