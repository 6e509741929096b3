//! The end of a domain's grants.

use alloc::sync::Arc;

use crate::domain::Domain;
use crate::grant::map::let_go;
use crate::grant::maptrack::Found;
use crate::machine::Machine;
use crate::mm::{release_shared, tlb};
use crate::percpu::PerCpu;

/// Ends all that a dying domain has mapped, then gives its own frames of entries and
/// status back. What others
/// have mapped of it stays until they unmap it. No vCPU of the domain runs any more. Returns
/// `false` when it stopped because something is pending; call it again then.
pub fn release_all<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>) -> bool {
    // In tests it is stopped after any mapping.
    const AT_ONCE: u32 = if cfg!(test) { 1 } else { 32 };
    let mut done = 0u32;
    loop {
        let next = {
            let mut taken = domain.grants.taken();
            match taken.next_in_use() {
                Found::Answer(handle) => {
                    handle.and_then(|handle| Some((handle, taken.take(handle).ok()?)))
                }
                Found::NotYet => {
                    drop(taken);
                    if cpu.preempt_needed() {
                        return false;
                    }
                    continue;
                }
            }
        };
        let Some((handle, mapping)) = next else { break };
        if done == 0 {
            tlb::flush(cpu, &domain.dirty_cpus());
        }
        let access = mapping.access();
        let_go(cpu, &mapping.domain, mapping.reference, mapping.mfn, access);
        domain.grants.taken().release(handle);
        done += 1;
        if done.is_multiple_of(AT_ONCE) && cpu.preempt_needed() {
            return false;
        }
    }
    loop {
        let frame = domain.grants.given().remove_last();
        let Some(mfn) = frame else { return true };
        release_shared(cpu, mfn);
    }
}
