//! How legacy interrupts are wired: the MADT's overrides.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use oxen_core::machine::GsiMode;
use spin::Once;

/// An interrupt source override of the MADT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Override {
    /// ISA IRQ, below 16.
    pub(crate) irq: u8,
    /// The GSI it is wired to.
    pub(crate) gsi: u32,
    /// Level-triggered, else edge.
    pub(crate) level: bool,
    /// Active low, else high.
    pub(crate) active_low: bool,
}

/// GSIs below 64 that the hypervisor uses itself, as bits.
static OWN: AtomicU64 = AtomicU64::new(0);

/// Keeps a GSI for the hypervisor. Returns whether that is possible: the number is below 64.
pub(crate) fn claim(gsi: u32) -> bool {
    if gsi < u64::BITS {
        OWN.fetch_or(1 << gsi, Ordering::AcqRel);
    }
    gsi < u64::BITS
}

/// Whether a GSI is the hypervisor's own.
pub(crate) fn is_own(gsi: u32) -> bool {
    gsi < u64::BITS && OWN.load(Ordering::Acquire) & 1 << gsi != 0
}

static OVERRIDES: Once<Vec<Override>> = Once::new();

/// Takes the MADT's overrides. Called once, by the boot CPU.
pub(crate) fn set_overrides(overrides: Vec<Override>) {
    OVERRIDES.call_once(|| overrides);
}

/// GSI, trigger and polarity of an ISA IRQ. Without an override: the same number, edge, active high.
pub(crate) fn isa(irq: u8) -> (u32, GsiMode) {
    let found = OVERRIDES
        .get()
        .into_iter()
        .flatten()
        .find(|entry| entry.irq == irq);
    match found {
        Some(entry) => (
            entry.gsi,
            GsiMode {
                level: entry.level,
                active_low: entry.active_low,
            },
        ),
        None => (
            u32::from(irq),
            GsiMode {
                level: false,
                active_low: false,
            },
        ),
    }
}
