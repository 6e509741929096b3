//! Event channels on the simulated machine.

mod fifo;
mod guest;
mod model;
mod preempt;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::xen::DOMID_SELF;

use crate::error::Stop;
use crate::event::{self, Poll};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::sync::atomic::Ordering;
use crate::types::{CpuId, DomId, Port, VcpuId};
use crate::vcpu::Paused;

use guest::*;

#[test]
fn virqs_and_vcpus() {
    let host = host();
    let dom0 = host.domain(0, 2, 16);
    let guest = host.domain(1, 2, 16);
    use oxen_abi::xen::{VIRQ_CONSOLE, VIRQ_DOM_EXC, VIRQ_TIMER};
    assert_eq!(bind_virq(&host, &guest, 24, 0), Err(Errno::EINVAL));
    assert_eq!(
        bind_virq(&host, &guest, VIRQ_CONSOLE, 1),
        Err(Errno::EINVAL)
    );
    assert_eq!(bind_virq(&host, &guest, VIRQ_TIMER, 2), Err(Errno::ENOENT));
    assert_eq!(
        bind_virq(&host, &guest, VIRQ_TIMER, 0x1_0000),
        Err(Errno::ENOENT)
    );
    let timer = bind_virq(&host, &guest, VIRQ_TIMER, 1).unwrap();
    let mv = |port, vcpu| {
        call(
            &host,
            &guest,
            abi::EVTCHNOP_BIND_VCPU,
            abi::BindVcpu { port, vcpu },
        )
        .map(|_| ())
    };
    assert_eq!(mv(timer, 0), Err(Errno::EINVAL));
    let vcpu1 = guest.vcpu(VcpuId(1)).unwrap();
    event::send_virq(host.hv, &vcpu1, VIRQ_TIMER, CpuId(0));
    assert!(!woken(&host, &guest, 0) && woken(&host, &guest, 1));

    let exc = bind_virq(&host, &dom0, VIRQ_DOM_EXC, 0).unwrap();
    assert_eq!(bind_virq(&host, &dom0, VIRQ_DOM_EXC, 0), Err(Errno::EEXIST));
    let args = abi::BindVcpu { port: exc, vcpu: 1 };
    call(&host, &dom0, abi::EVTCHNOP_BIND_VCPU, args).unwrap();
    event::send_global_virq(host.hv, VIRQ_DOM_EXC);
    assert!(!woken(&host, &dom0, 0) && woken(&host, &dom0, 1));
    close(&host, &dom0, exc).unwrap();
    assert!(
        bind_virq(&host, &dom0, VIRQ_DOM_EXC, 0).is_ok(),
        "it is free again"
    );

    // A tool may let another domain have it.
    host.hv.virq_handlers.lock()[VIRQ_CONSOLE as usize] = Some(DomId(1));
    bind_virq(&host, &guest, VIRQ_CONSOLE, 0).unwrap();
    event::send_global_virq(host.hv, VIRQ_CONSOLE);
    assert!(woken(&host, &guest, 0) && !woken(&host, &dom0, 0));
}

#[test]
fn foreign_ports_need_privilege() {
    let host = host();
    let dom0 = host.domain(0, 1, 16);
    let guest = host.domain(1, 1, 16);
    let args = abi::AllocUnbound {
        dom: 1,
        remote_dom: DOMID_SELF,
        port: 0,
    };
    let port = call(&host, &dom0, abi::EVTCHNOP_ALLOC_UNBOUND, args)
        .unwrap()
        .port;
    assert_eq!(status(&host, &guest, port).unwrap().u[0], 0);
    let args = abi::AllocUnbound {
        dom: 0,
        remote_dom: 1,
        port: 0,
    };
    let refused = call(&host, &guest, abi::EVTCHNOP_ALLOC_UNBOUND, args).map(|_| ());
    assert_eq!(refused, Err(Errno::EPERM));
    let args = abi::AllocUnbound {
        dom: 7,
        remote_dom: 1,
        port: 0,
    };
    let refused = call(&host, &dom0, abi::EVTCHNOP_ALLOC_UNBOUND, args).map(|_| ());
    assert_eq!(refused, Err(Errno::ESRCH));
    let reset = |dom| call(&host, &dom0, abi::EVTCHNOP_RESET, abi::Reset { dom }).map(|_| ());
    assert_eq!(
        reset(1),
        Err(Errno::EINVAL),
        "it is not paused by the tool stack"
    );
    guest.controller_paused.store(true, Ordering::Release);
    assert_eq!(reset(1), Ok(()));
    assert_eq!(guest.events.in_use(), 0);
}

