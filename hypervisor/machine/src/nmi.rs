//! Non-maskable interrupts: from the platform, and between CPUs when the hypervisor dies.

use core::sync::atomic::{AtomicU32, Ordering};

use oxen_abi::nmi::{XEN_NMIREASON_IO_ERROR, XEN_NMIREASON_PCI_SERR, XEN_NMIREASON_UNKNOWN};
use oxen_core::options::Nmi;

use crate::apic::lapic;
use crate::num::low32;
use crate::pio;
use crate::trap::{HostFrame, vectors};

/// No CPU stops the others.
const NOBODY: u32 = u32::MAX;
/// The CPU that stops the others.
static STOPPER: AtomicU32 = AtomicU32::new(NOBODY);
static STOPPED: AtomicU32 = AtomicU32::new(0);
/// Reasons (`XEN_NMIREASON_*`) that are still to be told to dom0.
static FOR_DOM0: AtomicU32 = AtomicU32::new(0);

/// Polls until the other CPUs are given up, about 100 ms.
const STOP_POLLS: u32 = 20_000_000;

/// Stops all other CPUs for good: for a panic. Waits for them, but not for ever.
pub(crate) fn stop_others() {
    let own = crate::percpu::this_cpu().cpu;
    if STOPPER
        .compare_exchange(NOBODY, own, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
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
    let stopper = STOPPER.load(Ordering::Acquire);
    if stopper == crate::percpu::this_cpu().cpu {
        // The watchdog's last one.
        return;
    }
    if stopper != NOBODY {
        STOPPED.fetch_add(1, Ordering::AcqRel);
        crate::reboot::halt();
    }
    if !from_platform() && crate::watchdog::tick(frame) {
        return;
    }
    let Some(hv) = crate::boot::hypervisor() else {
        return;
    };
    match hv.options.nmi {
        Nmi::Fatal => crate::panic::fatal_nmi(reason(), frame),
        Nmi::Ignore => {}
        Nmi::Dom0 => {
            FOR_DOM0.fetch_or(reason(), Ordering::AcqRel);
            lapic::send_self(vectors::KICK);
        }
    }
}

/// Whether the platform names an error of its own as the reason of an NMI.
fn from_platform() -> bool {
    pio::inb(PORT_B) & (SERR | IO_CHECK) != 0
}

/// System control port B, and its bits for errors.
const PORT_B: u16 = 0x61;
const SERR: u8 = 1 << 7;
const IO_CHECK: u8 = 1 << 6;

/// What the platform says of its NMI (system control port B), as the ABI has it. The source is turned off, else it would
/// come again at once.
fn reason() -> u32 {
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

/// A reason (`XEN_NMIREASON_*`) in words.
pub(crate) fn name(reason: u32) -> &'static str {
    match u64::from(reason) {
        XEN_NMIREASON_PCI_SERR => "a PCI system error",
        XEN_NMIREASON_IO_ERROR => "an I/O check",
        _ => "of unknown origin",
    }
}

/// The reasons of NMIs that have come and that dom0 is to have; they are forgotten then.
pub(crate) fn take_for_dom0() -> Option<u64> {
    let none = FOR_DOM0.load(Ordering::Relaxed) == 0;
    (!none)
        .then(|| u64::from(FOR_DOM0.swap(0, Ordering::AcqRel)))
        .filter(|reason| *reason != 0)
}
