//! `SCHEDOP_poll`: a vCPU sleeps until one of some ports is pending, masked or not. PV spinlocks
//! wait this way for the kick.

use oxen_abi::errno::Errno;
use oxen_abi::sched::SCHED_POLL_MAX_PORTS;

use crate::event::info::{self, POLL_ANY, POLL_NONE};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::Port;
use crate::vcpu::Vcpu;

/// What polling begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Poll {
    /// Something is pending already: the vCPU goes on.
    Ready,
    /// The vCPU is registered and to be blocked; a send to one of the ports calls
    /// [`crate::sched::wake`].
    Wait,
}

/// Registers the calling vCPU as waiting for `count` ports (0: for any event), unless one of them
/// is pending or an upcall can be delivered. `EINVAL` for too many ports or one not in use.
/// The caller has marked the vCPU as blocked beforehand, so that a wake-up that comes at once is
/// not lost, and takes the mark back unless the answer is [`Poll::Wait`].
pub fn begin_poll<M: Machine>(
    cx: &Cx<'_, M>,
    ports: GuestHandle<u32>,
    count: u32,
) -> Result<Poll, Errno> {
    const MAX: usize = SCHED_POLL_MAX_PORTS as usize;
    if count > SCHED_POLL_MAX_PORTS {
        return Err(Errno::EINVAL);
    }
    let mut wanted = [0u32; MAX];
    let wanted = wanted.get_mut(..count as usize).ok_or(Errno::EINVAL)?;
    for (index, port) in (0..).zip(wanted.iter_mut()) {
        *port = ports.read_at(cx.machine(), index)?;
    }

    let (domain, vcpu) = (cx.domain(), &**cx.vcpu);
    // A send takes the same lock: it comes either before the look or after the registration.
    let state = domain.events.lock();
    for port in wanted.iter() {
        if state.is_pending(cx.machine(), Port(*port))? {
            return Ok(Poll::Ready);
        }
    }
    if info::upcall_ready(cx.machine(), vcpu) {
        return Ok(Poll::Ready);
    }
    let polled = if let [port] = wanted { *port } else { POLL_ANY };
    vcpu.events.polled.store(polled, Ordering::Release);
    if let Some(word) = domain.events.pollers.get(vcpu.id.index() / 64) {
        word.fetch_or(1 << (vcpu.id.index() % 64), Ordering::AcqRel);
    }
    Ok(Poll::Wait)
}

/// Takes a vCPU that wakes for another reason (an upcall, the time) out of the pollers. Cheap
/// when it does not poll.
pub fn end_poll<M: Machine>(vcpu: &Vcpu<M>) {
    if vcpu.events.polled.load(Ordering::Acquire) == POLL_NONE {
        return;
    }
    vcpu.events.polled.store(POLL_NONE, Ordering::Release);
    if let Some(word) = vcpu.domain.events.pollers.get(vcpu.id.index() / 64) {
        word.fetch_and(!(1 << (vcpu.id.index() % 64)), Ordering::AcqRel);
    }
}
