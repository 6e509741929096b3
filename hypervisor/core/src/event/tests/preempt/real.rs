//! The same operations on the simulated machine.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::event_channel as abi;
use oxen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::model::{DOMAINS, PORTS, Seen};
use super::{Op, Outcome};
use crate::error::Stop;
use crate::event::tests::guest::*;
use crate::event::{self, Abi};
use crate::machine::Machine;
use crate::percpu::{Cx, PerCpu};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::testing::{Host, Sim};
use crate::types::{CpuId, DomId, Mfn, VcpuId};

/// A domain's frames for FIFO.
struct Frames {
    words: Mfn,
    control: Mfn,
}

pub(super) struct Real {
    pub(super) host: Host,
    other: PerCpu<Sim>,
    guests: Vec<Guest>,
    frames: Vec<Frames>,
}

/// The bytes between two vCPUs' control blocks.
const BLOCK: u32 = 128;
/// First words of the pending and the mask bits in the shared page.
const PENDING_BITS: usize = 256;
const MASK_BITS: usize = 320;

impl Real {
    pub(super) fn new() -> Rc<Self> {
        let host = host();
        let guests: Vec<_> = (0..DOMAINS).map(|id| host.domain(id, 2, 16)).collect();
        let frames = guests.iter().map(|guest| Frames {
            words: host.ram(guest),
            control: host.ram(guest),
        });
        let frames = frames.collect();
        Rc::new(Self {
            other: host.other_cpu(),
            host,
            guests,
            frames,
        })
    }

    fn cpu(&self, cpu: CpuId) -> &PerCpu<Sim> {
        if cpu == CpuId(0) {
            &self.host.cpu
        } else {
            &self.other
        }
    }

    /// A hypercall; the arguments as they come back.
    fn call<T: Copy + FromBytes + IntoBytes + Immutable>(
        &self,
        cpu: CpuId,
        dom: u16,
        cmd: u32,
        args: T,
    ) -> Result<T, Errno> {
        let vcpu = self.guests[usize::from(dom)].vcpu(VcpuId(cpu.0)).unwrap();
        let addr = self.host.put(u64::from(cpu.0) * 0x1000, &args);
        let cpu = self.cpu(cpu);
        *cpu.current.borrow_mut() = Arc::clone(&vcpu);
        let cx = Cx {
            hv: self.host.hv,
            cpu,
            vcpu: &vcpu,
        };
        match event::hypercall(&cx, cmd.into(), addr) {
            Ok(0) => Ok(self.host.get(addr)),
            Err(Stop::Errno(errno)) => Err(errno),
            Err(Stop::Restart(again)) => {
                assert_eq!(again, [cmd.into(), addr, 0, 0, 0, 0]);
                Err(Errno::ERESTART)
            }
            other => panic!("{other:?}"),
        }
    }

