//! Where a domain's events go: its shared page, its vCPUs and their `vcpu_info`s, looked up once
//! instead of with each event.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::event::info::{InfoWords, info};
use crate::machine::Machine;
use crate::sync::atomic::AtomicU64;
use crate::types::{Mfn, VcpuId};
use crate::vcpu::Vcpu;

/// A page's words.
pub(super) type Words = [AtomicU64; 512];

/// What a domain's event lock guards beside its ports. It is given up before the shared page is.
pub(super) struct Targets<M: Machine> {
    shared: Option<&'static Words>,
    vcpus: Vec<Target<M>>,
}

struct Target<M: Machine> {
    vcpu: Arc<Vcpu<M>>,
    info: Option<InfoWords>,
}

impl<M: Machine> Default for Targets<M> {
    fn default() -> Self {
        Self {
            shared: None,
            vcpus: Vec::new(),
        }
    }
}

impl<M: Machine> Targets<M> {
    /// The shared page of a domain and its vCPUs, in order of number.
    pub(super) fn new(machine: &M, shared: Option<Mfn>, vcpus: &[Arc<Vcpu<M>>]) -> Self {
        let target = |vcpu: &Arc<Vcpu<M>>| Target {
            vcpu: Arc::clone(vcpu),
            info: info(machine, vcpu),
        };
        Self {
            shared: shared.and_then(|mfn| machine.page(mfn)),
            vcpus: vcpus.iter().map(target).collect(),
        }
    }

    /// The words of the shared page; `None` once the domain is dead.
    pub(super) fn shared(&self) -> Option<&'static Words> {
        self.shared
    }

    /// A vCPU.
    pub(super) fn vcpu(&self, id: VcpuId) -> Option<&Arc<Vcpu<M>>> {
        self.vcpus.get(id.index()).map(|target| &target.vcpu)
    }

    /// A vCPU's `vcpu_info`, if it has one.
    pub(super) fn info(&self, id: VcpuId) -> Option<InfoWords> {
        self.vcpus.get(id.index())?.info
    }

    /// A vCPU's `vcpu_info` has moved.
    pub(super) fn moved(&mut self, machine: &M, vcpu: &Vcpu<M>) {
        if let Some(target) = self.vcpus.get_mut(vcpu.id.index()) {
            target.info = info(machine, vcpu);
        }
    }
}
