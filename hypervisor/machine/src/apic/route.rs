//! How legacy interrupts are wired: the MADT's overrides.

use alloc::vec::Vec;

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
