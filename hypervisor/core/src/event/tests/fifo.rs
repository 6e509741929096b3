//! The corners of the FIFO ABI.

use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::xen::DOMID_SELF;
use proptest::prelude::*;

use super::guest::*;
use crate::event;
use crate::machine::Machine;
use crate::sync::atomic::Ordering;

#[test]
fn fifo_survives_a_guest_that_writes_anything() {
    let mut runner = proptest::test_runner::TestRunner::default();
    let ops = prop::collection::vec((any::<u32>(), 0u32..8, any::<bool>()), 1..80);
    runner
        .run(&ops, |ops| {
            let host = host();
            let guest = host.domain(1, 1, 16);
            let side = go_fifo(&host, &guest);
            let Side::Fifo { words, control } = side else {
                panic!("FIFO")
            };
            for _ in 0..4 {
                bind_ipi(&host, &guest, 0).unwrap();
            }
            for (value, port, in_words) in ops {
                let page = if in_words { words } else { control };
                let page = host.machine().page32(page).unwrap();
                page[port as usize].store(value, Ordering::Release);
                let _ = send(&host, &guest, port);
                let _ = unmask(&host, &guest, port);
                let args = abi::SetPriority {
                    port,
                    priority: value % 20,
                };
                let _ = call(&host, &guest, abi::EVTCHNOP_SET_PRIORITY, args);
                if value % 7 == 0 && close(&host, &guest, port).is_ok() {
                    let _ = bind_ipi(&host, &guest, 0);
                }
            }
            host.finish(|| event::close_all(&host.cpu, &guest));
            Ok(())
        })
        .unwrap();
}

#[test]
fn events_pending_before_fifo_are_there_afterwards() {
    let host = host();
    let guest = host.domain(1, 1, 16);
    let port = bind_ipi(&host, &guest, 0).unwrap();
    send(&host, &guest, port).unwrap();
    let side = go_fifo(&host, &guest);
    assert!(side.take(&host, &guest).is_empty(), "it is masked");
    unmask(&host, &guest, port).unwrap();
    assert_eq!(side.take(&host, &guest), [port]);
    // Between the control block and the words, events wait.
    let late = host.domain(2, 1, 16);
    let port = bind_ipi(&host, &late, 0).unwrap();
    let control = host.ram(&late);
    let args = abi::InitControl {
        control_gfn: control.0,
        ..Default::default()
    };
    call(&host, &late, abi::EVTCHNOP_INIT_CONTROL, args).unwrap();
    send(&host, &late, port).unwrap();
    let words = host.ram(&late);
    call(
        &host,
        &late,
        abi::EVTCHNOP_EXPAND_ARRAY,
        abi::ExpandArray { array_gfn: words.0 },
    )
    .unwrap();
    assert_eq!(Side::Fifo { words, control }.take(&host, &late), [port]);
}

#[test]
fn fifo_queues_keep_order_and_priority() {
    let host = host();
    let guest = host.domain(1, 1, 16);
    let side = go_fifo(&host, &guest);
    let ports: Vec<_> = (0..4)
        .map(|_| bind_ipi(&host, &guest, 0).unwrap())
        .collect();
    for port in &ports {
        unmask(&host, &guest, *port).unwrap();
    }
    let urgent = abi::SetPriority {
        port: ports[3],
        priority: 0,
    };
    call(&host, &guest, abi::EVTCHNOP_SET_PRIORITY, urgent).unwrap();
    for port in [ports[2], ports[0], ports[3], ports[1]] {
        send(&host, &guest, port).unwrap();
    }
    assert_eq!(
        side.take(&host, &guest),
        [ports[3], ports[2], ports[0], ports[1]]
    );
    // The same again: each was the tail of its queue or in the middle of it.
    for port in [ports[1], ports[3], ports[1], ports[0]] {
        send(&host, &guest, port).unwrap();
    }
    assert_eq!(side.take(&host, &guest), [ports[3], ports[1], ports[0]]);
    // A tail that moves to another queue is not continued on the old one.
    send(&host, &guest, ports[0]).unwrap();
    assert_eq!(side.take(&host, &guest), [ports[0]]);
    let moved = abi::SetPriority {
        port: ports[0],
        priority: 9,
    };
    call(&host, &guest, abi::EVTCHNOP_SET_PRIORITY, moved).unwrap();
    send(&host, &guest, ports[0]).unwrap();
    send(&host, &guest, ports[2]).unwrap();
    assert_eq!(side.take(&host, &guest), [ports[2], ports[0]]);
}

