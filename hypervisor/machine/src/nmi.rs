//! Non-maskable interrupts: from the platform, and between CPUs when the hypervisor dies.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use oxen_abi::nmi::{XEN_NMIREASON_IO_ERROR, XEN_NMIREASON_PCI_SERR, XEN_NMIREASON_UNKNOWN};
use oxen_core::options::Nmi;

use crate::apic::lapic;
use crate::num::low32;
use crate::pio;
use crate::trap::{HostFrame, vectors};

static STOPPING: AtomicBool = AtomicBool::new(false);
static STOPPED: AtomicU32 = AtomicU32::new(0);
/// Reasons (`XEN_NMIREASON_*`) that are still to be told to dom0.
static FOR_DOM0: AtomicU32 = AtomicU32::new(0);

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
pub(crate) fn handle(frame: &HostFrame) {
    if STOPPING.load(Ordering::Acquire) {
        STOPPED.fetch_add(1, Ordering::AcqRel);
        crate::reboot::halt();
    }
    let Some(hv) = crate::boot::hypervisor() else {
        return;
    };
    match hv.options.nmi {
        Nmi::Fatal => crate::trap::die(frame),
        Nmi::Ignore => {}
        Nmi::Dom0 => {
            FOR_DOM0.fetch_or(reason(), Ordering::AcqRel);
            lapic::send_self(vectors::KICK);
        }
    }
}

/// What the platform says of its NMI (system control port B), as the ABI has it. The source is turned off, else it would
/// come again at once.
fn reason() -> u32 {
    const PORT_B: u16 = 0x61;
    const SERR: u8 = 1 << 7;
    const IO_CHECK: u8 = 1 << 6;
    const DISABLE_SERR: u8 = 1 << 2;
    const DISABLE_IO_CHECK: u8 = 1 << 3;
    let port = pio::inb(PORT_B);
    let keep = port & 0xf;
    let (disable, reason) = if port & SERR != 0 {
        (DISABLE_SERR, XEN_NMIREASON_PCI_SERR)
    } else if port & IO_CHECK != 0 {
        (DISABLE_IO_CHECK, XEN_NMIREASON_IO_ERROR)
    } else {
        (0, XEN_NMIREASON_UNKNOWN)
    };
    if disable != 0 {
        pio::outb(PORT_B, keep | disable);
    }
    low32(reason)
}

/// The reasons of NMIs that have come and that dom0 is to have; they are forgotten then.
pub(crate) fn take_for_dom0() -> Option<u64> {
    let none = FOR_DOM0.load(Ordering::Relaxed) == 0;
    (!none)
        .then(|| u64::from(FOR_DOM0.swap(0, Ordering::AcqRel)))
        .filter(|reason| *reason != 0)
}