#[test]
fn an_answer_that_cannot_be_written_leaves_no_port() {
    let host = host();
    let guest = host.domain(1, 1, 16);
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let bad = event::hypercall(&host.cx(&vcpu), u64::from(abi::EVTCHNOP_BIND_IPI), 0x10);
    assert_eq!(bad, Err(Stop::Errno(Errno::EFAULT)));
    let unknown = event::hypercall(&host.cx(&vcpu), 99, 0x10);
    assert_eq!(unknown, Err(Stop::Errno(Errno::ENOSYS)));
    assert_eq!(guest.events.in_use(), 0);
    // The old form: the command lies in front of the arguments.
    let addr = host.put(0, &[abi::EVTCHNOP_BIND_IPI, 0, 0]);
    assert_eq!(event::compat_hypercall(&host.cx(&vcpu), addr), Ok(0));
    assert_eq!(host.get::<[u32; 3]>(addr)[2], 1);
    let addr = host.put(0, &[abi::EVTCHNOP_RESET, 0, 0]);
    let refused = event::compat_hypercall(&host.cx(&vcpu), addr);
    assert_eq!(refused, Err(Stop::Errno(Errno::ENOSYS)));
}

#[test]
fn polling_ends_with_the_polled_port_only() {
    let host = host();
    let guest = host.domain(1, 1, 16);
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let (one, two) = (
        bind_ipi(&host, &guest, 0).unwrap(),
        bind_ipi(&host, &guest, 0).unwrap(),
    );
    Side::TwoLevel.mask(&host, &guest, one);
    Side::TwoLevel.mask(&host, &guest, two);
    let ports = |list: &[u32]| GuestHandle::new(host.put(64, list));
    let marks = (Paused::BLOCKED | Paused::POLLING).bits();
    let polling = || vcpu.paused.load(Ordering::Acquire) & Paused::POLLING.bits() != 0;
    let poll = |list: &[u32]| {
        vcpu.paused.fetch_or(marks, Ordering::AcqRel);
        event::begin_poll(
            &host.cx(&vcpu),
            ports(list),
            u32::try_from(list.len()).unwrap(),
        )
    };

    assert_eq!(poll(&[one]), Ok(Poll::Wait));
    send(&host, &guest, two).unwrap();
    assert!(polling(), "another port does not end it");
    send(&host, &guest, one).unwrap();
    assert!(!polling(), "the polled one does, though masked");
    assert!(!woken(&host, &guest, 0));
    assert_eq!(poll(&[one]), Ok(Poll::Ready));

    close(&host, &guest, one).unwrap();
    close(&host, &guest, two).unwrap();
    let three = bind_ipi(&host, &guest, 0).unwrap();
    Side::TwoLevel.mask(&host, &guest, three);
    assert_eq!(poll(&[]), Ok(Poll::Wait));
    send(&host, &guest, three).unwrap();
    assert!(!polling(), "any port ends it");
    assert_eq!(poll(&[]), Ok(Poll::Wait));
    vcpu.paused.fetch_and(!marks, Ordering::AcqRel);
    assert!(vcpu.domain.events.pollers.any());
    let four = bind_ipi(&host, &guest, 0).unwrap();
    send(&host, &guest, four).unwrap();
    assert!(!vcpu.domain.events.pollers.any(), "woken by something else");
    assert_eq!(
        event::begin_poll(&host.cx(&vcpu), ports(&[]), 129),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        event::begin_poll(&host.cx(&vcpu), ports(&[77]), 1),
        Err(Errno::EINVAL)
    );
    let nowhere = GuestHandle::new(u64::MAX - 2);
    assert_eq!(
        event::begin_poll(&host.cx(&vcpu), nowhere, 2),
        Err(Errno::EFAULT)
    );
}

