//! `HYPERVISOR_event_channel_op`: from the guest's arguments to the operations and back.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::event::ports::Binding;
use crate::event::{bind, close, control, send};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::{DomId, Port};

/// `HYPERVISOR_event_channel_op(cmd, arg)`.
#[inline(never)]
pub fn hypercall<M: Machine>(cx: &Cx<'_, M>, cmd: u64, arg: u64) -> HcResult {
    // The ABI's command is an int.
    let Ok(number) = u32::try_from(cmd & 0xffff_ffff) else {
        return Err(Errno::ENOSYS.into());
    };
    if number == abi::EVTCHNOP_SEND {
        let args: abi::Send = read(cx, arg)?;
        send::send(cx, Port(args.port))?;
        return Ok(0);
    }
    others(cx, cmd, number, arg)
}

/// What comes less often than sending.
#[inline(never)]
fn others<M: Machine>(cx: &Cx<'_, M>, cmd: u64, number: u32, arg: u64) -> HcResult {
    match number {
        abi::EVTCHNOP_UNMASK => {
            let args: abi::Unmask = read(cx, arg)?;
            send::unmask(cx, Port(args.port))?;
        }
        abi::EVTCHNOP_ALLOC_UNBOUND => update(cx, arg, |args| alloc_unbound(cx, args))?,
        abi::EVTCHNOP_BIND_INTERDOMAIN => update(cx, arg, |args| bind_interdomain(cx, args))?,
        abi::EVTCHNOP_BIND_VIRQ => update(cx, arg, |args: &mut abi::BindVirq| {
            let port = bind::virq(cx, args.virq, args.vcpu)?;
            args.port = port.0;
            Ok((Arc::clone(cx.domain()), port))
        })?,
        abi::EVTCHNOP_BIND_IPI => update(cx, arg, |args: &mut abi::BindIpi| {
            let port = bind::ipi(cx, args.vcpu)?;
            args.port = port.0;
            Ok((Arc::clone(cx.domain()), port))
        })?,
        abi::EVTCHNOP_BIND_PIRQ => update(cx, arg, |args: &mut abi::BindPirq| {
            let share = args.flags & abi::BIND_PIRQ_WILL_SHARE != 0;
            let port = bind::pirq(cx, args.pirq, share)?;
            args.port = port.0;
            Ok((Arc::clone(cx.domain()), port))
        })?,
        abi::EVTCHNOP_CLOSE => {
            let args: abi::Close = read(cx, arg)?;
            close::close(cx.cpu, cx.domain(), Port(args.port))?;
        }
        abi::EVTCHNOP_STATUS => {
            let mut args: abi::Status = read(cx, arg)?;
            status(cx, &mut args)?;
            GuestHandle::new(arg).write(cx.machine(), &args)?;
        }
        abi::EVTCHNOP_BIND_VCPU => {
            let args: abi::BindVcpu = read(cx, arg)?;
            bind::vcpu(cx, Port(args.port), args.vcpu)?;
        }
        abi::EVTCHNOP_RESET => {
            let args: abi::Reset = read(cx, arg)?;
            match close::reset(cx.cpu, &caller_or_other(cx, args.dom, true)?) {
                Err(Errno::ERESTART) => return Err(Stop::Restart([cmd, arg, 0, 0, 0, 0])),
                outcome => outcome?,
            }
        }
        abi::EVTCHNOP_INIT_CONTROL => {
            let mut args: abi::InitControl = read(cx, arg)?;
            control::init_control(cx, args.vcpu, args.control_gfn, args.offset)
                .map_err(|failure| failure.stop([cmd, arg, 0, 0, 0, 0]))?;
            args.link_bits = LINK_BITS;
            GuestHandle::new(arg).write(cx.machine(), &args)?;
        }
        abi::EVTCHNOP_EXPAND_ARRAY => {
            let args: abi::ExpandArray = read(cx, arg)?;
            control::expand_array(cx, args.array_gfn)
                .map_err(|failure| failure.stop([cmd, arg, 0, 0, 0, 0]))?;
        }
        abi::EVTCHNOP_SET_PRIORITY => {
            let args: abi::SetPriority = read(cx, arg)?;
            control::set_priority(cx, Port(args.port), args.priority)?;
        }
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(0)
}

#[allow(clippy::cast_possible_truncation, reason = "it is 17")]
const LINK_BITS: u8 = abi::EVTCHN_FIFO_LINK_BITS as u8;

/// `HYPERVISOR_event_channel_op_compat(op)`, the form before 3.2: the command (32 bits) and the
/// arguments right behind it in memory. It knows the first ten commands.
#[inline(never)]
pub fn compat_hypercall<M: Machine>(cx: &Cx<'_, M>, op: u64) -> HcResult {
    let cmd: u32 = read(cx, op)?;
    if cmd > abi::EVTCHNOP_UNMASK {
        return Err(Errno::ENOSYS.into());
    }
    let arguments = GuestHandle::<u32>::new(op).at(1)?;
    hypercall(cx, u64::from(cmd), arguments.addr())
}

fn read<M: Machine, T: FromBytes + IntoBytes>(cx: &Cx<'_, M>, arg: u64) -> Result<T, Errno> {
    GuestHandle::new(arg).read(cx.machine())
}

/// A port that an operation has allocated, and whose it is.
type Opened<M> = (Arc<Domain<M>>, Port);

/// Runs an operation that allocates a port and writes its arguments back; the port is closed
/// again if that can't be done, for the guest would not know of it.
fn update<M: Machine, T: FromBytes + IntoBytes + Immutable>(
    cx: &Cx<'_, M>,
    arg: u64,
    operation: impl FnOnce(&mut T) -> Result<Opened<M>, Errno>,
) -> Result<(), Errno> {
    let handle = GuestHandle::<T>::new(arg);
    let mut args = handle.read(cx.machine())?;
    let (domain, port) = operation(&mut args)?;
    handle.write(cx.machine(), &args).inspect_err(|_| {
        let _ = close::close(cx.cpu, &domain, port);
    })
}

fn alloc_unbound<M: Machine>(
    cx: &Cx<'_, M>,
    args: &mut abi::AllocUnbound,
) -> Result<Opened<M>, Errno> {
    let domain = caller_or_other(cx, args.dom, false)?;
    let remote = if args.remote_dom == DOMID_SELF {
        cx.domain().id
    } else {
        DomId(args.remote_dom)
    };
    let port = bind::alloc_unbound(cx.machine(), &domain, remote)?;
    args.port = port.0;
    Ok((domain, port))
}

fn bind_interdomain<M: Machine>(
    cx: &Cx<'_, M>,
    args: &mut abi::BindInterdomain,
) -> Result<Opened<M>, Errno> {
    let remote = cx
        .hv
        .domain(DomId(args.remote_dom), cx.vcpu)
        .ok_or(Errno::ESRCH)?;
    let port = bind::interdomain(cx, &remote, Port(args.remote_port))?;
    args.local_port = port.0;
    Ok((Arc::clone(cx.domain()), port))
}

/// The caller's domain, or with privilege another one. `paused`: another one only while the tool
/// stack has it paused.
fn caller_or_other<M: Machine>(
    cx: &Cx<'_, M>,
    id: u16,
    paused: bool,
) -> Result<Arc<Domain<M>>, Errno> {
    let domain = cx.hv.domain(DomId(id), cx.vcpu).ok_or(Errno::ESRCH)?;
    if Arc::ptr_eq(&domain, cx.domain()) {
        return Ok(domain);
    }
    if !cx.domain().privileged {
        return Err(Errno::EPERM);
    }
    if paused
        && !domain
            .controller_paused
            .load(crate::sync::atomic::Ordering::Acquire)
    {
        return Err(Errno::EINVAL);
    }
    Ok(domain)
}

/// Unmasks a port of the caller's, if it is one.
pub(crate) fn unmask_port<M: Machine>(cx: &Cx<'_, M>, port: Port) {
    let _ = send::unmask(cx, port);
}

fn status<M: Machine>(cx: &Cx<'_, M>, args: &mut abi::Status) -> Result<(), Errno> {
    let domain = caller_or_other(cx, args.dom, false)?;
    let state = domain.events.lock();
    args.u = [0; 2];
    args.vcpu = 0;
    args.status = abi::EVTCHNSTAT_CLOSED;
    if !state.ports.has_place(Port(args.port)) {
        return Err(Errno::EINVAL);
    }
    let Ok(entry) = state.ports.get(Port(args.port)) else {
        return Ok(());
    };
    (args.status, args.u) = match &entry.binding {
        Binding::Free => (abi::EVTCHNSTAT_CLOSED, [0; 2]),
        Binding::Unbound { remote } => (abi::EVTCHNSTAT_UNBOUND, [u32::from(remote.0), 0]),
        Binding::Interdomain { peer, port } => {
            (abi::EVTCHNSTAT_INTERDOMAIN, [u32::from(peer.id.0), port.0])
        }
        Binding::Pirq(pirq) => (abi::EVTCHNSTAT_PIRQ, [*pirq, 0]),
        Binding::Virq(virq) => (abi::EVTCHNSTAT_VIRQ, [*virq, 0]),
        Binding::Ipi => (abi::EVTCHNSTAT_IPI, [0; 2]),
    };
    args.vcpu = u32::from(entry.vcpu.0);
    Ok(())
}
