//! Sending: making a port pending, then waking whoever waits for it.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::event::info::{NR_VIRQS, POLL_ANY};
use crate::event::poll::end_poll;
use crate::event::ports::Binding;
use crate::event::{Outcome, State};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::{CpuId, MAX_VCPUS, Port, VcpuId};
use crate::vcpu::Vcpu;

/// vCPUs to wake once the event lock is dropped.
#[must_use]
pub(super) enum Wakes {
    /// Nobody.
    None,
    /// The vCPU that the port is bound to: nearly always.
    One(VcpuId),
    /// That one perhaps, and others that poll; a bit for each.
    Many([u64; MAX_VCPUS / 64]),
}

impl Wakes {
    /// Wakes them. The caller holds no event lock.
    pub(super) fn carry_out<M: Machine>(
        self,
        hv: &'static Hypervisor<M>,
        domain: &Domain<M>,
        from: CpuId,
    ) {
        let vcpus = match self {
            Self::None => return,
            Self::One(vcpu) => {
                if let Some(vcpu) = domain.vcpus.read().get(vcpu.index()) {
                    crate::sched::wake(hv, vcpu, from);
                }
                return;
            }
            Self::Many(vcpus) => vcpus,
        };
        for vcpu in bits(vcpus) {
            if let Some(vcpu) = domain.vcpus.read().get(vcpu.index()) {
                crate::sched::wake(hv, vcpu, from);
            }
        }
    }
}

/// The vCPUs whose bits are set.
fn bits(words: [u64; MAX_VCPUS / 64]) -> impl Iterator<Item = VcpuId> {
    let mut words = words;
    core::iter::from_fn(move || {
        let (index, word) = words.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        u16::try_from(index * 64 + bit as usize).ok().map(VcpuId)
    })
}

/// Makes a port pending; the lock is `state`'s. Says whom to wake.
#[inline]
pub(super) fn deliver<M: Machine>(
    state: &mut State<M>,
    machine: &M,
    domain: &Domain<M>,
    port: Port,
) -> Wakes {
    let (outcome, vcpu) = state.set_pending(machine, domain, port);
    whom(outcome, domain, port, vcpu)
}

/// Unmasks a port; says whom to wake.
pub(super) fn unmask<M: Machine>(
    state: &mut State<M>,
    machine: &M,
    domain: &Domain<M>,
    port: Port,
) -> Result<Wakes, Errno> {
    let vcpu = state.ports.get(port)?.vcpu;
    let outcome = state.unmask(machine, domain, port)?;
    Ok(whom(outcome, domain, port, vcpu))
}

#[inline]
fn whom<M: Machine>(outcome: Outcome, domain: &Domain<M>, port: Port, vcpu: VcpuId) -> Wakes {
    if outcome == Outcome::Nothing {
        return Wakes::None;
    }
    let raised = (outcome == Outcome::Raised).then_some(vcpu);
    let pollers = domain.events.pollers.iter();
    if pollers.fold(0, |all, word| all | word.load(Ordering::Acquire)) != 0 {
        return Wakes::Many(take_pollers(domain, port, raised));
    }
    raised.map_or(Wakes::None, Wakes::One)
}

/// vCPUs that poll for the port are woken whether it is masked or not, and poll no more. Their bits, and `raised`'s.
#[inline(never)]
fn take_pollers<M: Machine>(
    domain: &Domain<M>,
    port: Port,
    raised: Option<VcpuId>,
) -> [u64; MAX_VCPUS / 64] {
    let mut wakes = [0; MAX_VCPUS / 64];
    let mut insert = |vcpu: VcpuId| {
        if let Some(word) = wakes.get_mut(vcpu.index() / 64) {
            *word |= 1 << (vcpu.index() % 64);
        }
    };
    if let Some(vcpu) = raised {
        insert(vcpu);
    }
    let pollers = domain
        .events
        .pollers
        .each_ref()
        .map(|word| word.load(Ordering::Acquire));
    let vcpus = domain.vcpus.read();
    for vcpu in bits(pollers).filter_map(|id| vcpus.get(id.index())) {
        let polled = vcpu.events.polled.load(Ordering::Acquire);
        if polled == POLL_ANY || polled == port.0 {
            end_poll(vcpu);
            insert(vcpu.id);
        }
    }
    wakes
}

/// `EVTCHNOP_send`: tells the other end of one of the caller's ports.
pub(super) fn send<M: Machine>(cx: &Cx<'_, M>, port: Port) -> Result<(), Errno> {
    let (hv, domain, from) = (cx.hv, cx.domain(), cx.cpu.id);
    let (peer, peer_port) = {
        let mut state = domain.events.lock();
        match &state.ports.get(port)?.binding {
            Binding::Interdomain { peer, port } => (Arc::clone(peer), *port),
            Binding::Ipi => {
                let wakes = deliver(&mut state, &hv.machine, domain, port);
                drop(state);
                // Who sends to itself is awake, and sees the event on its way out.
                if matches!(wakes, Wakes::One(vcpu) if vcpu == cx.vcpu.id) {
                    return Ok(());
                }
                wakes.carry_out(hv, domain, from);
                return Ok(());
            }
            // Nobody is there yet; who binds gets an event anyhow.
            Binding::Unbound { .. } => return Ok(()),
            Binding::Free | Binding::Pirq(_) | Binding::Virq(_) => return Err(Errno::EINVAL),
        }
    };
    let wakes = {
        let mut state = peer.events.lock();
        // Between the two locks the channel may have been closed.
        let connected = matches!(
            state.ports.get(peer_port).map(|entry| &entry.binding),
            Ok(Binding::Interdomain { peer: back, port: back_port })
                if Arc::ptr_eq(back, domain) && *back_port == port
        );
        if !connected {
            return Ok(());
        }
        deliver(&mut state, &hv.machine, &peer, peer_port)
    };
    wakes.carry_out(hv, &peer, from);
    Ok(())
}

/// Makes a port of a domain pending, as its peer would. Nothing happens if it is not in use.
pub fn notify<M: Machine>(hv: &'static Hypervisor<M>, domain: &Domain<M>, port: Port, from: CpuId) {
    let wakes = deliver(&mut domain.events.lock(), &hv.machine, domain, port);
    wakes.carry_out(hv, domain, from);
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
    let wakes = {
        let mut state = domain.events.lock();
        let port = Port(bound.load(Ordering::Acquire));
        match state.ports.get(port).map(|entry| &entry.binding) {
            Ok(Binding::Virq(number)) if *number == virq => {
                deliver(&mut state, &hv.machine, domain, port)
            }
            _ => Wakes::None,
        }
    };
    wakes.carry_out(hv, domain, from);
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
