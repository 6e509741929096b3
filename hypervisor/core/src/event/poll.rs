//! `SCHEDOP_poll`: a vCPU sleeps until one of some ports is pending, masked or not. PV spinlocks
//! wait this way for the kick.

use oxen_abi::errno::Errno;
use oxen_abi::sched::SCHED_POLL_MAX_PORTS;

use crate::event::info;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::types::{MAX_VCPUS, Port, VcpuId};
use crate::vcpu::Paused;

/// What a polling vCPU waits for. It is written under the domain's event lock, and says nothing while the vCPU is not
/// marked as polling ([`Paused::POLLING`]).
#[derive(Debug, Default)]
pub(super) struct Polled(AtomicU32);

impl Polled {
    /// Several ports, or none but the time: any port's event will do.
    const ANY: u32 = u32::MAX;

    fn set(&self, ports: &[u32]) {
        let polled = if let [port] = ports { *port } else { Self::ANY };
        self.0.store(polled, Ordering::Release);
    }
}

/// The vCPUs of a domain that poll, one bit each. It changes under the domain's event lock only. Whoever else wakes a
/// vCPU leaves its bit: taken away a moment later, it could be that of the vCPU's next poll.
pub(super) struct Pollers([AtomicU64; MAX_VCPUS / 64]);

impl Default for Pollers {
    fn default() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Pollers {
    /// Whether any vCPU may be polling.
    #[inline]
    pub(super) fn any(&self) -> bool {
        let words = self.0.iter();
        words.fold(0, |all, word| all | word.load(Ordering::Acquire)) != 0
    }

    /// Adds a vCPU, which waits for these ports from now on.
    pub(super) fn add(&self, id: VcpuId, polled: &Polled, ports: &[u32]) {
        polled.set(ports);
        if let Some(word) = self.0.get(id.index() / 64) {
            word.fetch_or(1 << (id.index() % 64), Ordering::AcqRel);
        }
    }

    /// Those that may be polling, in order of number.
    pub(super) fn ids(&self) -> impl Iterator<Item = VcpuId> + use<> {
        let mut words = self.0.each_ref().map(|word| word.load(Ordering::Acquire));
        core::iter::from_fn(move || {
            let (index, word) = words.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
            let bit = word.trailing_zeros();
            *word &= *word - 1;
            u16::try_from(index * 64 + bit as usize).ok().map(VcpuId)
        })
    }

    /// An event has come to a port: whether one of those vCPUs waits for it. It is taken out if so, and if it does not
    /// poll any more. `paused` is its [`Paused`] bits.
    pub(super) fn hears(
        &self,
        id: VcpuId,
        polled: &Polled,
        paused: &AtomicU32,
        port: Port,
    ) -> bool {
        let polls = paused.load(Ordering::SeqCst) & Paused::POLLING.bits() != 0;
        let wanted = polled.0.load(Ordering::Acquire);
        let hears = polls && (wanted == Polled::ANY || wanted == port.0);
        if (hears || !polls)
            && let Some(word) = self.0.get(id.index() / 64)
        {
            word.fetch_and(!(1 << (id.index() % 64)), Ordering::AcqRel);
        }
        hears
    }
}

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
    domain
        .events
        .pollers
        .add(vcpu.id, &vcpu.events.polled, wanted);
    Ok(Poll::Wait)
}
