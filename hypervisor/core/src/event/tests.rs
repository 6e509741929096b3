//! Event channels against a simple model, and the corners one by one.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::xen::DOMID_SELF;
use proptest::prelude::*;

use crate::domain::Domain;
use crate::error::Stop;
use crate::event::{self, Poll};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::sync::atomic::Ordering;
use crate::testing::{Host, Sim};
use crate::types::{CpuId, DomId, Mfn, Port, VcpuId};

type Guest = Arc<Domain<Sim>>;

/// A hypercall by vCPU 0 of a domain; the arguments as they come back.
fn call<T: Copy + zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable>(
    host: &Host,
    guest: &Guest,
    cmd: u32,
    args: T,
) -> Result<T, Errno> {
    let vcpu = guest.vcpu(VcpuId(0)).unwrap();
    let addr = host.put(0, &args);
    match event::hypercall(&host.cx(&vcpu), u64::from(cmd), addr) {
        Ok(0) => Ok(host.get(addr)),
        Err(Stop::Errno(errno)) => Err(errno),
        other => panic!("{other:?}"),
    }
}

fn alloc(host: &Host, guest: &Guest, remote: u16) -> Result<u32, Errno> {
    let args = abi::AllocUnbound {
        dom: DOMID_SELF,
        remote_dom: remote,
        port: 0,
    };
    call(host, guest, abi::EVTCHNOP_ALLOC_UNBOUND, args).map(|args| args.port)
}

fn bind(host: &Host, guest: &Guest, remote_dom: u16, remote_port: u32) -> Result<u32, Errno> {
    let args = abi::BindInterdomain {
        remote_dom,
        remote_port,
        ..Default::default()
    };
    call(host, guest, abi::EVTCHNOP_BIND_INTERDOMAIN, args).map(|args| args.local_port)
}

fn bind_virq(host: &Host, guest: &Guest, virq: u32, vcpu: u32) -> Result<u32, Errno> {
    let args = abi::BindVirq {
        virq,
        vcpu,
        port: 0,
    };
    call(host, guest, abi::EVTCHNOP_BIND_VIRQ, args).map(|args| args.port)
}

fn bind_ipi(host: &Host, guest: &Guest, vcpu: u32) -> Result<u32, Errno> {
    call(
        host,
        guest,
        abi::EVTCHNOP_BIND_IPI,
        abi::BindIpi { vcpu, port: 0 },
    )
    .map(|args| args.port)
}

fn close(host: &Host, guest: &Guest, port: u32) -> Result<(), Errno> {
    call(host, guest, abi::EVTCHNOP_CLOSE, abi::Close { port }).map(|_| ())
}

fn send(host: &Host, guest: &Guest, port: u32) -> Result<(), Errno> {
    call(host, guest, abi::EVTCHNOP_SEND, abi::Send { port }).map(|_| ())
}

fn unmask(host: &Host, guest: &Guest, port: u32) -> Result<(), Errno> {
    call(host, guest, abi::EVTCHNOP_UNMASK, abi::Unmask { port }).map(|_| ())
}

fn status(host: &Host, guest: &Guest, port: u32) -> Result<abi::Status, Errno> {
    let args = abi::Status {
        dom: DOMID_SELF,
        port,
        ..Default::default()
    };
    call(host, guest, abi::EVTCHNOP_STATUS, args)
}

/// The guest's side of whichever ABI it uses.
enum Side {
    TwoLevel,
    Fifo { words: Mfn, control: Mfn },
}

const PENDING: u32 = 1 << 31;
const MASKED: u32 = 1 << 30;
const LINKED: u32 = 1 << 29;
const LINK: u32 = (1 << 17) - 1;

/// Sets FIFO up with one page of words, all masked as Linux does, and vCPU 0's control block.
fn go_fifo(host: &Host, guest: &Guest) -> Side {
    let (words, control) = (host.ram(guest), host.ram(guest));
    for word in host.machine().page32(words).unwrap() {
        word.store(MASKED, Ordering::Release);
    }
    let args = abi::InitControl {
        control_gfn: control.0,
        ..Default::default()
    };
    let args = call(host, guest, abi::EVTCHNOP_INIT_CONTROL, args).unwrap();
    assert_eq!(args.link_bits, 17);
    let args = abi::ExpandArray { array_gfn: words.0 };
    call(host, guest, abi::EVTCHNOP_EXPAND_ARRAY, args).unwrap();
    Side::Fifo { words, control }
}

