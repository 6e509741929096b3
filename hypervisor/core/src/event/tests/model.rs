//! Any sequence of requests by three domains, against a model that knows nothing of memory.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;
use proptest::prelude::*;

use super::guest::*;
use crate::event;
use crate::machine::Machine;
use crate::testing::Host;
use crate::types::DomId;

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
                    if let Model::Connected(peer, peer_port) = entry.bound
                        && let Some(there) = self.model[peer as usize].get_mut(&peer_port)
                    {
                        there.bound = Model::Unbound(guest.id.0);
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
            self.host.finish(|| event::close_all(&self.host.cpu, guest));
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
