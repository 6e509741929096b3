//! update_va_mapping at its simplest: mapping the shared page. Nothing after it runs without.

use core::sync::atomic::Ordering;

use super::{Suite, ensure, good, some};
use crate::sys::{cpu, shared};
use crate::time;

pub(super) fn run(s: &mut Suite<'_>) {
    let mapped = shared::map();
    s.check("shared_info/map", || {
        good!(mapped);
        Ok(())
    });
    s.check("shared_info/initial_state", || {
        let info = some!(shared::info());
        let vcpu = some!(shared::vcpu_info(0));
        ensure!(
            vcpu.upcall_mask.load(Ordering::Relaxed) != 0,
            "events are not masked at the start"
        );
        ensure!(
            info.wc_sec.load(Ordering::Relaxed) != 0,
            "the wall clock is 0"
        );
        Ok(())
    });
    s.check("shared_info/time_runs", || {
        let vcpu = some!(shared::vcpu_info(0));
        ensure!(
            vcpu.time.tsc_to_system_mul.load(Ordering::Relaxed) != 0,
            "the multiplier is 0"
        );
        let start = time::now();
        ensure!(start != 0, "the system time is 0");
        let mut last = start;
        for _ in 0..100_000 {
            let now = time::now();
            ensure!(now >= last, "time went back from {last} to {now}");
            last = now;
            cpu::pause();
        }
        ensure!(last > start, "time stands still at {start}");
        Ok(())
    });
}
