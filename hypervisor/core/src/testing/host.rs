//! A hypervisor on the simulated machine.

use alloc::boxed::Box;
use alloc::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::domain::{Domain, Limits};
use crate::hypervisor::{HostInfo, Hypervisor};
use crate::machine::Machine;
use crate::mm::heap::Heap;
use crate::mm::{Purpose, alloc_frames};
use crate::options::Options;
use crate::percpu::{Cx, PerCpu, TURN};
use crate::sync::atomic::Ordering;
use crate::testing::{GUEST_BASE, Sim};
use crate::types::{CpuId, DomId, Mfn, VcpuId};
use crate::vcpu::Vcpu;

/// A hypervisor with CPU 0 at hand. It is leaked, as the real one lives for ever.
pub(crate) struct Host {
    /// The hypervisor.
    pub(crate) hv: &'static Hypervisor<Sim>,
    /// CPU 0.
    pub(crate) cpu: PerCpu<Sim>,
}

impl Host {
    /// Two CPUs and 8 MiB.
    pub(crate) fn new() -> Self {
        Self::with_frames(2048)
    }

    /// Two CPUs and `frames` frames of RAM, of which frame 0 is not used.
    pub(crate) fn with_frames(frames: u64) -> Self {
        Self::with(HostInfo {
            total_frames: frames,
            ..HostInfo::default()
        })
    }

    /// Two CPUs, and what `info` says of them and of the memory.
    pub(crate) fn with(info: HostInfo) -> Self {
        let frames = info.total_frames;
        let machine = Sim::new(frames);
        let heap = Heap::default();
        heap.add(&machine, Mfn(1), Mfn(frames));
        let hv: &'static Hypervisor<Sim> = Box::leak(Box::new(Hypervisor::new(
            machine,
            Options::default(),
            info,
            heap,
            2,
        )));
        let idle_domain = Arc::new(Domain::new(DomId::IDLE, false, &Limits::default()));
        hv.idle_domain.call_once(|| Arc::clone(&idle_domain));
        let idle = Arc::new(Vcpu::new(&hv.machine, VcpuId(0), idle_domain));
        let cpu = PerCpu::new(hv, CpuId(0), idle);
        Self { hv, cpu }
    }

    /// CPU 1, for what happens there meanwhile.
    pub(crate) fn other_cpu(&self) -> PerCpu<Sim> {
        PerCpu::new(self.hv, CpuId(1), Arc::clone(&self.cpu.idle))
    }

    /// The machine.
    pub(crate) fn machine(&self) -> &'static Sim {
        &self.hv.machine
    }

    /// Adds a domain with a shared-information page, room for `frames` frames of memory, and
    /// vCPUs that are neither down nor paused. Domain 0 is privileged.
    pub(crate) fn domain(&self, id: u16, vcpus: u16, frames: u64) -> Arc<Domain<Sim>> {
        let limits = Limits {
            max_event_port: u32::MAX,
            ..Limits::default()
        };
        let domain = Arc::new(Domain::new(DomId(id), id == 0, &limits));
        domain.memory.max.store(frames, Ordering::Release);
        let shared = alloc_frames(&self.cpu, &domain, 0, 64, Purpose::Shared).expect("a frame");
        domain.memory.shared_info.call_once(|| shared);
        for number in 0..vcpus {
            let vcpu = Arc::new(Vcpu::new(
                self.machine(),
                VcpuId(number),
                Arc::clone(&domain),
            ));
            vcpu.paused.store(0, Ordering::Release);
            vcpu.initialised.store(true, Ordering::Release);
            domain.vcpus.write().push(vcpu);
        }
        domain
            .events
            .attach(self.machine(), Some(shared), &domain.vcpus.read());
        domain.pause_count.store(0, Ordering::Release);
        domain.controller_paused.store(false, Ordering::Release);
        assert!(
            self.hv.domains.insert(Arc::clone(&domain)).is_ok(),
            "domain {id} exists"
        );
        if id == 0 {
            self.hv.dom0.call_once(|| Arc::clone(&domain));
        }
        domain
    }

    /// A frame of a domain's own memory, zeroed.
    pub(crate) fn ram(&self, domain: &Domain<Sim>) -> Mfn {
        alloc_frames(&self.cpu, domain, 0, 64, Purpose::Ram).expect("a frame within the limit")
    }

    /// The context of a request by a vCPU of the domain, running on CPU 0.
    pub(crate) fn cx<'a>(&'a self, vcpu: &'a Arc<Vcpu<Sim>>) -> Cx<'a, Sim> {
        *self.cpu.current.borrow_mut() = Arc::clone(vcpu);
        Cx {
            hv: self.hv,
            cpu: &self.cpu,
            vcpu,
        }
    }

    /// Puts a value into the guest's memory and returns its address.
    pub(crate) fn put<T: IntoBytes + Immutable + ?Sized>(&self, offset: u64, value: &T) -> u64 {
        let addr = GUEST_BASE + offset;
        self.machine()
            .copy_to_guest(addr, value.as_bytes())
            .expect("within the guest's memory");
        addr
    }

    /// Reads a value out of the guest's memory.
    pub(crate) fn get<T: FromBytes + IntoBytes>(&self, addr: u64) -> T {
        let mut value = T::new_zeroed();
        self.machine()
            .copy_from_guest(addr, value.as_mut_bytes())
            .expect("within the memory");
        value
    }

    /// The next request's turn is over when it has looked `looks` times whether it is, 0 = never.
    pub(crate) fn turn_of(&self, looks: u64) {
        self.cpu.entered();
        let machine = self.machine();
        // A turn is counted from the first look, at a moment that is not 0.
        machine.time.fetch_max(1, Ordering::AcqRel);
        let step = if looks == 0 { 0 } else { TURN.div_ceil(looks) };
        machine.step.store(step, Ordering::Release);
    }

    /// The next request stops when it has looked more than `looks` times whether it is to; never
    /// if `None`.
    pub(crate) fn stop_after(&self, looks: Option<u64>) {
        let pending = self.cpu.shared();
        pending.pending.store(0, Ordering::Release);
        match looks {
            None => self.turn_of(0),
            Some(0) => {
                self.turn_of(0);
                let timer = crate::percpu::Pending::TIMER.bits();
                pending.pending.store(timer, Ordering::Release);
            }
            Some(looks) => self.turn_of(looks),
        }
    }

    /// Runs something that stops when work is pending until it is done.
    pub(crate) fn finish(&self, step: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if step() {
                return;
            }
            self.cpu.shared().pending.store(0, Ordering::Release);
        }
        panic!("it does not end");
    }
}
