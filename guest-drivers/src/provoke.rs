//! `mode=nmi`, `mode=watchdog`, `mode=refused`: things whose answer is the hypervisor's, on its
//! console or in what becomes of the machine.

use core::sync::atomic::Ordering;

use oxen_abi::callback::CALLBACKTYPE_NMI;
use oxen_abi::hypercall::HYPERVISOR_SCHED_OP;
use oxen_abi::sched::{SCHEDOP_WATCHDOG, Watchdog};

use crate::conformance::register_callback;
use crate::sys::{hypercall, probe, trap};
use crate::time::now;
use crate::{pair, println};

const SECOND: u64 = 1_000_000_000;
/// Longer than the tests' emulator takes to send an NMI that it is asked for.
const PATIENCE: u64 = 60 * SECOND;
/// A bit more than the window of the hypervisor's rate limit.
const WINDOW: u64 = 6 * SECOND;
/// An MSR that there is not.
const MSR: u32 = 0x1_2345;
/// Three times what the rate limit lets through.
const READS: u32 = 30;

fn wait_until(end: u64, condition: impl Fn() -> bool) {
    while !condition() && now() < end {
        pair::wait();
    }
}

/// Waits for an NMI of the platform.
pub(crate) fn nmi() {
    let registered = pair::prepare().is_ok()
        && register_callback(CALLBACKTYPE_NMI, 0, trap::nmi_callback_address()).is_ok();
    if !registered {
        println!("ERROR the callback cannot be registered");
        return;
    }
    let before = trap::NMIS.load(Ordering::Relaxed);
    println!("WAITING for an NMI");
    wait_until(now() + PATIENCE, || {
        trap::NMIS.load(Ordering::Relaxed) > before
    });
    println!("{} NMIs came", trap::NMIS.load(Ordering::Relaxed) - before);
}

/// Sets a watchdog and forgets it.
pub(crate) fn watchdog() {
    let set = hypercall::op(
        HYPERVISOR_SCHED_OP,
        SCHEDOP_WATCHDOG,
        &mut Watchdog { id: 0, timeout: 1 },
    );
    println!("WATCHDOG {set:?}");
    let _ = pair::prepare();
    wait_until(now() + PATIENCE, || false);
}

/// Does thirty times what is refused and logged, and once more when the rate limit allows it again.
pub(crate) fn refused() {
    let _ = pair::prepare();
    for _ in 0..READS {
        let _ = probe::rdmsr(MSR);
    }
    println!("REFUSED");
    wait_until(now() + WINDOW, || false);
    let _ = probe::rdmsr(MSR);
    println!("REFUSED AGAIN");
}