#[test]
fn a_port_still_on_a_queue_is_not_given_to_a_new_user() {
    let host = host();
    let guest = host.domain(1, 1, 16);
    let side = go_fifo(&host, &guest);
    let port = bind_ipi(&host, &guest, 0).unwrap();
    unmask(&host, &guest, port).unwrap();
    send(&host, &guest, port).unwrap();
    close(&host, &guest, port).unwrap();
    let other = bind_ipi(&host, &guest, 0).unwrap();
    assert_ne!(other, port);
    assert!(
        side.take(&host, &guest).is_empty(),
        "closing takes the event back"
    );
    assert_eq!(bind_ipi(&host, &guest, 0), Ok(port));
}

#[test]
fn setting_fifo_up_checks_its_arguments() {
    let host = host();
    let guest = host.domain(1, 2, 16);
    let frame = host.ram(&guest);
    let expand = abi::ExpandArray { array_gfn: frame.0 };
    let init = |vcpu, offset, gfn: u64| {
        let args = abi::InitControl {
            control_gfn: gfn,
            offset,
            vcpu,
            ..Default::default()
        };
        call(&host, &guest, abi::EVTCHNOP_INIT_CONTROL, args).map(|_| ())
    };
    assert_eq!(
        call(&host, &guest, abi::EVTCHNOP_EXPAND_ARRAY, expand).map(|_| ()),
        Err(Errno::EOPNOTSUPP)
    );
    assert_eq!(init(0, 4, frame.0), Err(Errno::EINVAL));
    assert_eq!(init(0, 4032, frame.0), Err(Errno::EINVAL));
    assert_eq!(init(0, u32::MAX, frame.0), Err(Errno::EINVAL));
    assert_eq!(init(2, 0, frame.0), Err(Errno::ENOENT));
    assert_eq!(init(0, 0, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(init(0, 0, 0), Err(Errno::EINVAL), "nobody's frame");
    assert_eq!(init(0, 4024, frame.0), Ok(()));
    assert_eq!(init(0, 0, frame.0), Err(Errno::EEXIST));
    assert_eq!(init(1, 0, frame.0), Ok(()));
    for _ in 0..128 {
        call(&host, &guest, abi::EVTCHNOP_EXPAND_ARRAY, expand).unwrap();
    }
    assert_eq!(
        call(&host, &guest, abi::EVTCHNOP_EXPAND_ARRAY, expand).map(|_| ()),
        Err(Errno::ENOSPC)
    );
    let port = bind_ipi(&host, &guest, 0).unwrap();
    let priority = |port, priority| {
        call(
            &host,
            &guest,
            abi::EVTCHNOP_SET_PRIORITY,
            abi::SetPriority { port, priority },
        )
        .map(|_| ())
    };
    assert_eq!(priority(port, 15), Ok(()));
    assert_eq!(priority(port, 16), Err(Errno::EINVAL));
    assert_eq!(priority(port + 1, 1), Err(Errno::EINVAL));

    let other = abi::Reset { dom: DOMID_SELF };
    call(&host, &guest, abi::EVTCHNOP_RESET, other).unwrap();
    assert_eq!(host.machine().frame(frame).unwrap().count().count(), 1);
    assert_eq!(guest.events.in_use(), 0);
    assert_eq!(
        call(&host, &guest, abi::EVTCHNOP_EXPAND_ARRAY, expand).map(|_| ()),
        Err(Errno::EOPNOTSUPP)
    );
}
