//! Event channels: ports, what they are bound to, and how a guest hears of them.
//!
//! A domain's ports, and how its guest is told (the 2-level or the FIFO ABI), are under one lock
//! of the domain's. Sending takes the sender's lock, then the receiver's, never both at once and
//! nothing global. Operations that change both ends take both, in the order of domain numbers.

mod bind;
mod close;
mod control;
pub(crate) mod fifo;
pub(crate) mod hold;
mod hypercall;
mod info;
#[cfg(loom)]
pub mod model;
mod poll;
pub(crate) mod ports;
mod send;
mod targets;
#[cfg(test)]
mod tests;
mod two_level;

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel::{EVTCHN_2L_NR_CHANNELS, EVTCHN_FIFO_NR_CHANNELS};

use crate::domain::Domain;
use crate::machine::Machine;
use crate::sync::{Mutex, MutexGuard};
use crate::types::{Mfn, Port, VcpuId};
use crate::vcpu::Vcpu;

pub use bind::alloc_unbound;
pub use close::close_all;
pub(crate) use hypercall::unmask_port;
pub use hypercall::{compat_hypercall, hypercall};
pub use info::{
    InfoWords, VcpuEvents, current_info, has_info, has_pending, info, info_frame, register,
    release, set_upcall_mask, upcall_mask, upcall_ready,
};
pub use poll::{Poll, begin_poll};
pub use send::{notify, send_global_virq, send_virq};

use fifo::Fifo;
use poll::Pollers;
use ports::{Binding, PortTable};
use targets::Targets;

/// A domain's event channels.
pub struct DomainEvents<M: Machine> {
    state: Mutex<State<M>>,
    /// vCPUs in `SCHEDOP_poll`.
    pollers: Pollers,
}

/// What is under the lock.
pub(crate) struct State<M: Machine> {
    pub(crate) ports: PortTable<Arc<Domain<M>>>,
    abi: Abi,
    targets: Targets<M>,
    /// The domain dies: no new port, no delivery.
    closed: bool,
    /// Where closing of all ports goes on.
    close_from: u32,
    /// From where on a reset forgets queues.
    forget_from: u32,
}

/// How the guest is told.
enum Abi {
    TwoLevel,
    Fifo(Fifo),
}

/// What making a port pending led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It was pending already.
    Nothing,
    /// It is pending now; nobody needs to be interrupted for it.
    Pending,
    /// It is pending and its vCPU has a new upcall.
    Raised,
}

impl<M: Machine> State<M> {
    /// Frames of the guest's that events of the FIFO ABI are kept in.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Mfn> + '_ {
        let fifo = match &self.abi {
            Abi::TwoLevel => None,
            Abi::Fifo(fifo) => Some(fifo),
        };
        fifo.into_iter().flat_map(Fifo::frames)
    }
}

impl<M: Machine> DomainEvents<M> {
    /// No ports, the 2-level ABI. `max_port` is the highest port that the domain may ever use.
    pub fn new(max_port: u32) -> Self {
        Self {
            state: Mutex::new(State {
                ports: PortTable::new(max_port),
                abi: Abi::TwoLevel,
                targets: Targets::default(),
                closed: false,
                close_from: 1,
                forget_from: 1,
            }),
            pollers: Pollers::default(),
        }
    }

    /// The domain has (also) these now: its shared page and its vCPUs, in order of number.
    pub fn attach(&self, machine: &M, shared: Option<Mfn>, vcpus: &[Arc<Vcpu<M>>]) {
        let new = Targets::new(machine, shared, vcpus);
        let old = core::mem::replace(&mut self.state.lock().targets, new);
        drop(old);
    }

    /// The domain dies: nothing of it is touched for an event from now on.
    pub fn detach(&self) {
        let old = core::mem::take(&mut self.state.lock().targets);
        drop(old);
    }

    /// Ports in use, for the tools.
    pub fn in_use(&self) -> u32 {
        self.state.lock().ports.in_use()
    }

