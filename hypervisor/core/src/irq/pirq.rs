//! A domain's PIRQs: its numbers for the lines that it may bind, and the ports they are bound to.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::event::hold::{hold_writable, let_go};
use crate::hypervisor::Hypervisor;
use crate::irq::line::{Line, Source};
use crate::irq::pci::Function;
use crate::irq::{map, with_gsi};
use crate::machine::{GsiMode, Machine};
use crate::mm::MmError;
use crate::percpu::{Cx, PerCpu};
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, MutexGuard};
use crate::types::{Mfn, Port, VcpuId};

/// PIRQs that a domain may have beside one for each GSI.
const EXTRA_DOM0: u32 = 256;
const EXTRA: u32 = 32;

/// A domain's physical interrupts.
pub struct DomainIrqs<M: Machine> {
    pirqs: Mutex<Pirqs<M>>,
}

impl<M: Machine> Default for DomainIrqs<M> {
    fn default() -> Self {
        Self {
            pirqs: Mutex::new(Pirqs {
                entries: BTreeMap::new(),
                eoi: None,
            }),
        }
    }
}

/// What is under the lock.
pub(super) struct Pirqs<M: Machine> {
    entries: BTreeMap<u32, Option<Pirq<M>>>,
    eoi: Option<EoiMap>,
}

/// A PIRQ that stands for a line.
struct Pirq<M: Machine> {
    kind: Kind,
    line: Arc<Line<M>>,
    port: Option<Port>,
}

/// What a PIRQ stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A GSI.
    Gsi(u32),
    /// A message of a PCI function.
    Message(Function),
}

/// The page in which the guest looks up whether a PIRQ needs an EOI.
#[derive(Clone, Copy, Debug)]
struct EoiMap {
    mfn: Mfn,
    /// An EOI also unmasks the PIRQ's port (`PHYSDEVOP_pirq_eoi_gmfn_v1`).
    unmask: bool,
}

impl<M: Machine> DomainIrqs<M> {
    pub(super) fn lock(&self) -> MutexGuard<'_, Pirqs<M>> {
        self.pirqs.lock()
    }

    /// One more than the highest PIRQ that the domain may have.
    pub(super) fn limit(&self, hv: &Hypervisor<M>, domain: &Domain<M>) -> u32 {
        let extra = if domain.privileged { EXTRA_DOM0 } else { EXTRA };
        hv.machine.gsi_count().saturating_add(extra)
    }
}

impl<M: Machine> Pirqs<M> {
    /// The PIRQ of a GSI.
    pub(super) fn of_gsi(&self, gsi: u32) -> Option<u32> {
        self.entries
            .iter()
            .find(|(_, entry)| {
                entry
                    .as_ref()
                    .is_some_and(|entry| entry.kind == Kind::Gsi(gsi))
            })
            .map(|(pirq, _)| *pirq)
    }

    /// Whether a number is taken.
    pub(super) fn is_taken(&self, pirq: u32) -> bool {
        self.entries.contains_key(&pirq)
    }

    /// A free number among those of GSIs, past the ISA interrupts.
    pub(super) fn free_gsi_number(&self, machine: &M) -> Option<u32> {
        (16..machine.gsi_count()).find(|pirq| !self.is_taken(*pirq))
    }

    /// A free number past those of GSIs, from the top.
    pub(super) fn free_message_number(&self, machine: &M, limit: u32) -> Option<u32> {
        (machine.gsi_count()..limit)
            .rev()
            .find(|pirq| !self.is_taken(*pirq))
    }

    /// Sets a number aside for a line that is yet to be mapped (`PHYSDEVOP_get_free_pirq`).
    pub(super) fn reserve(&mut self, pirq: u32) {
        self.entries.entry(pirq).or_insert(None);
    }

