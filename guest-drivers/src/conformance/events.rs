//! Event channels, 2-level: binding, sending, masking, status.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::hypercall::{HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_XEN_VERSION};
use oxen_abi::xen::{
    DOMID_SELF, NR_VIRQS, VIRQ_CON_RING, VIRQ_CONSOLE, VIRQ_DEBUG, VIRQ_DOM_EXC, VIRQ_ENOMEM,
    VIRQ_MCA, VIRQ_PCPU_STATE, VIRQ_TIMER,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::version::UNMAPPED;
use super::{Outcome, Suite, ensure, good, same, some};
use crate::event::{self, two_level};
use crate::sys::hypercall::{self, Result};
use crate::sys::shared;

/// An event channel operation.
pub(super) fn op<T: IntoBytes + FromBytes + Immutable>(cmd: u32, arg: &mut T) -> Result {
    hypercall::op(HYPERVISOR_EVENT_CHANNEL_OP, cmd, arg)
}

/// Allocates a port of the own domain that `remote` may bind.
pub(super) fn alloc_unbound(remote: u16) -> Result<u32> {
    let mut arg = abi::AllocUnbound {
        dom: DOMID_SELF,
        remote_dom: remote,
        port: 0,
    };
    op(abi::EVTCHNOP_ALLOC_UNBOUND, &mut arg).map(|_| arg.port)
}

/// Binds another domain's unbound port.
pub(crate) fn bind_interdomain(remote: u16, port: u32) -> Result<u32> {
    let mut arg = abi::BindInterdomain {
        remote_dom: remote,
        remote_port: port,
        ..abi::BindInterdomain::default()
    };
    op(abi::EVTCHNOP_BIND_INTERDOMAIN, &mut arg).map(|_| arg.local_port)
}

/// Binds a VIRQ of a vCPU.
pub(crate) fn bind_virq(virq: u32, vcpu: u32) -> Result<u32> {
    let mut arg = abi::BindVirq {
        virq,
        vcpu,
        port: 0,
    };
    op(abi::EVTCHNOP_BIND_VIRQ, &mut arg).map(|_| arg.port)
}

/// Binds an inter-processor event to a vCPU.
pub(crate) fn bind_ipi(vcpu: u32) -> Result<u32> {
    let mut arg = abi::BindIpi { vcpu, port: 0 };
    op(abi::EVTCHNOP_BIND_IPI, &mut arg).map(|_| arg.port)
}

/// Closes a port.
pub(crate) fn close(port: u32) -> Result {
    op(abi::EVTCHNOP_CLOSE, &mut abi::Close { port })
}

/// Sends an event.
pub(crate) fn send(port: u32) -> Result {
    op(abi::EVTCHNOP_SEND, &mut abi::Send { port })
}

/// Unmasks a port through the hypervisor.
pub(super) fn unmask(port: u32) -> Result {
    op(abi::EVTCHNOP_UNMASK, &mut abi::Unmask { port })
}

/// A port's state.
pub(crate) fn status(port: u32) -> Result<abi::Status> {
    let mut arg = abi::Status {
        dom: DOMID_SELF,
        port,
        ..abi::Status::default()
    };
    op(abi::EVTCHNOP_STATUS, &mut arg).map(|_| arg)
}

/// The own domain's number: the other end of a port that is bound to itself.
pub(super) fn own_domain() -> Outcome<u16> {
    let port = good!(alloc_unbound(DOMID_SELF));
    let state = good!(status(port));
    good!(close(port));
    u16::try_from(state.u[0] & 0xffff)
        .map_err(|_| super::Why::new(format_args!("domain {:#x}", state.u[0])))
}

/// Lets pending events in, then masks events again.
pub(crate) fn let_in() {
    if let Some(vcpu) = shared::vcpu_info(0) {
        vcpu.upcall_mask.store(0, Ordering::SeqCst);
        // Any hypercall's return delivers what is pending.
        let _ = hypercall::call(HYPERVISOR_XEN_VERSION, [0, 0]);
        vcpu.upcall_mask.store(1, Ordering::SeqCst);
    }
}

/// Masks or unmasks a port of the 2-level ABI.
pub(crate) fn set_mask(port: u32, masked: bool) -> Outcome {
    two_level::set_mask(&some!(shared::info()).mask, port, masked);
    Ok(())
}

/// A pair of ports of this domain that are each other's ends.
fn pair() -> Outcome<(u32, u32)> {
    let a = good!(alloc_unbound(DOMID_SELF));
    let b = good!(bind_interdomain(DOMID_SELF, a));
    for port in [a, b] {
        set_mask(port, false)?;
    }
    // The bind itself may have raised the remote end.
    let_in();
    Ok((a, b))
}

fn sending(s: &mut Suite<'_>) {
    s.check("events/send_to_self", || {
        let (a, b) = pair()?;
        let (from_a, from_b) = (event::count(b), event::count(a));
        same!(send(a), Ok(0));
        same!(event::count(b), from_a);
        let_in();
        same!(event::count(b), from_a + 1);
        same!(send(b), Ok(0));
        same!(send(b), Ok(0));
        let_in();
        // Two sends before the upcall are one event.
        same!(event::count(a), from_b + 1);
        same!(close(a), Ok(0));
        same!(close(b), Ok(0));
        Ok(())
    });
    s.check("events/upcall_masks_events", || {
        let (a, b) = pair()?;
        good!(send(a));
        let_in();
        ensure!(event::count(b) != 0, "not delivered");
        let mask = crate::sys::trap::UPCALL_MASK.load(Ordering::Relaxed);
        // The frame has the mask of before: events were let in.
        same!(mask, 0);
        good!(close(a));
        good!(close(b));
        Ok(())
    });
    s.check("events/masked_port", || {
        let (a, b) = pair()?;
        let before = event::count(b);
        set_mask(b, true)?;
        good!(send(a));
        let_in();
        same!(event::count(b), before);
        ensure!(
            two_level::is_set(&some!(shared::info()).pending, b),
            "a masked port is not pending"
        );
        good!(unmask(b));
        let_in();
        same!(event::count(b), before + 1);
        // Unmasking what is not pending raises nothing.
        good!(unmask(b));
        let_in();
        same!(event::count(b), before + 1);
        good!(close(a));
        good!(close(b));
        Ok(())
    });
    s.check("events/ipi_to_self", || {
        let port = good!(bind_ipi(0));
        set_mask(port, false)?;
        let before = event::count(port);
        good!(send(port));
        let_in();
        same!(event::count(port), before + 1);
        good!(close(port));
        Ok(())
    });
    s.check("events/many_ports", || {
        let mut ports = [0u32; 128];
        for port in &mut ports {
            *port = good!(bind_ipi(0));
            set_mask(*port, false)?;
        }
        let mut before = [0u32; 128];
        for (port, before) in ports.iter().zip(&mut before) {
            *before = event::count(*port);
            good!(send(*port));
        }
        let_in();
        for (port, before) in ports.iter().zip(before) {
            same!(event::count(*port), before + 1);
            good!(close(*port));
        }
        Ok(())
    });
}

fn states(s: &mut Suite<'_>) {
    s.check("events/status", || {
        let unbound = good!(alloc_unbound(0));
        let state = good!(status(unbound));
        same!(state.status, abi::EVTCHNSTAT_UNBOUND);
        same!(state.u[0] & 0xffff, 0);
        good!(close(unbound));
        same!(good!(status(unbound)).status, abi::EVTCHNSTAT_CLOSED);
        let (a, b) = pair()?;
        let state = good!(status(a));
        same!(state.status, abi::EVTCHNSTAT_INTERDOMAIN);
        same!(state.u[1], b);
        good!(close(b));
        // The other end lives on, unbound, and can be bound again.
        same!(good!(status(a)).status, abi::EVTCHNSTAT_UNBOUND);
        let again = good!(bind_interdomain(DOMID_SELF, a));
        same!(good!(status(a)).status, abi::EVTCHNSTAT_INTERDOMAIN);
        good!(close(again));
        good!(close(a));
        let virq = good!(bind_virq(VIRQ_DEBUG, 0));
        let state = good!(status(virq));
        same!(state.status, abi::EVTCHNSTAT_VIRQ);
        same!(state.u[0], VIRQ_DEBUG);
        good!(close(virq));
        let ipi = good!(bind_ipi(0));
        same!(good!(status(ipi)).status, abi::EVTCHNSTAT_IPI);
        same!(good!(status(ipi)).vcpu, 0);
        good!(close(ipi));
        Ok(())
    });
    s.check("events/ports_are_reused", || {
        let first = good!(bind_ipi(0));
        good!(close(first));
        same!(bind_ipi(0), Ok(first));
        good!(close(first));
        Ok(())
    });
    s.check("events/virq_rules", || {
        let port = good!(bind_virq(VIRQ_TIMER, 0));
        same!(bind_virq(VIRQ_TIMER, 0), Err(Errno::EEXIST));
        good!(close(port));
        same!(bind_virq(NR_VIRQS, 0), Err(Errno::EINVAL));
        same!(bind_virq(u32::MAX, 0), Err(Errno::EINVAL));
        same!(bind_virq(VIRQ_TIMER, 0x7fff), Err(Errno::ENOENT));
        // Global ones belong to vCPU 0.
        for virq in [VIRQ_DOM_EXC, VIRQ_CONSOLE] {
            same!(bind_virq(virq, 1), Err(Errno::EINVAL));
        }
        Ok(())
    });
    s.check("events/virqs_of_the_host", || {
        // Whoever binds them: they come to the domain that handles them.
        for virq in [
            VIRQ_CONSOLE,
            VIRQ_DOM_EXC,
            VIRQ_CON_RING,
            VIRQ_PCPU_STATE,
            VIRQ_ENOMEM,
            VIRQ_MCA,
        ] {
            let port = good!(bind_virq(virq, 0));
            same!(bind_virq(virq, 0), Err(Errno::EEXIST));
            let state = good!(status(port));
            same!((state.status, state.u[0]), (abi::EVTCHNSTAT_VIRQ, virq));
            // Only the hypervisor sends them.
            same!(send(port), Err(Errno::EINVAL));
            good!(close(port));
        }
        Ok(())
    });
    let privileged = s.privileged;
    s.check("events/virq_of_a_debug_key", || {
        if !privileged {
            super::skip!("dom0 only");
        }
        let port = good!(bind_virq(VIRQ_DEBUG, 0));
        set_mask(port, false)?;
        let before = event::count(port);
        crate::domain::control::debug_keys(*b"q");
        super::timers::wait_for("the event", || event::count(port) == before + 1)?;
        good!(close(port));
        Ok(())
    });
    s.check("events/virq_of_the_console_ring", || {
        if !privileged {
            super::skip!("dom0 only");
        }
        let port = good!(bind_virq(VIRQ_CON_RING, 0));
        set_mask(port, false)?;
        let before = event::count(port);
        crate::domain::control::debug_keys(*b"h");
        super::timers::wait_for("the event", || event::count(port) > before)?;
        good!(close(port));
        Ok(())
    });
    s.check("events/bind_vcpu", || {
        let bind =
            |port: u32, vcpu: u32| op(abi::EVTCHNOP_BIND_VCPU, &mut abi::BindVcpu { port, vcpu });
        let port = good!(alloc_unbound(0));
        same!(bind(port, 0), Ok(0));
        same!(bind(port, 0x7fff), Err(Errno::ENOENT));
        good!(close(port));
        same!(bind(port, 0), Err(Errno::EINVAL));
        let ipi = good!(bind_ipi(0));
        same!(bind(ipi, 0), Err(Errno::EINVAL));
        good!(close(ipi));
        same!(bind_ipi(0x7fff), Err(Errno::ENOENT));
        Ok(())
    });
}

fn refusals(s: &mut Suite<'_>) {
    s.check("events/bad_ports", || {
        let free = good!(bind_ipi(0));
        good!(close(free));
        for port in [0, free, 4095, 4096, 131_072, u32::MAX] {
            ensure!(
                send(port) == Err(Errno::EINVAL),
                "send {port}: {:?}",
                send(port)
            );
            ensure!(
                close(port) == Err(Errno::EINVAL),
                "close {port}: {:?}",
                close(port)
            );
            same!(bind_interdomain(DOMID_SELF, port), Err(Errno::EINVAL));
        }
        for port in [4096, u32::MAX] {
            same!(unmask(port), Err(Errno::EINVAL));
            same!(status(port).map(|s| s.status), Err(Errno::EINVAL));
        }
        Ok(())
    });
    s.check("events/send_to_unbound", || {
        // Nobody hears it, and that is no error.
        let port = good!(alloc_unbound(0));
        same!(send(port), Ok(0));
        good!(close(port));
        Ok(())
    });
    s.check("events/bind_wrong_ends", || {
        let (a, b) = pair()?;
        same!(bind_interdomain(DOMID_SELF, a), Err(Errno::EINVAL));
        good!(close(a));
        good!(close(b));
        same!(bind_interdomain(0x1234, 1), Err(Errno::ESRCH));
        Ok(())
    });
    s.check("events/bind_not_for_us", || {
        let port = good!(alloc_unbound(0x7f00));
        same!(bind_interdomain(DOMID_SELF, port), Err(Errno::EINVAL));
        good!(close(port));
        Ok(())
    });
    s.check("events/unknown_and_bad_pointer", || {
        for cmd in [15, 100, u32::MAX] {
            same!(op(cmd, &mut 0u64), Err(Errno::ENOSYS));
        }
        for cmd in [
            abi::EVTCHNOP_SEND,
            abi::EVTCHNOP_ALLOC_UNBOUND,
            abi::EVTCHNOP_STATUS,
        ] {
            same!(
                hypercall::call(HYPERVISOR_EVENT_CHANNEL_OP, [u64::from(cmd), UNMAPPED]),
                Err(Errno::EFAULT)
            );
        }
        Ok(())
    });
    s.check("events/answer_not_writable", || {
        // The answer cannot be stored: an error, and no port is left behind.
        let before = good!(bind_ipi(0));
        good!(close(before));
        let page = crate::sys::frame::Frame::new();
        page.fill(0);
        good!(crate::pagetable::make_read_only(page));
        same!(
            hypercall::call(
                HYPERVISOR_EVENT_CHANNEL_OP,
                [u64::from(abi::EVTCHNOP_BIND_IPI), page.address()]
            ),
            Err(Errno::EFAULT)
        );
        good!(crate::pagetable::make_writable(page));
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    sending(s);
    states(s);
    refusals(s);
}
