//! Debug registers. Only guests use them.

use core::arch::asm;

use crate::layout::{HYPERVISOR_END, HYPERVISOR_START};

/// DR6 with nothing reported.
const DR6_INIT: u64 = 0xffff_0ff0;
/// DR7 with nothing enabled.
const DR7_INIT: u64 = 0x400;

/// A breakpoint's address, or 0 where it would watch the hypervisor.
const fn watchable(address: u64) -> u64 {
    // Breakpoints cover up to eight bytes.
    if address >= HYPERVISOR_START - 8 && address < HYPERVISOR_END {
        0
    } else {
        address
    }
}

/// Loads a guest's registers but DR6, which `core` keeps. Bits that the CPU would fault on are dropped.
pub(crate) fn load(values: &[u64; 8]) {
    let [dr0, dr1, dr2, dr3, _, _, _, dr7] = *values;
    let [dr0, dr1, dr2, dr3] = [dr0, dr1, dr2, dr3].map(watchable);
    // Lengths of eight bytes are allowed, the reserved bits and general detect (which would trap the hypervisor) not.
    let dr7 = (dr7 & 0xffff_03ff) | DR7_INIT;
    // SAFETY: breakpoints raise #DB, which the entry code takes on a stack of its own.
    unsafe {
        // Off while the addresses change.
        asm!("mov dr7, {}", in(reg) DR7_INIT, options(nostack, preserves_flags));
        if dr7 & 0xff != 0 {
            asm!(
                "mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}",
                in(reg) dr0, in(reg) dr1, in(reg) dr2, in(reg) dr3,
                options(nostack, preserves_flags)
            );
            asm!("mov dr6, {}", in(reg) DR6_INIT, options(nostack, preserves_flags));
            asm!("mov dr7, {}", in(reg) dr7, options(nostack, preserves_flags));
        }
    }
}

/// Reads DR6 and resets it.
pub(crate) fn take_dr6() -> u64 {
    let value: u64;
    // SAFETY: DR6 only reports.
    unsafe {
        asm!("mov {}, dr6", out(reg) value, options(nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) DR6_INIT, options(nostack, preserves_flags));
    }
    value
}