    /// Whether a line could be mapped to this number: `EINVAL` past the limit, `EEXIST` if it
    /// stands for another line.
    pub(super) fn check(&self, pirq: u32, limit: u32) -> Result<(), Errno> {
        if pirq >= limit {
            return Err(Errno::EINVAL);
        }
        match self.entries.get(&pirq) {
            Some(Some(_)) => Err(Errno::EEXIST),
            Some(None) | None => Ok(()),
        }
    }

    /// Maps a line to a number.
    pub(super) fn insert(
        &mut self,
        pirq: u32,
        limit: u32,
        kind: Kind,
        line: Arc<Line<M>>,
    ) -> Result<(), Errno> {
        self.check(pirq, limit)?;
        self.entries.insert(
            pirq,
            Some(Pirq {
                kind,
                line,
                port: None,
            }),
        );
        Ok(())
    }

    /// Takes a number out: `None` if it was free, `Some(None)` if it was only set aside.
    #[allow(clippy::type_complexity, reason = "what an entry has")]
    pub(super) fn remove(&mut self, pirq: u32) -> Option<Option<(Kind, Arc<Line<M>>)>> {
        let entry = self.entries.remove(&pirq)?;
        Some(entry.map(|entry| (entry.kind, entry.line)))
    }

    fn get(&self, pirq: u32) -> Option<&Pirq<M>> {
        self.entries.get(&pirq)?.as_ref()
    }

    fn get_mut(&mut self, pirq: u32) -> Option<&mut Pirq<M>> {
        self.entries.get_mut(&pirq)?.as_mut()
    }

