//! Giving ports something to be bound to.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::xen::{VIRQ_DEBUG, VIRQ_TIMER, VIRQ_XENOPROF, VIRQ_XENPMU};

use crate::domain::Domain;
use crate::event::info::NR_VIRQS;
use crate::event::lock_pair;
use crate::event::ports::Binding;
use crate::event::send::deliver;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, Port, VcpuId};

/// Whether a VIRQ has one receiver in the domain, bound on vCPU 0.
pub(super) const fn is_global(virq: u32) -> bool {
    !matches!(virq, VIRQ_TIMER | VIRQ_DEBUG | VIRQ_XENOPROF | VIRQ_XENPMU)
}

/// Gives a domain a port that `remote` may bind to: for its guest, for a tool on its behalf, and
/// for the builder of dom0.
pub fn alloc_unbound<M: Machine>(
    machine: &M,
    domain: &Domain<M>,
    remote: DomId,
) -> Result<Port, Errno> {
    domain
        .events
        .lock()
        .allocate(machine, Binding::Unbound { remote }, VcpuId(0))
}

/// Connects a new port of the caller's to `remote`'s unbound one. Whatever was sent before there
/// was anyone to hear it is made good by one event.
pub(super) fn interdomain<M: Machine>(
    cx: &Cx<'_, M>,
    remote: &Arc<Domain<M>>,
    remote_port: Port,
) -> Result<Port, Errno> {
    let (machine, local) = (cx.machine(), cx.domain());
    let mut pair = lock_pair(local, remote);
    match pair.remote().ports.get(remote_port)?.binding {
        Binding::Unbound { remote } if remote == local.id => {}
        _ => return Err(Errno::EINVAL),
    }
    let there = Binding::Interdomain {
        peer: Arc::clone(remote),
        port: remote_port,
    };
    let port = pair.local.allocate(machine, there, VcpuId(0))?;
    pair.remote().ports.get_mut(remote_port)?.binding = Binding::Interdomain {
        peer: Arc::clone(local),
        port,
    };
    deliver(&mut pair.local, cx.hv, local, port, cx.cpu.id);
    Ok(port)
}

/// Binds a VIRQ of one of the caller's vCPUs.
pub(super) fn virq<M: Machine>(cx: &Cx<'_, M>, virq: u32, vcpu: u32) -> Result<Port, Errno> {
    if virq as usize >= NR_VIRQS || (is_global(virq) && vcpu != 0) {
        return Err(Errno::EINVAL);
    }
    let domain = cx.domain();
    let vcpu = find_vcpu(domain, vcpu)?;
    let bound = domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
    let bound = crate::speculation::get(&bound.events.virqs, virq as usize).ok_or(Errno::EINVAL)?;
    let mut state = domain.events.lock();
    if bound.load(Ordering::Acquire) != 0 {
        return Err(Errno::EEXIST);
    }
    let port = state.allocate(cx.machine(), Binding::Virq(virq), vcpu)?;
    bound.store(port.0, Ordering::Release);
    Ok(port)
}

/// Binds inter-processor events to one of the caller's vCPUs.
pub(super) fn ipi<M: Machine>(cx: &Cx<'_, M>, vcpu: u32) -> Result<Port, Errno> {
    let vcpu = find_vcpu(cx.domain(), vcpu)?;
    cx.domain()
        .events
        .lock()
        .allocate(cx.machine(), Binding::Ipi, vcpu)
}

/// Binds a physical interrupt that the caller has mapped. It stays with vCPU 0 until moved.
pub(super) fn pirq<M: Machine>(cx: &Cx<'_, M>, pirq: u32, share: bool) -> Result<Port, Errno> {
    let domain = cx.domain();
    crate::irq::bind_pirq(cx, pirq, share, || {
        domain
            .events
            .lock()
            .allocate(cx.machine(), Binding::Pirq(pirq), VcpuId(0))
    })
}

/// `EVTCHNOP_bind_vcpu`: lets a port notify another vCPU. IPIs and per-vCPU VIRQs belong to
/// theirs for good.
pub(super) fn vcpu<M: Machine>(cx: &Cx<'_, M>, port: Port, vcpu: u32) -> Result<(), Errno> {
    let domain = cx.domain();
    let vcpu = find_vcpu(domain, vcpu)?;
    let pirq = {
        let mut state = domain.events.lock();
        let entry = state.ports.get_mut(port)?;
        let pirq = match entry.binding {
            Binding::Virq(virq) if is_global(virq) => None,
            Binding::Unbound { .. } | Binding::Interdomain { .. } => None,
            Binding::Pirq(pirq) => Some(pirq),
            Binding::Free | Binding::Virq(_) | Binding::Ipi => return Err(Errno::EINVAL),
        };
        entry.vcpu = vcpu;
        pirq
    };
    if let Some(pirq) = pirq {
        crate::irq::follow_vcpu(cx, pirq, vcpu);
    }
    Ok(())
}

/// A vCPU of the domain by the number that a guest gives; `ENOENT` if there is none.
pub(super) fn find_vcpu<M: Machine>(domain: &Domain<M>, vcpu: u32) -> Result<VcpuId, Errno> {
    let id = VcpuId(u16::try_from(vcpu).map_err(|_| Errno::ENOENT)?);
    domain
        .vcpus
        .read()
        .get(id.index())
        .map(|vcpu| vcpu.id)
        .ok_or(Errno::ENOENT)
}