    /// A vCPU of the domain, on that CPU, does something.
    pub(super) fn run(&self, cpu: CpuId, dom: u16, op: &Op) -> Outcome {
        if cpu == CpuId(0) {
            self.host.stop_after(op.stop());
        } else {
            self.other.entered();
        }
        let guest = &self.guests[usize::from(dom)];
        let frames = &self.frames[usize::from(dom)];
        let answer = match *op {
            Op::Alloc(remote_dom) => {
                let args = abi::AllocUnbound {
                    dom: DOMID_SELF,
                    remote_dom,
                    port: 0,
                };
                let args = self.call(cpu, dom, abi::EVTCHNOP_ALLOC_UNBOUND, args);
                args.map(|args| args.port)
            }
            Op::Bind(remote_dom, remote_port) => {
                let args = abi::BindInterdomain {
                    remote_dom,
                    remote_port,
                    ..Default::default()
                };
                let args = self.call(cpu, dom, abi::EVTCHNOP_BIND_INTERDOMAIN, args);
                args.map(|args| args.local_port)
            }
            Op::Virq(virq) => {
                let (vcpu, port) = (0, 0);
                let args = abi::BindVirq { virq, vcpu, port };
                let args = self.call(cpu, dom, abi::EVTCHNOP_BIND_VIRQ, args);
                args.map(|args| args.port)
            }
            Op::Ipi => {
                let args = abi::BindIpi { vcpu: 0, port: 0 };
                let args = self.call(cpu, dom, abi::EVTCHNOP_BIND_IPI, args);
                args.map(|args| args.port)
            }
            Op::Close(port) => {
                let args = abi::Close { port };
                self.call(cpu, dom, abi::EVTCHNOP_CLOSE, args).map(|_| 0)
            }
            Op::Send(port) => {
                let args = abi::Send { port };
                self.call(cpu, dom, abi::EVTCHNOP_SEND, args).map(|_| 0)
            }
            Op::Raise(virq) => {
                let vcpu = guest.vcpu(VcpuId(0)).unwrap();
                event::send_virq(self.host.hv, &vcpu, virq, cpu);
                Ok(0)
            }
            Op::Mask(port) => {
                self.mask(dom, port);
                Ok(0)
            }
            Op::Unmask(port) => {
                let args = abi::Unmask { port };
                self.call(cpu, dom, abi::EVTCHNOP_UNMASK, args).map(|_| 0)
            }
            Op::Take => {
                return Outcome {
                    answer: Ok(0),
                    taken: self.take(dom),
                };
            }
            Op::Priority(port, priority) => {
                let args = abi::SetPriority { port, priority };
                let args = self.call(cpu, dom, abi::EVTCHNOP_SET_PRIORITY, args);
                args.map(|_| 0)
            }
            Op::Move(port, vcpu) => {
                let args = abi::BindVcpu { port, vcpu };
                let args = self.call(cpu, dom, abi::EVTCHNOP_BIND_VCPU, args);
                args.map(|_| 0)
            }
            Op::Control(vcpu) => self.control(cpu, dom, vcpu),
            Op::Expand => {
                for word in self.page32(frames.words) {
                    word.store(MASKED, Ordering::Release);
                }
                let array_gfn = frames.words.0;
                let args = abi::ExpandArray { array_gfn };
                let args = self.call(cpu, dom, abi::EVTCHNOP_EXPAND_ARRAY, args);
                args.map(|_| 0)
            }
            Op::Reset { target, .. } => {
                if dom != target {
                    let paused = &self.guests[usize::from(target)].controller_paused;
                    paused.store(true, Ordering::Release);
                }
                let args = abi::Reset { dom: target };
                self.call(cpu, dom, abi::EVTCHNOP_RESET, args).map(|_| 0)
            }
            Op::Die { target, .. } => {
                match event::close_all(self.cpu(cpu), &self.guests[usize::from(target)]) {
                    true => Ok(0),
                    false => Err(Errno::ERESTART),
                }
            }
        };
        let taken = BTreeSet::new();
        Outcome { answer, taken }
    }

    /// Gives a vCPU its control block. The bits of the 2-level ABI have no meaning any more, and
    /// the guest clears them for when it goes back.
    fn control(&self, cpu: CpuId, dom: u16, vcpu: u32) -> Result<u32, Errno> {
        let control = self.frames[usize::from(dom)].control;
        if !self.has_control(dom, vcpu) {
            for word in self.block(dom, vcpu) {
                word.store(0, Ordering::Release);
            }
        }
        let args = abi::InitControl {
            control_gfn: control.0,
            offset: vcpu * BLOCK,
            vcpu,
            ..Default::default()
        };
        self.call(cpu, dom, abi::EVTCHNOP_INIT_CONTROL, args)?;
        for word in &self.shared(dom)[PENDING_BITS..MASK_BITS] {
            word.store(0, Ordering::Release);
        }
        Ok(0)
    }