impl Side {
    /// Takes all events that the guest would see now.
    fn take(&self, host: &Host, guest: &Guest) -> Vec<u32> {
        let vcpu = guest.vcpu(VcpuId(0)).unwrap();
        let info = event::info(host.machine(), &vcpu).unwrap();
        info.words()[0].fetch_and(!0xff, Ordering::AcqRel);
        match self {
            Self::TwoLevel => {
                let page = host
                    .machine()
                    .page(*guest.memory.shared_info.get().unwrap())
                    .unwrap();
                let mut selector = info.words()[1].swap(0, Ordering::AcqRel);
                let mut taken = Vec::new();
                while selector != 0 {
                    let index = selector.trailing_zeros() as usize;
                    selector &= selector - 1;
                    let mask = page[320 + index].load(Ordering::Acquire);
                    let found = page[256 + index].fetch_and(mask, Ordering::AcqRel) & !mask;
                    taken.extend(
                        (0..64)
                            .filter(|bit| found & (1 << bit) != 0)
                            .map(|bit| u32::try_from(index).unwrap() * 64 + bit),
                    );
                }
                taken
            }
            Self::Fifo { words, control } => {
                let words = host.machine().page32(*words).unwrap();
                let control = host.machine().page32(*control).unwrap();
                let mut ready = control[0].swap(0, Ordering::AcqRel);
                let mut taken = Vec::new();
                while ready != 0 {
                    let priority = ready.trailing_zeros() as usize;
                    ready &= ready - 1;
                    let mut port = control[2 + priority].load(Ordering::Acquire);
                    while port != 0 {
                        let word = &words[port as usize];
                        let before = word.fetch_and(!(LINKED | LINK), Ordering::AcqRel);
                        if before & PENDING != 0 && before & MASKED == 0 {
                            word.fetch_and(!PENDING, Ordering::AcqRel);
                            taken.push(port);
                        }
                        port = before & LINK;
                    }
                }
                taken
            }
        }
    }

    fn mask(&self, host: &Host, guest: &Guest, port: u32) {
        match self {
            Self::TwoLevel => {
                let page = host
                    .machine()
                    .page(*guest.memory.shared_info.get().unwrap())
                    .unwrap();
                page[320 + port as usize / 64].fetch_or(1 << (port % 64), Ordering::AcqRel);
            }
            Self::Fifo { words, .. } => {
                let words = host.machine().page32(*words).unwrap();
                words[port as usize].fetch_or(MASKED, Ordering::AcqRel);
            }
        }
    }
}

fn woken(host: &Host, guest: &Guest, vcpu: u16) -> bool {
    event::has_pending(host.machine(), &guest.vcpu(VcpuId(vcpu)).unwrap())
}

