//! A CPU with nothing to run.

use crate::machine::Machine;
use crate::percpu::PerCpu;
use crate::sync::atomic::Ordering;

/// Waits for an interrupt, unless something is pending.
pub fn idle<M: Machine>(cpu: &PerCpu<M>) {
    let shared = cpu.shared();
    shared.idling.store(true, Ordering::SeqCst);
    if shared.pending.load(Ordering::SeqCst) == 0 {
        cpu.hv.machine.wait_for_interrupt();
    }
    shared.idling.store(false, Ordering::SeqCst);
}
