//! What ports are, without memory, locks or order of work: the model that the real ones are
//! compared with.

use alloc::collections::{BTreeMap, BTreeSet};

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;

use super::{Op, Outcome};

/// Ports that are looked at: more than a domain ever has here.
pub(super) const PORTS: u32 = 40;
/// The number of domains.
pub(super) const DOMAINS: u16 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    Unbound(u16),
    Connected(u16, u32),
    Virq(u32),
    Ipi,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) bound: Bound,
    pub(super) vcpu: u32,
    pending: bool,
}

/// How far a domain's life is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Alive,
    Dying,
    Dead,
}

/// A domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Dom {
    pub(super) ports: BTreeMap<u32, Entry>,
    pub(super) life: Life,
    /// vCPUs with a control block; none = the 2-level ABI.
    pub(super) controls: BTreeSet<u32>,
    /// The page of words is there.
    pub(super) words: bool,
    /// Which ports the guest has masked: in the 2-level ABI, with FIFO.
    masked: [BTreeSet<u32>; 2],
    /// Ports whose words are on a queue.
    linked: BTreeSet<u32>,
}

/// What can be seen of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    /// Status, what it is bound to, vCPU.
    pub(super) ports: BTreeMap<u32, (u32, [u32; 2], u32)>,
    pub(super) in_use: usize,
    /// `None` where the guest has no place for it, or when the domain dies.
    pub(super) pending: Option<BTreeSet<u32>>,
    /// What the guest has masked in the 2-level ABI and in its words, and what is on its queues.
    pub(super) masked: [BTreeSet<u32>; 2],
    pub(super) linked: BTreeSet<u32>,
    /// References beside the owner's, and of the type, on the frame of words and on that of
    /// control blocks.
    pub(super) held: [(u64, u64); 2],
}

impl Dom {
    fn new() -> Self {
        Self {
            ports: BTreeMap::new(),
            life: Life::Alive,
            controls: BTreeSet::new(),
            words: false,
            masked: Default::default(),
            linked: BTreeSet::new(),
        }
    }

    pub(super) fn is_fifo(&self) -> bool {
        !self.controls.is_empty()
    }

    fn masks(&mut self) -> Option<&mut BTreeSet<u32>> {
        match (self.is_fifo(), self.words) {
            (false, _) => Some(&mut self.masked[0]),
            (true, true) => Some(&mut self.masked[1]),
            (true, false) => None,
        }
    }

    fn link(&mut self, port: u32) {
        let ready = self.ports.get(&port).is_some_and(|entry| entry.pending);
        let masked = self.masks().is_none_or(|masks| masks.contains(&port));
        if ready && !masked && self.is_fifo() {
            self.linked.insert(port);
        }
    }

    fn raise(&mut self, port: u32) {
        if self.life != Life::Alive {
            return;
        }
        if let Some(entry) = self.ports.get_mut(&port) {
            entry.pending = true;
            self.link(port);
        }
    }

    fn open(&mut self, port: u32, bound: Bound) -> bool {
        let vcpu = 0;
        let pending = false;
        let entry = Entry {
            bound,
            vcpu,
            pending,
        };
        port != 0 && !self.linked.contains(&port) && self.ports.insert(port, entry).is_none()
    }

    /// What the guest takes off its pending bits or its queues.
    fn take(&mut self) -> BTreeSet<u32> {
        let masks = self.masks().cloned();
        let mut taken = BTreeSet::new();
        for (port, entry) in &mut self.ports {
            let open = masks.as_ref().is_some_and(|masks| !masks.contains(port));
            if open && core::mem::take(&mut entry.pending) {
                taken.insert(*port);
            }
        }
        self.linked.clear();
        taken
    }

    fn go_two_level(&mut self) {
        self.controls.clear();
        self.words = false;
        self.linked.clear();
    }

    pub(super) fn seen(&self) -> Seen {
        let ports = self.ports.iter().map(|(port, entry)| {
            let what = match entry.bound {
                Bound::Unbound(remote) => (abi::EVTCHNSTAT_UNBOUND, [u32::from(remote), 0]),
                Bound::Connected(peer, port) => {
                    (abi::EVTCHNSTAT_INTERDOMAIN, [u32::from(peer), port])
                }
                Bound::Virq(virq) => (abi::EVTCHNSTAT_VIRQ, [virq, 0]),
                Bound::Ipi => (abi::EVTCHNSTAT_IPI, [0, 0]),
            };
            (*port, (what.0, what.1, entry.vcpu))
        });
        let pending = self.ports.iter().filter(|(_, entry)| entry.pending);
        let known = self.life == Life::Alive && (!self.is_fifo() || self.words);
        let blocks = self.controls.len() as u64;
        let words = u64::from(self.words);
        Seen {
            ports: ports.collect(),
            in_use: self.ports.len(),
            pending: known.then(|| pending.map(|(port, _)| *port).collect()),
            masked: if self.words {
                self.masked.clone()
            } else {
                [self.masked[0].clone(), BTreeSet::new()]
            },
            linked: self.linked.clone(),
            held: [(words, words), (blocks, blocks)],
        }
    }
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Model(pub(super) [Dom; DOMAINS as usize]);

impl Model {
    pub(super) fn new() -> Self {
        Self(core::array::from_fn(|_| Dom::new()))
    }

    pub(super) fn dom(&mut self, id: u16) -> &mut Dom {
        &mut self.0[usize::from(id)]
    }