#[test]
fn vcpu_info_moves_once_and_loses_nothing() {
    let host = host();
    let guest = host.domain(1, 2, 16);
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let frame = host.ram(&guest);
    let register = |offset, mfn: u64| {
        let arg = oxen_abi::vcpu::RegisterVcpuInfo {
            mfn,
            offset,
            rsvd: 0,
        };
        event::register(&host.cx(&vcpu), &vcpu, &arg)
    };
    event::set_upcall_mask(host.machine(), &vcpu, true);
    assert!(register(4040, frame.0).is_err());
    assert!(register(12, frame.0).is_err());
    assert!(register(64, u64::MAX >> 12).is_err());
    assert_eq!(register(64, frame.0), Ok(()));
    assert!(
        event::upcall_mask(host.machine(), &vcpu),
        "the mask moved along"
    );
    assert!(event::has_pending(host.machine(), &vcpu));
    assert!(!event::upcall_ready(host.machine(), &vcpu));
    event::set_upcall_mask(host.machine(), &vcpu, false);
    assert!(event::upcall_ready(host.machine(), &vcpu));
    assert_eq!(
        host.machine().page(frame).unwrap()[8].load(Ordering::Acquire) & 0xffff,
        1
    );
    assert!(register(128, frame.0).is_err(), "only once");
    assert_eq!(host.machine().frame(frame).unwrap().types().count(), 1);
    host.finish(|| event::close_all(&host.cpu, &guest));
    assert_eq!(host.machine().frame(frame).unwrap().types().count(), 0);
    assert_eq!(host.machine().frame(frame).unwrap().count().count(), 1);
}

#[test]
fn a_dying_domain_gets_no_events_and_its_peer_may_bind_anew() {
    let host = host();
    let (one, two) = (host.domain(1, 1, 16), host.domain(2, 1, 16));
    let unbound = alloc(&host, &one, 2).unwrap();
    let port = bind(&host, &two, 1, unbound).unwrap();
    host.finish(|| event::close_all(&host.cpu, &two));
    assert_eq!(
        status(&host, &one, unbound).unwrap().status,
        abi::EVTCHNSTAT_UNBOUND
    );
    assert_eq!(send(&host, &one, unbound), Ok(()));
    event::notify(host.hv, &two, Port(port), CpuId(0));
    assert_eq!(alloc(&host, &two, 1), Err(Errno::ESRCH));
    assert_eq!(bind(&host, &two, 1, unbound), Err(Errno::ESRCH));
}

#[test]
fn a_reset_left_half_done_keeps_no_port_from_being_closed() {
    let host = host();
    let (one, two) = (host.domain(1, 1, 16), host.domain(2, 1, 16));
    let unbound = alloc(&host, &two, 1).unwrap();
    let vcpu = one.vcpu(VcpuId(0)).unwrap();
    for _ in 0..3 {
        bind_ipi(&host, &one, 0).unwrap();
    }
    let addr = host.put(0, &abi::Reset { dom: DOMID_SELF });
    host.stop_after(Some(1));
    let reset = event::hypercall(&host.cx(&vcpu), abi::EVTCHNOP_RESET.into(), addr);
    assert!(matches!(reset, Err(Stop::Restart(_))));
    // The guest does not go on with it, but takes a port that it has passed.
    assert_eq!(bind(&host, &one, 2, unbound), Ok(1));
    host.finish(|| event::close_all(&host.cpu, &one));
    assert_eq!(one.events.in_use(), 0);
    let there = status(&host, &two, unbound).unwrap();
    assert_eq!(there.status, abi::EVTCHNSTAT_UNBOUND);
}