fn host() -> Host {
    Host::with_frames(256)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Model {
    Unbound(u16),
    Connected(u16, u32),
    Virq(u32),
    Ipi,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Alloc(u16),
    Bind(u16, u32),
    Virq(u32),
    Ipi,
    Close(u32),
    Send(u32),
    Mask(u32),
    Unmask(u32),
    Take,
}

fn op() -> impl Strategy<Value = Op> {
    let port = 0u32..8;
    prop_oneof![
        2 => (0u16..4).prop_map(Op::Alloc),
        4 => (0u16..4, port.clone()).prop_map(|(dom, port)| Op::Bind(dom, port)),
        1 => (0u32..4).prop_map(Op::Virq),
        1 => Just(Op::Ipi),
        3 => port.clone().prop_map(Op::Close),
        6 => port.clone().prop_map(Op::Send),
        2 => port.clone().prop_map(Op::Mask),
        4 => port.prop_map(Op::Unmask),
        3 => Just(Op::Take),
    ]
}

/// A port as the model has it: what it is bound to, whether it is masked and pending.
#[derive(Clone, Copy, Debug)]
struct Entry {
    bound: Model,
    pending: bool,
    masked: bool,
}

struct World {
    host: Host,
    guests: Vec<(Guest, Side)>,
    model: Vec<BTreeMap<u32, Entry>>,
}

impl World {
    fn new(fifo: bool) -> Self {
        let host = host();
        let guests: Vec<_> = (0..3)
            .map(|id| {
                let guest = host.domain(id, 1, 16);
                let side = if fifo {
                    go_fifo(&host, &guest)
                } else {
                    Side::TwoLevel
                };
                (guest, side)
            })
            .collect();
        Self {
            host,
            guests,
            model: (0..3).map(|_| BTreeMap::new()).collect(),
        }
    }

    fn insert(&mut self, dom: usize, port: u32, bound: Model) {
        // FIFO ports start masked here: the guest masks the words once.
        let masked = matches!(self.guests[dom].1, Side::Fifo { .. });
        let (guest, side) = &self.guests[dom];
        if masked {
            side.mask(&self.host, guest, port);
        } else {
            unmask(&self.host, guest, port).unwrap();
        }
        assert!(
            self.model[dom]
                .insert(
                    port,
                    Entry {
                        bound,
                        pending: false,
                        masked
                    }
                )
                .is_none()
        );
    }

    fn set_pending(&mut self, dom: usize, port: u32) {
        if let Some(entry) = self.model[dom].get_mut(&port) {
            entry.pending = true;
        }
    }

    fn step(&mut self, dom: usize, op: Op) -> Result<(), TestCaseError> {
        let guest = Arc::clone(&self.guests[dom].0);
        let host = &self.host;
        match op {
            Op::Alloc(remote) => {
                let port = alloc(host, &guest, remote).unwrap();
                self.insert(dom, port, Model::Unbound(remote));
            }
            Op::Bind(remote, remote_port) => {
                let there = self
                    .model
                    .get(remote as usize)
                    .and_then(|m| m.get(&remote_port));
                let allowed = there.is_some_and(|p| p.bound == Model::Unbound(guest.id.0));
                match bind(host, &guest, remote, remote_port) {
                    Ok(port) => {
                        prop_assert!(allowed);
                        self.insert(dom, port, Model::Connected(remote, remote_port));
                        self.model[remote as usize]
                            .get_mut(&remote_port)
                            .unwrap()
                            .bound = Model::Connected(guest.id.0, port);
                        // The event that makes good for lost ones; a fresh port was unmasked
                        // only after it.
                        self.set_pending(dom, port);
                    }
                    Err(errno) => {
                        prop_assert!(!allowed);
                        let expected = if remote == 3 {
                            Errno::ESRCH
                        } else {
                            Errno::EINVAL
                        };
                        prop_assert_eq!(errno, expected);
                    }
                }
            }
            Op::Virq(virq) => {
                let bound = self.model[dom]
                    .values()
                    .any(|p| p.bound == Model::Virq(virq));
                match bind_virq(host, &guest, virq, 0) {
                    Ok(port) => {
                        prop_assert!(!bound);
                        self.insert(dom, port, Model::Virq(virq));
                    }
                    Err(errno) => prop_assert!(bound && errno == Errno::EEXIST),
                }
            }
            Op::Ipi => {
                let port = bind_ipi(host, &guest, 0).unwrap();
                self.insert(dom, port, Model::Ipi);
            }
            Op::Close(port) => match self.model[dom].remove(&port) {
                None => prop_assert_eq!(close(host, &guest, port), Err(Errno::EINVAL)),
                Some(entry) => {
                    prop_assert_eq!(close(host, &guest, port), Ok(()));
                    if let Model::Connected(peer, peer_port) = entry.bound {
                        if let Some(there) = self.model[peer as usize].get_mut(&peer_port) {
                            there.bound = Model::Unbound(guest.id.0);
                        }
                    }
                }
            },
            Op::Send(port) => {
                let bound = self.model[dom].get(&port).map(|p| p.bound);
                let outcome = send(host, &guest, port);
                match bound {
                    Some(Model::Connected(peer, peer_port)) => {
                        prop_assert_eq!(outcome, Ok(()));
                        self.set_pending(peer as usize, peer_port);
                    }
                    Some(Model::Ipi) => {
                        prop_assert_eq!(outcome, Ok(()));
                        self.set_pending(dom, port);
                    }
                    Some(Model::Unbound(_)) => prop_assert_eq!(outcome, Ok(())),
                    Some(Model::Virq(_)) | None => prop_assert_eq!(outcome, Err(Errno::EINVAL)),
                }
            }
            Op::Mask(port) => {
                if let Some(entry) = self.model[dom].get_mut(&port) {
                    entry.masked = true;
                    self.guests[dom].1.mask(host, &guest, port);
                }
            }
            Op::Unmask(port) => {
                let known = self.model[dom].get_mut(&port);
                let expected = if known.is_some() {
                    Ok(())
                } else {
                    Err(Errno::EINVAL)
                };
                prop_assert_eq!(unmask(host, &guest, port), expected);
                if let Some(entry) = known {
                    entry.masked = false;
                }
            }
            Op::Take => {
                let mut taken = self.guests[dom].1.take(host, &guest);
                taken.sort_unstable();
                let mut expected = Vec::new();
                for (port, entry) in &mut self.model[dom] {
                    if entry.pending && !entry.masked {
                        entry.pending = false;
                        expected.push(*port);
                    }
                }
                prop_assert_eq!(taken, expected);
            }
        }
        Ok(())
    }

    /// Every port is what the model says, seen through the guest's own question.
    fn check(&self) -> Result<(), TestCaseError> {
        for ((guest, _), model) in self.guests.iter().zip(&self.model) {
            prop_assert_eq!(guest.events.in_use() as usize, model.len());
            for (port, entry) in model {
                let status = status(&self.host, guest, *port).unwrap();
                let expected = match entry.bound {
                    Model::Unbound(remote) => (abi::EVTCHNSTAT_UNBOUND, [u32::from(remote), 0]),
                    Model::Connected(peer, port) => {
                        let back = self.model[peer as usize].get(&port).map(|p| p.bound);
                        prop_assert!(matches!(back, Some(Model::Connected(..))));
                        (abi::EVTCHNSTAT_INTERDOMAIN, [u32::from(peer), port])
                    }
                    Model::Virq(virq) => (abi::EVTCHNSTAT_VIRQ, [virq, 0]),
                    Model::Ipi => (abi::EVTCHNSTAT_IPI, [0, 0]),
                };
                prop_assert_eq!((status.status, status.u), expected);
            }
        }
        Ok(())
    }

    /// All domains die: nothing refers to them any more, and their memory is all given back.
    fn end(self) -> Result<(), TestCaseError> {
        for (guest, side) in &self.guests {
            prop_assert!(event::close_all(&self.host.cpu, guest));
            prop_assert_eq!(guest.events.in_use(), 0);
            if let Side::Fifo { words, control } = side {
                for mfn in [*words, *control] {
                    let frame = self.host.machine().frame(mfn).unwrap();
                    prop_assert_eq!(frame.count().count(), 1);
                    prop_assert_eq!(frame.types().count(), 0);
                }
            }
        }
        for (guest, _) in &self.guests {
            // The table, the test's own, one for each vCPU; dom0 is known to the hypervisor too.
            let own = 3 + usize::from(guest.id == DomId(0));
            prop_assert!(Arc::strong_count(guest) <= own);
        }
        Ok(())
    }
}

fn run(fifo: bool, ops: Vec<(usize, Op)>) -> Result<(), TestCaseError> {
    let mut world = World::new(fifo);
    for (dom, op) in ops {
        world.step(dom, op)?;
        world.check()?;
    }
    *world.host.cpu.current.borrow_mut() = Arc::clone(&world.host.cpu.idle);
    world.end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn two_level_behaves_like_the_model(ops in prop::collection::vec((0usize..3, op()), 0..60)) {
        run(false, ops)?;
    }

    #[test]
    fn fifo_behaves_like_the_model(ops in prop::collection::vec((0usize..3, op()), 0..60)) {
        run(true, ops)?;
    }
}

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
            prop_assert!(event::close_all(&host.cpu, &guest));
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
    let polling = || vcpu.events.polled.load(Ordering::Acquire) != 0;

    assert_eq!(
        event::begin_poll(&host.cx(&vcpu), ports(&[one]), 1),
        Ok(Poll::Wait)
    );
    send(&host, &guest, two).unwrap();
    assert!(polling(), "another port does not end it");
    send(&host, &guest, one).unwrap();
    assert!(!polling(), "the polled one does, though masked");
    assert!(!woken(&host, &guest, 0));
    assert_eq!(
        event::begin_poll(&host.cx(&vcpu), ports(&[one]), 1),
        Ok(Poll::Ready)
    );

    close(&host, &guest, one).unwrap();
    close(&host, &guest, two).unwrap();
    let three = bind_ipi(&host, &guest, 0).unwrap();
    Side::TwoLevel.mask(&host, &guest, three);
    assert_eq!(
        event::begin_poll(&host.cx(&vcpu), ports(&[]), 0),
        Ok(Poll::Wait)
    );
    send(&host, &guest, three).unwrap();
    assert!(!polling(), "any port ends it");
    assert_eq!(
        event::begin_poll(&host.cx(&vcpu), ports(&[]), 0),
        Ok(Poll::Wait)
    );
    event::end_poll(&vcpu);
    assert!(!polling());
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
    assert!(event::close_all(&host.cpu, &guest));
    assert_eq!(host.machine().frame(frame).unwrap().types().count(), 0);
    assert_eq!(host.machine().frame(frame).unwrap().count().count(), 1);
}

#[test]
fn a_dying_domain_gets_no_events_and_its_peer_may_bind_anew() {
    let host = host();
    let (one, two) = (host.domain(1, 1, 16), host.domain(2, 1, 16));
    let unbound = alloc(&host, &one, 2).unwrap();
    let port = bind(&host, &two, 1, unbound).unwrap();
    assert!(event::close_all(&host.cpu, &two));
    assert_eq!(
        status(&host, &one, unbound).unwrap().status,
        abi::EVTCHNSTAT_UNBOUND
    );
    assert_eq!(send(&host, &one, unbound), Ok(()));
    event::notify(host.hv, &two, Port(port), CpuId(0));
    assert_eq!(alloc(&host, &two, 1), Err(Errno::ESRCH));
    assert_eq!(bind(&host, &two, 1, unbound), Err(Errno::ESRCH));
}