    fn shared(&self, dom: u16) -> &'static [AtomicU64; 512] {
        let mfn = self.guests[usize::from(dom)].memory.shared_info.get();
        self.host.machine().page(*mfn.unwrap()).unwrap()
    }

    fn page32(&self, mfn: Mfn) -> &'static [AtomicU32; 1024] {
        self.host.machine().page32(mfn).unwrap()
    }

    fn block(&self, dom: u16, vcpu: u32) -> &'static [AtomicU32] {
        let first = (vcpu * BLOCK / 4) as usize;
        let page = self.page32(self.frames[usize::from(dom)].control);
        &page[first..first + 18]
    }

    /// References on a frame beside the owner's, and of its type.
    fn held(&self, mfn: Mfn) -> (u64, u64) {
        let frame = self.host.machine().frame(mfn).unwrap();
        (frame.count().count() - 1, frame.types().count().into())
    }

    fn is_fifo(&self, dom: u16) -> bool {
        let state = self.guests[usize::from(dom)].events.lock();
        matches!(state.abi, Abi::Fifo(_))
    }

    fn has_words(&self, dom: u16) -> bool {
        let words = self.frames[usize::from(dom)].words;
        let state = self.guests[usize::from(dom)].events.lock();
        state.frames().any(|mfn| mfn == words)
    }

    fn has_control(&self, dom: u16, vcpu: u32) -> bool {
        let state = self.guests[usize::from(dom)].events.lock();
        let Abi::Fifo(fifo) = &state.abi else {
            return false;
        };
        fifo.has_control(VcpuId(u16::try_from(vcpu).unwrap()))
    }

    fn mask(&self, dom: u16, port: u32) {
        if !self.is_fifo(dom) {
            let word = &self.shared(dom)[MASK_BITS + port as usize / 64];
            word.fetch_or(1 << (port % 64), Ordering::AcqRel);
        } else if self.has_words(dom) {
            let words = self.page32(self.frames[usize::from(dom)].words);
            words[port as usize].fetch_or(MASKED, Ordering::AcqRel);
        }
    }

    /// Takes what both vCPUs are told of.
    fn take(&self, dom: u16) -> BTreeSet<u32> {
        let guest = &self.guests[usize::from(dom)];
        let mut taken = BTreeSet::new();
        for vcpu in guest.each_vcpu() {
            let info = event::info(self.host.machine(), &vcpu).unwrap();
            info.words()[0].fetch_and(!0xff, Ordering::AcqRel);
            if !self.is_fifo(dom) {
                // The ports here are those of one word.
                if info.words()[1].swap(0, Ordering::AcqRel) & 1 != 0 {
                    let shared = self.shared(dom);
                    let mask = shared[MASK_BITS].load(Ordering::Acquire);
                    let found = shared[PENDING_BITS].fetch_and(mask, Ordering::AcqRel) & !mask;
                    taken.extend((0..64).filter(|bit| found & (1 << bit) != 0));
                }
            } else if self.has_words(dom) {
                self.take_queues(dom, vcpu.id.0.into(), &mut taken);
            }
        }
        taken
    }

    fn take_queues(&self, dom: u16, vcpu: u32, taken: &mut BTreeSet<u32>) {
        let words = self.page32(self.frames[usize::from(dom)].words);
        let block = self.block(dom, vcpu);
        let ready = block[0].swap(0, Ordering::AcqRel);
        for priority in (0..16).filter(|bit| ready & (1 << bit) != 0) {
            let mut port = block[2 + priority].load(Ordering::Acquire);
            while port != 0 {
                let word = &words[port as usize];
                let before = word.fetch_and(!(LINKED | LINK), Ordering::AcqRel);
                if before & PENDING != 0 && before & MASKED == 0 {
                    word.fetch_and(!PENDING, Ordering::AcqRel);
                    assert!(taken.insert(port), "queued twice");
                }
                port = before & LINK;
            }
        }
    }

    /// What can be seen of all domains. `dying`: those whose pending bits have no meaning.
    pub(super) fn seen(&self, dying: &[bool]) -> Vec<Seen> {
        (0..DOMAINS)
            .map(|dom| self.seen_of(dom, dying[usize::from(dom)]))
            .collect()
    }

    fn seen_of(&self, dom: u16, dying: bool) -> Seen {
        let (guest, frames) = (
            &self.guests[usize::from(dom)],
            &self.frames[usize::from(dom)],
        );
        let mut ports = BTreeMap::new();
        for port in 1..PORTS {
            // A table that has not grown so far has no closed ports either.
            if let Ok(status) = status(&self.host, guest, port)
                && status.status != abi::EVTCHNSTAT_CLOSED
            {
                ports.insert(port, (status.status, status.u, status.vcpu));
            }
        }
        let bit = |port: &u32| self.shared(dom)[PENDING_BITS].load(Ordering::Acquire) >> port & 1;
        let word = |port: &u32| self.page32(frames.words)[*port as usize].load(Ordering::Acquire);
        let pending = match (self.is_fifo(dom), self.has_words(dom)) {
            _ if dying => None,
            (false, _) => Some((1..PORTS).filter(|port| bit(port) != 0).collect()),
            (true, true) => Some(
                (1..PORTS)
                    .filter(|port| word(port) & PENDING != 0)
                    .collect(),
            ),
            (true, false) => None,
        };
        let mask = |port: &u32| self.shared(dom)[MASK_BITS].load(Ordering::Acquire) >> port & 1;
        let with = |bit: u32| (1..PORTS).filter(move |port| word(port) & bit != 0);
        let words = |bit: u32| -> BTreeSet<u32> {
            if self.has_words(dom) {
                with(bit).collect()
            } else {
                BTreeSet::new()
            }
        };
        let two_level = (1..PORTS).filter(|port| mask(port) != 0).collect();
        let (masked, linked) = ([two_level, words(MASKED)], words(LINKED));
        Seen {
            ports,
            masked,
            linked,
            in_use: guest.events.in_use() as usize,
            pending,
            held: [self.held(frames.words), self.held(frames.control)],
        }
    }

    /// How many others than the table, this and its vCPUs refer to a domain.
    pub(super) fn referred(&self, dom: u16) -> usize {
        let guest = &self.guests[usize::from(dom)];
        let own = 4 + usize::from(guest.id == DomId(0));
        Arc::strong_count(guest) - own
    }

    /// No vCPU runs any more.
    pub(super) fn stop(&self) {
        for cpu in [CpuId(0), CpuId(1)] {
            let cpu = self.cpu(cpu);
            *cpu.current.borrow_mut() = Arc::clone(&cpu.idle);
        }
    }
}
