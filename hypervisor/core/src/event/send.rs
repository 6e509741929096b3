//! Sending: making a port pending, then waking whoever waits for it, under the event lock of the
//! domain that hears of it.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::event::info::NR_VIRQS;
use crate::event::ports::Binding;
use crate::event::{Outcome, State};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::{CpuId, Port, VcpuId};
use crate::vcpu::Vcpu;

/// Makes a port pending and wakes whoever waits for that; `state` is `domain`'s, under its lock.
/// Nothing happens if the port is not in use.
pub(super) fn deliver<M: Machine>(
    state: &mut State<M>,
    hv: &'static Hypervisor<M>,
    domain: &Domain<M>,
    port: Port,
    from: CpuId,
) {
    if let Ok(entry) = state.ports.get(port) {
        let vcpu = entry.vcpu;
        deliver_to(state, hv, domain, port, vcpu, from);
    }
}

/// The same for a port in use, which is bound to `vcpu`.
#[inline]
fn deliver_to<M: Machine>(
    state: &mut State<M>,
    hv: &'static Hypervisor<M>,
    domain: &Domain<M>,
    port: Port,
    vcpu: VcpuId,
    from: CpuId,
) {
    let outcome = state.set_pending(&hv.machine, port, vcpu);
    tell(state, hv, domain, port, vcpu, outcome, from);
}

/// Unmasks a port and wakes whom that concerns.
pub(super) fn unmask<M: Machine>(cx: &Cx<'_, M>, port: Port) -> Result<(), Errno> {
    let domain = cx.domain();
    let mut state = domain.events.lock();
    let vcpu = state.ports.get(port)?.vcpu;
    let outcome = state.unmask(cx.machine(), port, vcpu);
    tell(&state, cx.hv, domain, port, vcpu, outcome, cx.cpu.id);
    Ok(())
}

/// Wakes whom a port's event concerns: the vCPU that has a new upcall for it, and those that
/// poll for it.
#[inline]
fn tell<M: Machine>(
    state: &State<M>,
    hv: &'static Hypervisor<M>,
    domain: &Domain<M>,
    port: Port,
    vcpu: VcpuId,
    outcome: Outcome,
    from: CpuId,
) {
    if outcome == Outcome::Nothing {
        return;
    }
    if domain.events.pollers.any() {
        wake_pollers(state, hv, domain, port, from);
    }
    if outcome == Outcome::Raised
        && let Some(vcpu) = state.targets.vcpu(vcpu)
    {
        crate::sched::wake(hv, vcpu, from);
    }
}

/// vCPUs that poll for the port are woken whether it is masked or not, and poll no more.
#[inline(never)]
fn wake_pollers<M: Machine>(
    state: &State<M>,
    hv: &'static Hypervisor<M>,
    domain: &Domain<M>,
    port: Port,
    from: CpuId,
) {
    let pollers = &domain.events.pollers;
    for vcpu in pollers.ids().filter_map(|id| state.targets.vcpu(id)) {
        if pollers.hears(vcpu.id, &vcpu.events.polled, &vcpu.paused, port) {
            crate::sched::wake(hv, vcpu, from);
        }
    }
}

/// `EVTCHNOP_send`: tells the other end of one of the caller's ports.
pub(super) fn send<M: Machine>(cx: &Cx<'_, M>, port: Port) -> Result<(), Errno> {
    let (hv, domain, from) = (cx.hv, cx.domain(), cx.cpu.id);
    let (peer, peer_port) = {
        let mut state = domain.events.lock();
        let entry = state.ports.get(port)?;
        match &entry.binding {
            Binding::Interdomain { peer, port } => (Arc::clone(peer), *port),
            Binding::Ipi => {
                let vcpu = entry.vcpu;
                deliver_to(&mut state, hv, domain, port, vcpu, from);
                return Ok(());
            }
            // Nobody is there yet; who binds gets an event anyhow.
            Binding::Unbound { .. } => return Ok(()),
            Binding::Free | Binding::Pirq(_) | Binding::Virq(_) => return Err(Errno::EINVAL),
        }
    };
    let mut state = peer.events.lock();
    let Ok(entry) = state.ports.get(peer_port) else {
        return Ok(());
    };
    let vcpu = entry.vcpu;
    // Between the two locks the channel may have been closed.
    let connected = matches!(
        &entry.binding,
        Binding::Interdomain { peer: back, port: back_port }
            if Arc::ptr_eq(back, domain) && *back_port == port
    );
    if connected {
        deliver_to(&mut state, hv, &peer, peer_port, vcpu, from);
    }
    Ok(())
}

/// Makes a port of a domain pending, as its peer would. Nothing happens if it is not in use.
pub fn notify<M: Machine>(hv: &'static Hypervisor<M>, domain: &Domain<M>, port: Port, from: CpuId) {
    deliver(&mut domain.events.lock(), hv, domain, port, from);
}

/// Sends a per-vCPU VIRQ to a vCPU; dropped if the guest has not bound it.
pub fn send_virq<M: Machine>(hv: &'static Hypervisor<M>, vcpu: &Vcpu<M>, virq: u32, from: CpuId) {
    let Some(bound) = vcpu.events.virqs.get(virq as usize) else {
        return;
    };
    // Most VIRQs are bound once and for ever: look before taking the lock.
    if bound.load(Ordering::Acquire) == 0 {
        return;
    }
    let domain = &vcpu.domain;
    let mut state = domain.events.lock();
    let port = Port(bound.load(Ordering::Acquire));
    if let Ok(entry) = state.ports.get(port)
        && matches!(entry.binding, Binding::Virq(number) if number == virq)
    {
        let vcpu = entry.vcpu;
        deliver_to(&mut state, hv, domain, port, vcpu, from);
    }
}

/// Sends a global VIRQ to the domain that handles it: dom0, unless a tool has chosen another.
/// They are rare, so whoever has one to send need not know which CPU it is on.
pub fn send_global_virq<M: Machine>(hv: &'static Hypervisor<M>, virq: u32) {
    debug_assert!((virq as usize) < NR_VIRQS);
    let chosen = hv
        .virq_handlers
        .lock()
        .get(virq as usize)
        .copied()
        .flatten();
    let domain = match chosen {
        Some(id) => hv.domains.get(id),
        None => hv.dom0.get().cloned(),
    };
    if let Some(vcpu) = domain.and_then(|domain| domain.vcpu(VcpuId(0))) {
        send_virq(hv, &vcpu, virq, CpuId(u16::MAX));
    }
}
