//! Non-maskable interrupts: from the platform, and between CPUs when the hypervisor dies.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::apic::lapic;
use crate::trap::{HostFrame, vectors};

static STOPPING: AtomicBool = AtomicBool::new(false);
static STOPPED: AtomicU32 = AtomicU32::new(0);
static FOR_DOM0: AtomicBool = AtomicBool::new(false);

/// Polls until the other CPUs are given up, about 100 ms.
const STOP_POLLS: u32 = 20_000_000;

/// Stops all other CPUs for good: for a panic. Waits for them, but not for ever.
pub(crate) fn stop_others() {
    if STOPPING.swap(true, Ordering::AcqRel) {
        return;
    }
    let others = crate::percpu::online_count().saturating_sub(1);
    if others == 0 {
        return;
    }
    lapic::send_nmi_to_others();
    for _ in 0..STOP_POLLS {
        if STOPPED.load(Ordering::Acquire) >= others {
            return;
        }
        core::hint::spin_loop();
    }
}

/// An NMI on this CPU. It may have interrupted anything, so it takes no lock and never enters `core`: what is for dom0
/// is noted, and an interrupt to this CPU itself does the rest.
pub(crate) fn handle(_frame: &HostFrame) {
    if STOPPING.load(Ordering::Acquire) {
        STOPPED.fetch_add(1, Ordering::AcqRel);
        crate::reboot::halt();
    }
    FOR_DOM0.store(true, Ordering::Release);
    lapic::send_self(vectors::KICK);
}

/// Whether an NMI has come that dom0 is to have; it is forgotten then.
pub(crate) fn take_for_dom0() -> bool {
    FOR_DOM0.load(Ordering::Relaxed) && FOR_DOM0.swap(false, Ordering::AcqRel)
}
