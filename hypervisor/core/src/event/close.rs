//! Closing ports: one, all of them for a reset, all of them because the domain dies.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::event::fifo::Fifo;
use crate::event::hold::let_go;
use crate::event::ports::Binding;
use crate::event::{Abi, State, info, lock_pair};
use crate::machine::Machine;
use crate::percpu::PerCpu;
use crate::sync::atomic::Ordering;
use crate::types::Port;

/// Closes a port. The other end of a channel becomes unbound, for this domain to bind again.
pub(super) fn close<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Arc<Domain<M>>,
    port: Port,
) -> Result<(), Errno> {
    // What the port is bound to says which locks are needed; it may change until they are held,
    // and each time it does, another vCPU's request has been carried out.
    loop {
        let binding = domain.events.lock().ports.get(port)?.binding.clone();
        match binding {
            Binding::Interdomain {
                peer,
                port: peer_port,
            } => {
                if disconnect(cpu, domain, port, &peer, peer_port) {
                    return Ok(());
                }
            }
            Binding::Pirq(pirq) => {
                let freed = crate::irq::unbind_pirq(cpu, domain, pirq, || {
                    free_if(cpu, domain, port, &Binding::Pirq(pirq))
                });
                if freed {
                    return Ok(());
                }
            }
            simple => {
                if free_if(cpu, domain, port, &simple) {
                    return Ok(());
                }
            }
        }
    }
}

/// Frees a port that has no other side, if it is still bound as it was.
fn free_if<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    port: Port,
    binding: &Binding<Arc<Domain<M>>>,
) -> bool {
    let mut state = domain.events.lock();
    let Ok(entry) = state.ports.get(port) else {
        return false;
    };
    let vcpu = entry.vcpu;
    let same = match (&entry.binding, binding) {
        (Binding::Virq(now), Binding::Virq(then)) | (Binding::Pirq(now), Binding::Pirq(then)) => {
            now == then
        }
        (Binding::Unbound { .. }, Binding::Unbound { .. }) | (Binding::Ipi, Binding::Ipi) => true,
        _ => false,
    };
    if !same {
        return false;
    }
    if let Binding::Virq(virq) = *binding
        && let Some(vcpu) = domain.vcpus.read().get(vcpu_of_virq(virq, vcpu.index()))
        && let Some(bound) = vcpu.events.virqs.get(virq as usize)
    {
        bound.store(0, Ordering::Release);
    }
    state.free(&cpu.hv.machine, port).is_ok()
}

/// A global VIRQ is noted at vCPU 0, wherever it is delivered.
fn vcpu_of_virq(virq: u32, notified: usize) -> usize {
    if super::bind::is_global(virq) {
        0
    } else {
        notified
    }
}

/// Frees one end of a channel and leaves the other unbound; `false` if they are no longer
/// connected like this.
fn disconnect<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Arc<Domain<M>>,
    port: Port,
    peer: &Arc<Domain<M>>,
    peer_port: Port,
) -> bool {
    let mut pair = lock_pair(domain, peer);
    let connected = matches!(
        pair.local.ports.get(port).map(|entry| &entry.binding),
        Ok(Binding::Interdomain { peer: now, port: now_port })
            if Arc::ptr_eq(now, peer) && *now_port == peer_port
    );
    if !connected {
        return false;
    }
    let freed = pair.local.free(&cpu.hv.machine, port);
    let remains = pair.remote().ports.get_mut(peer_port).map(|entry| {
        core::mem::replace(&mut entry.binding, Binding::Unbound { remote: domain.id })
    });
    debug_assert!(remains.is_ok(), "a channel with one end");
    drop(pair);
    // The domains that the two ends referred to are only dropped without a lock.
    drop(remains);
    freed.is_ok()
}

/// `EVTCHNOP_reset`: closes all ports and goes back to the 2-level ABI. `ERESTART` when it stopped
/// because something is pending, `EAGAIN` when new ports were bound meanwhile.
pub(super) fn reset<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>) -> Result<(), Errno> {
    if !close_some(cpu, domain) {
        return Err(Errno::ERESTART);
    }
    loop {
        let mut state = domain.events.lock();
        let fresh = state.ports.in_use() != 0;
        if fresh || state.forget_some() {
            state.close_from = 1;
            state.forget_from = 1;
            if fresh {
                return Err(Errno::EAGAIN);
            }
            let fifo = take_fifo(&mut state.abi);
            drop(state);
            let_go_of(cpu, fifo);
            return Ok(());
        }
        drop(state);
        if cpu.preempt_needed() {
            return Err(Errno::ERESTART);
        }
    }
}

impl<M: Machine> State<M> {
    /// Forgets of some ports, none of which is in use, which queue they were on. Whether that were the last ones.
    fn forget_some(&mut self) -> bool {
        // In tests it is stopped in a small table as well.
        const AT_ONCE: u32 = if cfg!(test) { 64 } else { 4096 };
        let places = self.ports.places();
        let end = places.min(self.forget_from.saturating_add(AT_ONCE));
        for number in self.forget_from..end {
            if let Some(entry) = self.ports.slot(number) {
                entry.queue = None;
            }
        }
        self.forget_from = end;
        end == places
    }
}

/// Closes everything of a dying domain and lets go of its memory: event words, control blocks,
/// moved `vcpu_info`s. From the first call on the domain gets no events and no ports. Returns
/// `false` when it stopped because something is pending; call it again then.
pub fn close_all<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>) -> bool {
    {
        let mut state = domain.events.lock();
        if !core::mem::replace(&mut state.closed, true) {
            // A reset that was left half done has passed over ports that came behind it.
            state.close_from = 1;
        }
    }
    // dom0 handles again what this domain was to handle; its number may soon be another's.
    for handler in cpu.hv.virq_handlers.lock().iter_mut() {
        handler.take_if(|id| *id == domain.id);
    }
    if !close_some(cpu, domain) {
        return false;
    }
    let fifo = take_fifo(&mut domain.events.lock().abi);
    let_go_of(cpu, fifo);
    for vcpu in domain.each_vcpu() {
        info::release(cpu, &vcpu);
    }
    true
}

/// Goes on closing where it was left; `false` if something is pending.
fn close_some<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>) -> bool {
    // In tests it is stopped after any port.
    const AT_ONCE: u32 = if cfg!(test) { 1 } else { 32 };
    let mut done = 0u32;
    loop {
        let next = {
            let mut state = domain.events.lock();
            let next = state.ports.next_in_use(state.close_from);
            state.close_from = next.map_or(state.ports.places(), |port| port.0);
            next
        };
        let Some(port) = next else { return true };
        // It may just have been closed by another vCPU, which is as well.
        let _ = close(cpu, domain, port);
        done += 1;
        if done.is_multiple_of(AT_ONCE) && cpu.preempt_needed() {
            return false;
        }
    }
}

/// Goes back to the 2-level ABI; the frames are to be let go of without the lock.
fn take_fifo(abi: &mut Abi) -> Option<Fifo> {
    match core::mem::replace(abi, Abi::TwoLevel) {
        Abi::TwoLevel => None,
        Abi::Fifo(fifo) => Some(fifo),
    }
}

fn let_go_of<M: Machine>(cpu: &PerCpu<M>, fifo: Option<Fifo>) {
    let frames = fifo.iter().flat_map(Fifo::frames);
    frames.for_each(|mfn| let_go(cpu, mfn));
}