    /// Gives a line for each port in use, for a debug key.
    pub(crate) fn describe(&self, machine: &M, line: &mut dyn FnMut(core::fmt::Arguments<'_>)) {
        let state = self.state.lock();
        let abi = match state.abi {
            Abi::TwoLevel => "2-level",
            Abi::Fifo(_) => "FIFO",
        };
        line(format_args!(
            "{abi} event channels, {} ports in use",
            state.ports.in_use()
        ));
        for (port, entry) in state.ports.iter_from(1) {
            let pending = state.is_pending(machine, port).unwrap_or(false);
            let pending = if pending { ", pending" } else { "" };
            let vcpu = entry.vcpu.0;
            let what = format_args!("  {:4} v{vcpu}{pending}: ", port.0);
            match &entry.binding {
                Binding::Free => {}
                Binding::Unbound { remote } => {
                    line(format_args!("{what}unbound, for d{}", remote.0))
                }
                Binding::Interdomain { peer, port } => {
                    line(format_args!("{what}to port {} of d{}", port.0, peer.id.0));
                }
                Binding::Pirq(pirq) => line(format_args!("{what}PIRQ {pirq}")),
                Binding::Virq(virq) => line(format_args!("{what}VIRQ {virq}")),
                Binding::Ipi => line(format_args!("{what}IPI")),
            }
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock()
    }
}

/// Frees a port that was allocated and then found no use.
pub(crate) fn discard<M: Machine>(machine: &M, domain: &Domain<M>, port: Port) {
    let freed = domain.events.lock().free(machine, port);
    drop(freed);
}

impl<M: Machine> State<M> {
    /// Takes a free port.
    fn allocate(
        &mut self,
        machine: &M,
        binding: Binding<Arc<Domain<M>>>,
        vcpu: VcpuId,
    ) -> Result<Port, Errno> {
        if self.closed {
            return Err(Errno::ESRCH);
        }
        let (limit, abi) = (self.abi.ports(), &self.abi);
        self.ports
            .allocate(binding, vcpu, limit, |port| abi.is_busy(machine, port))
    }

    /// Sets a port free and takes its event back.
    fn free(&mut self, machine: &M, port: Port) -> Result<Binding<Arc<Domain<M>>>, Errno> {
        let binding = self.ports.free(port)?;
        match &self.abi {
            Abi::TwoLevel => two_level::clear_pending(&self.targets, port),
            Abi::Fifo(fifo) => fifo.clear_pending(machine, port),
        }
        Ok(binding)
    }

    /// Makes a port in use, which is bound to `vcpu`, pending.
    #[inline]
    fn set_pending(&mut self, machine: &M, port: Port, vcpu: VcpuId) -> Outcome {
        if self.closed {
            return Outcome::Nothing;
        }
        match &mut self.abi {
            Abi::TwoLevel => two_level::set_pending(&self.targets, port, vcpu),
            Abi::Fifo(fifo) => fifo.set_pending(machine, &self.targets, &mut self.ports, port),
        }
    }

    /// Unmasks a port in use, which is bound to `vcpu`, for the guest.
    fn unmask(&mut self, machine: &M, port: Port, vcpu: VcpuId) -> Outcome {
        match &mut self.abi {
            Abi::TwoLevel => two_level::unmask(&self.targets, port, vcpu),
            Abi::Fifo(fifo) => fifo.unmask(machine, &self.targets, &mut self.ports, port),
        }
    }

    fn is_pending(&self, machine: &M, port: Port) -> Result<bool, Errno> {
        let entry = self.ports.get(port)?;
        Ok(match &self.abi {
            Abi::TwoLevel => two_level::is_pending(&self.targets, port),
            Abi::Fifo(fifo) => fifo.is_pending(machine, entry, port),
        })
    }
}

impl Abi {
    /// One more than the highest port that the guest can be told of.
    const fn ports(&self) -> u32 {
        match self {
            Self::TwoLevel => EVTCHN_2L_NR_CHANNELS,
            Self::Fifo(_) => EVTCHN_FIFO_NR_CHANNELS,
        }
    }

    fn is_busy<M: Machine>(&self, machine: &M, port: Port) -> bool {
        match self {
            Self::TwoLevel => false,
            Self::Fifo(fifo) => fifo.is_busy(machine, port),
        }
    }
}

/// The locks of two domains; of one, if they are the same.
struct Pair<'a, M: Machine> {
    local: MutexGuard<'a, State<M>>,
    remote: Option<MutexGuard<'a, State<M>>>,
}

impl<M: Machine> Pair<'_, M> {
    fn remote(&mut self) -> &mut State<M> {
        match &mut self.remote {
            Some(remote) => remote,
            None => &mut self.local,
        }
    }
}

/// Takes both locks, the lower domain number's first.
fn lock_pair<'a, M: Machine>(local: &'a Arc<Domain<M>>, remote: &'a Arc<Domain<M>>) -> Pair<'a, M> {
    if Arc::ptr_eq(local, remote) {
        return Pair {
            local: local.events.lock(),
            remote: None,
        };
    }
    if local.id <= remote.id {
        let local = local.events.lock();
        Pair {
            local,
            remote: Some(remote.events.lock()),
        }
    } else {
        let remote = remote.events.lock();
        Pair {
            local: local.events.lock(),
            remote: Some(remote),
        }
    }
}