    /// Notes for the guest whether a PIRQ needs an EOI.
    fn note_eoi(&self, machine: &M, pirq: u32, needed: bool) {
        let Some(word) = self
            .eoi
            .and_then(|map| machine.page(map.mfn))
            .and_then(|page| page.get(pirq as usize / 64))
        else {
            return;
        };
        let bit = 1 << (pirq % 64);
        if needed {
            word.fetch_or(bit, Ordering::AcqRel);
        } else {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

/// Binds a PIRQ of the caller's to the port that `allocate` gives.
pub fn bind_pirq<M: Machine>(
    cx: &Cx<'_, M>,
    pirq: u32,
    share: bool,
    allocate: impl FnOnce() -> Result<Port, Errno>,
) -> Result<Port, Errno> {
    let (hv, domain) = (cx.hv, cx.domain());
    let mut pirqs = domain.irqs.lock();
    if pirq >= domain.irqs.limit(hv, domain) {
        return Err(Errno::EINVAL);
    }
    let entry = pirqs.get(pirq).ok_or(Errno::EPERM)?;
    if entry.port.is_some() {
        return Err(Errno::EEXIST);
    }
    let line = Arc::clone(&entry.line);
    let mode = mode_of(hv, &line);
    let cpu = domain
        .vcpu(VcpuId(0))
        .map_or(cx.cpu.id, |vcpu| vcpu.sched.cpu());
    let port = allocate()?;
    if let Err(errno) = line.bind(hv, domain, pirq, port, share, mode, cpu) {
        crate::event::discard(&hv.machine, domain, port);
        return Err(errno);
    }
    if let Some(entry) = pirqs.get_mut(pirq) {
        entry.port = Some(port);
    }
    pirqs.note_eoi(&hv.machine, pirq, line.needs_eoi());
    Ok(port)
}

fn mode_of<M: Machine>(hv: &Hypervisor<M>, line: &Line<M>) -> GsiMode {
    let edge = GsiMode {
        level: false,
        active_low: false,
    };
    match line.source {
        Source::Gsi(gsi) => with_gsi(hv, gsi, |gsi| gsi.mode).unwrap_or(edge),
        Source::Message(_) => edge,
    }
}

/// Frees a PIRQ's port with `free`, which says whether it did, and unbinds the PIRQ.
pub fn unbind_pirq<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    pirq: u32,
    free: impl FnOnce() -> bool,
) -> bool {
    let mut pirqs = domain.irqs.lock();
    if !free() {
        return false;
    }
    let bound = pirqs
        .get_mut(pirq)
        .and_then(|entry| entry.port.take().map(|_| Arc::clone(&entry.line)));
    if let Some(line) = bound {
        line.unbind(cpu.hv, domain, pirq);
        pirqs.note_eoi(&cpu.hv.machine, pirq, false);
    }
    true
}

/// Lets a PIRQ's interrupts come to the CPU on which the vCPU runs that is notified of them.
pub fn follow_vcpu<M: Machine>(cx: &Cx<'_, M>, pirq: u32, vcpu: VcpuId) {
    let Some(vcpu) = cx.domain().vcpu(vcpu) else {
        return;
    };
    let line = cx
        .domain()
        .irqs
        .lock()
        .get(pirq)
        .map(|entry| Arc::clone(&entry.line));
    if let Some(line) = line {
        line.move_to(cx.hv, vcpu.sched.cpu());
    }
}

/// `PHYSDEVOP_eoi`: the guest has handled a PIRQ. `EINVAL` for one that it does not have.
pub(super) fn eoi<M: Machine>(cx: &Cx<'_, M>, pirq: u32) -> Result<(), Errno> {
    let (line, port) = {
        let pirqs = cx.domain().irqs.lock();
        let entry = pirqs.get(pirq).ok_or(Errno::EINVAL)?;
        let unmask = pirqs.eoi.is_some_and(|map| map.unmask);
        (Arc::clone(&entry.line), entry.port.filter(|_| unmask))
    };
    if let Some(port) = port {
        crate::event::unmask_port(cx, port);
    }
    line.eoi(cx.machine(), cx.domain(), pirq);
    Ok(())
}

/// `PHYSDEVOP_irq_status_query`: whether the guest must say EOI, and whether it shares the line.
pub(super) fn status<M: Machine>(cx: &Cx<'_, M>, pirq: u32) -> Result<(bool, bool), Errno> {
    let domain = cx.domain();
    let pirqs = domain.irqs.lock();
    if pirq >= domain.irqs.limit(cx.hv, domain) {
        return Err(Errno::EINVAL);
    }
    let shared = pirqs.get(pirq).is_some_and(|entry| entry.line.is_shared());
    // A guest that does not look the need up must say EOI always.
    Ok((pirqs.eoi.is_none(), shared))
}

/// `PHYSDEVOP_pirq_eoi_gmfn_*`: the page where the guest looks up which PIRQs need an EOI. Once.
pub(super) fn set_eoi_map<M: Machine>(
    cx: &Cx<'_, M>,
    gmfn: u64,
    unmask: bool,
) -> Result<(), MmError> {
    let (domain, mfn) = (cx.domain(), Mfn(gmfn));
    if domain.irqs.lock().eoi.is_some() {
        return Err(Errno::EBUSY.into());
    }
    hold_writable(cx.cpu, domain, mfn)?;
    let mut pirqs = domain.irqs.lock();
    if pirqs.eoi.is_some() {
        drop(pirqs);
        let_go(cx.cpu, mfn);
        return Err(Errno::EBUSY.into());
    }
    pirqs.eoi = Some(EoiMap { mfn, unmask });
    for (pirq, entry) in &pirqs.entries {
        let level = entry
            .as_ref()
            .is_some_and(|e| e.port.is_some() && e.line.needs_eoi());
        pirqs.note_eoi(cx.machine(), *pirq, level);
    }
    Ok(())
}

/// Takes everything from a dying domain. Returns `false` when it stopped because something is
/// pending; call it again then.
pub fn release_all<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>) -> bool {
    loop {
        let next = domain.irqs.lock().entries.keys().next().copied();
        let Some(pirq) = next else { break };
        let _ = map::unmap(cpu.hv, domain, pirq);
        if cpu.preempt_needed() {
            return false;
        }
    }
    let eoi = domain.irqs.lock().eoi.take();
    if let Some(map) = eoi {
        let_go(cpu, map.mfn);
    }
    true
}