    pub(super) fn bound(&self, id: u16, port: u32) -> Option<Bound> {
        let dom = self.0.get(usize::from(id))?;
        dom.ports.get(&port).map(|entry| entry.bound)
    }

    /// Closes a port; the other end waits for this domain again.
    pub(super) fn close(&mut self, id: u16, port: u32) -> bool {
        let Some(entry) = self.dom(id).ports.remove(&port) else {
            return false;
        };
        if let Bound::Connected(peer, there) = entry.bound
            && let Some(end) = self.dom(peer).ports.get_mut(&there)
        {
            end.bound = Bound::Unbound(id);
        }
        true
    }

    /// Does one operation that is not a long one. Whether its outcome is one that it can have.
    pub(super) fn accept(&mut self, id: u16, op: &Op, outcome: &Outcome) -> bool {
        let answer = outcome.answer;
        let done = |possible: bool, errno| answer == if possible { Ok(0) } else { Err(errno) };
        match *op {
            Op::Alloc(remote) => {
                answer.is_ok_and(|port| self.dom(id).open(port, Bound::Unbound(remote)))
            }
            Op::Ipi => answer.is_ok_and(|port| self.dom(id).open(port, Bound::Ipi)),
            Op::Virq(virq) => {
                let bound = self.virq_port(id, virq).is_some();
                match answer {
                    Ok(port) => !bound && self.dom(id).open(port, Bound::Virq(virq)),
                    Err(errno) => bound && errno == Errno::EEXIST,
                }
            }
            Op::Bind(remote, there) => {
                let waits = self.bound(remote, there) == Some(Bound::Unbound(id));
                match answer {
                    Ok(port) if waits => {
                        let free = self.dom(id).open(port, Bound::Connected(remote, there));
                        let end = self.dom(remote).ports.get_mut(&there);
                        end.into_iter()
                            .for_each(|end| end.bound = Bound::Connected(id, port));
                        // It makes good for what was sent before.
                        self.dom(id).raise(port);
                        free
                    }
                    Ok(_) => false,
                    Err(errno) if remote >= DOMAINS => errno == Errno::ESRCH,
                    Err(errno) => !waits && errno == Errno::EINVAL,
                }
            }
            Op::Close(port) => done(self.close(id, port), Errno::EINVAL),
            Op::Send(port) => match self.bound(id, port) {
                Some(Bound::Connected(peer, there)) => {
                    self.dom(peer).raise(there);
                    answer == Ok(0)
                }
                Some(Bound::Ipi) => {
                    self.dom(id).raise(port);
                    answer == Ok(0)
                }
                bound => done(matches!(bound, Some(Bound::Unbound(_))), Errno::EINVAL),
            },
            Op::Raise(virq) => {
                if let Some(port) = self.virq_port(id, virq) {
                    self.dom(id).raise(port);
                }
                true
            }
            Op::Mask(port) => {
                self.dom(id).masks().map(|masks| masks.insert(port));
                true
            }
            Op::Unmask(port) => {
                let known = self.bound(id, port).is_some();
                if known {
                    self.dom(id).masks().map(|masks| masks.remove(&port));
                    self.dom(id).link(port);
                }
                done(known, Errno::EINVAL)
            }
            Op::Take => outcome.taken.iter().copied().eq(self.dom(id).take()),
            Op::Priority(port, _) => match self.bound(id, port) {
                None => answer == Err(Errno::EINVAL),
                Some(_) => done(self.dom(id).is_fifo(), Errno::ENOSYS),
            },
            Op::Move(port, vcpu) => {
                // The first two VIRQs are each vCPU's own.
                let fixed = |entry: &Entry| matches!(entry.bound, Bound::Ipi | Bound::Virq(0..=1));
                let entry = self
                    .dom(id)
                    .ports
                    .get_mut(&port)
                    .filter(|entry| !fixed(entry));
                let movable = entry.map(|entry| entry.vcpu = vcpu).is_some();
                done(movable, Errno::EINVAL)
            }
            Op::Control(vcpu) => done(self.dom(id).controls.insert(vcpu), Errno::EEXIST),
            Op::Expand => {
                let dom = self.dom(id);
                if dom.is_fifo() {
                    dom.words = true;
                    dom.masked[1] = (1..PORTS).collect();
                    dom.linked.clear();
                }
                done(dom.is_fifo(), Errno::EOPNOTSUPP)
            }
            Op::Reset { .. } | Op::Die { .. } => false,
        }
    }

    /// The end of a long operation, all of whose closings are done.
    pub(super) fn accept_end(&mut self, op: &Op, outcome: &Outcome) -> bool {
        let dom = self.dom(op.target().unwrap_or(0));
        match (op, outcome.answer) {
            (Op::Reset { .. }, Ok(_)) => {
                dom.go_two_level();
                dom.ports.is_empty()
            }
            (Op::Reset { .. }, Err(Errno::EAGAIN)) => !dom.ports.is_empty(),
            (Op::Die { .. }, Ok(_)) => {
                dom.go_two_level();
                dom.life = Life::Dead;
                dom.ports.is_empty()
            }
            (_, answer) => answer == Err(Errno::ERESTART),
        }
    }

    fn virq_port(&self, id: u16, virq: u32) -> Option<u32> {
        let ports = &self.0[usize::from(id)].ports;
        let mut ports = ports.iter();
        ports
            .find(|(_, entry)| entry.bound == Bound::Virq(virq))
            .map(|(port, _)| *port)
    }
}
