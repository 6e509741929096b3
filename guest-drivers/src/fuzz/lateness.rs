//! How late the timer comes: what a call keeps a vCPU from its events.
//!
//! Before a call the timer is set to a few microseconds from now, and again whenever it has come.
//! While the hypervisor works with interrupts off, or does not look whether something is
//! pending, the event is late. Under an emulator whose clock counts instructions (one is a
//! nanosecond) the lateness is the number of instructions between two preemption points. Time in
//! which the vCPU did not run for want of a processor does not count.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::hypercall::{HYPERVISOR_SET_TIMER_OP, HYPERVISOR_VCPU_OP};
use oxen_abi::vcpu::{RunstateInfo, VCPUOP_GET_RUNSTATE_INFO};
use oxen_abi::xen::VIRQ_TIMER;

use super::send::LATE;
use crate::conformance::{bind_virq, set_mask};
use crate::sys::{hypercall, shared};
use crate::time::now;

/// From the setting of the timer to its time, in nanoseconds: setting it takes some itself.
const DELAY: u64 = 4_000;

/// When the timer should come, 0: nothing is measured.
static DEADLINE: AtomicU64 = AtomicU64::new(0);
/// How long the vCPU had not run when the timer was set.
static WAITED: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicU64 = AtomicU64::new(0);
static MEASURED: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds that this vCPU was ready, blocked or down.
fn not_running() -> u64 {
    let mut info = RunstateInfo::default();
    let _ = hypercall::call(
        HYPERVISOR_VCPU_OP,
        [
            u64::from(VCPUOP_GET_RUNSTATE_INFO),
            0,
            hypercall::address(&mut info),
        ],
    );
    info.time.iter().skip(1).sum()
}

fn set() {
    WAITED.store(not_running(), Ordering::Relaxed);
    let at = now() + DELAY;
    DEADLINE.store(at, Ordering::SeqCst);
    let _ = hypercall::call(HYPERVISOR_SET_TIMER_OP, [at]);
}

/// A call begins.
pub(super) fn begin() {
    // The calls before may have closed the port.
    if let Ok(port) = bind_virq(VIRQ_TIMER, 0) {
        let _ = set_mask(port, false);
    }
    if let Some(info) = shared::vcpu_info(0) {
        info.upcall_mask.store(0, Ordering::SeqCst);
    }
    set();
}

/// The call is over; leaves what was measured in the shared page.
pub(super) fn end(page: &[AtomicU64; 512]) {
    DEADLINE.store(0, Ordering::SeqCst);
    if let Some(info) = shared::vcpu_info(0) {
        info.upcall_mask.store(1, Ordering::SeqCst);
    }
    let worst = WORST.load(Ordering::Relaxed);
    if worst > page[LATE].load(Ordering::Relaxed) {
        page[LATE].store(worst, Ordering::Relaxed);
        crate::println!(
            "{worst} ns late in call {:x?}",
            page[super::send::SENT[0] + 1..]
                .first_chunk::<7>()
                .map(|call| call.each_ref().map(|word| word.load(Ordering::Relaxed)))
        );
    }
    page[LATE + 1].store(MEASURED.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// An event came, on the first vCPU when something is measured.
pub(crate) fn upcall() {
    let at = DEADLINE.load(Ordering::SeqCst);
    if at == 0 {
        return;
    }
    let late = now().saturating_sub(at);
    if late == 0 {
        return;
    }
    if not_running() == WAITED.load(Ordering::Relaxed) {
        WORST.fetch_max(late, Ordering::Relaxed);
        MEASURED.fetch_add(1, Ordering::Relaxed);
    }
    set();
}
