//! Setting the FIFO ABI up: control blocks, pages of event words, priorities.

use oxen_abi::errno::Errno;
use oxen_abi::event_channel::{EVTCHN_2L_NR_CHANNELS, EVTCHN_FIFO_PRIORITY_MIN};

use crate::error::Stop;
use crate::event::bind::find_vcpu;
use crate::event::fifo::{Fifo, check_control_offset};
use crate::event::hold::{hold_writable, let_go};
use crate::event::ports::DEFAULT_PRIORITY;
use crate::event::send::deliver;
use crate::event::{Abi, State, two_level};
use crate::machine::Machine;
use crate::mm::MmError;
use crate::percpu::Cx;
use crate::types::{Mfn, Port, VcpuId};

/// Why setting up did not happen.
pub(super) enum Failure {
    Errno(Errno),
    /// The frame is being worked on by another CPU: the hypercall is to be made again.
    Restart,
}

impl From<MmError> for Failure {
    fn from(error: MmError) -> Self {
        match error {
            MmError::Errno(errno) => Self::Errno(errno),
            MmError::Restart => Self::Restart,
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Failure {
    /// As the hypercall's outcome, given its arguments.
    pub(super) fn stop(self, arguments: [u64; 6]) -> Stop {
        match self {
            Self::Errno(errno) => Stop::Errno(errno),
            Self::Restart => Stop::Restart(arguments),
        }
    }
}

/// `EVTCHNOP_init_control`: gives a vCPU its control block. The first one switches the domain to
/// the FIFO ABI; what is pending on ports bound before is kept.
pub(super) fn init_control<M: Machine>(
    cx: &Cx<'_, M>,
    vcpu: u32,
    gfn: u64,
    offset: u32,
) -> Result<(), Failure> {
    check_control_offset(offset)?;
    let domain = cx.domain();
    let vcpu = find_vcpu(domain, vcpu)?;
    let mfn = Mfn(gfn);
    hold_writable(cx.cpu, domain, mfn)?;
    let added = add_control(&mut domain.events.lock(), vcpu, mfn, offset);
    if added.is_err() {
        let_go(cx.cpu, mfn);
    }
    Ok(added?)
}

fn add_control<M: Machine>(
    state: &mut State<M>,
    vcpu: VcpuId,
    mfn: Mfn,
    offset: u32,
) -> Result<(), Errno> {
    if state.closed {
        return Err(Errno::ESRCH);
    }
    if let Abi::Fifo(fifo) = &mut state.abi {
        return fifo.add_control(vcpu, mfn, offset);
    }
    let mut fifo = Fifo::default();
    fifo.add_control(vcpu, mfn, offset)?;
    // Without FIFO there are no more ports than that, whatever the table has room for.
    for number in 1..state.ports.places().min(EVTCHN_2L_NR_CHANNELS) {
        let pending = two_level::is_pending(&state.targets, Port(number));
        if let Some(entry) = state.ports.slot(number) {
            entry.pending = pending;
            entry.priority = DEFAULT_PRIORITY;
            entry.queue = None;
        }
    }
    state.abi = Abi::Fifo(fifo);
    Ok(())
}

/// `EVTCHNOP_expand_array`: adds a page of event words. Events that came before there was a word
/// for their port are made pending in it.
pub(super) fn expand_array<M: Machine>(cx: &Cx<'_, M>, gfn: u64) -> Result<(), Failure> {
    let domain = cx.domain();
    let mfn = Mfn(gfn);
    if matches!(domain.events.lock().abi, Abi::TwoLevel) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    hold_writable(cx.cpu, domain, mfn)?;
    let added = {
        let mut state = domain.events.lock();
        match &mut state.abi {
            Abi::Fifo(fifo) => fifo.add_page(mfn),
            Abi::TwoLevel => Err(Errno::EOPNOTSUPP),
        }
    };
    let first = added.inspect_err(|_| let_go(cx.cpu, mfn))?;
    for port in Fifo::page_of(first) {
        let mut state = domain.events.lock();
        let waited = state
            .ports
            .slot(port.0)
            .is_some_and(|entry| core::mem::replace(&mut entry.pending, false));
        if waited {
            deliver(&mut state, cx.hv, domain, port, cx.cpu.id);
        }
    }
    Ok(())
}

/// `EVTCHNOP_set_priority`: the port goes on the queue of this priority from its next event on.
pub(super) fn set_priority<M: Machine>(
    cx: &Cx<'_, M>,
    port: Port,
    priority: u32,
) -> Result<(), Errno> {
    let mut state = cx.domain().events.lock();
    state.ports.get(port)?;
    if matches!(state.abi, Abi::TwoLevel) {
        return Err(Errno::ENOSYS);
    }
    if priority > EVTCHN_FIFO_PRIORITY_MIN {
        return Err(Errno::EINVAL);
    }
    state.ports.get_mut(port)?.priority = u8::try_from(priority).map_err(|_| Errno::EINVAL)?;
    Ok(())
}
