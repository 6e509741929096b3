//! Which vectors of which CPU are in use.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_core::CpuId;

use super::lapic;
use crate::layout::MAX_CPUS;
use crate::percpu;
use crate::trap::vectors::{FIRST_DEVICE, LAST_DEVICE, for_devices};

/// Bit v of a CPU's four words: vector v is in use.
static USED: [[AtomicU64; 4]; MAX_CPUS] = [const { [const { AtomicU64::new(0) }; 4] }; MAX_CPUS];

/// Takes a vector of a CPU. `None` when there is none, or when devices cannot reach the CPU.
pub(crate) fn alloc(cpu: CpuId) -> Option<u8> {
    let data = percpu::get(u32::from(cpu.0))?;
    if !lapic::is_reachable(data.apic_id) {
        return None;
    }
    let used = USED.get(cpu.index())?;
    // Steps of 16 first: interrupts of different classes don't hold each other up.
    (0..16u8)
        .flat_map(|low| (FIRST_DEVICE >> 4..=LAST_DEVICE >> 4).map(move |class| (class << 4) | low))
        .filter(|vector| for_devices(*vector))
        .find(|vector| take(used, *vector))
}

fn take(used: &[AtomicU64; 4], vector: u8) -> bool {
    let bit = 1u64 << (vector % 64);
    used.get(usize::from(vector / 64))
        .is_some_and(|word| word.fetch_or(bit, Ordering::AcqRel) & bit == 0)
}

/// Gives a vector back.
pub(crate) fn free(cpu: CpuId, vector: u8) {
    if let Some(word) = USED
        .get(cpu.index())
        .and_then(|used| used.get(usize::from(vector / 64)))
    {
        word.fetch_and(!(1u64 << (vector % 64)), Ordering::AcqRel);
    }
}
