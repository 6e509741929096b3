//! Frames on their way from one domain to another.

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::frame::{CountWord, PageType, TypeWord};
use crate::mm::{put_page, shadow, take_allocation, tlb, unreserve};
use crate::percpu::PerCpu;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, Mfn};

/// A frame that is nobody's, with its contents. Dropped, it is freed.
#[must_use]
pub(crate) struct Loose<M: Machine> {
    hv: &'static Hypervisor<M>,
    mfn: Mfn,
}

/// Takes a frame out of a domain's memory. `None` unless the domain owns it and nothing else
/// refers to it: no mapping, no pin, no use of a grant.
pub(crate) fn take<M: Machine>(
    hv: &'static Hypervisor<M>,
    domain: &Domain<M>,
    mfn: Mfn,
) -> Option<Loose<M>> {
    let frame = hv.machine.frame(mfn)?;
    let owned = CountWord::new(domain.id, CountWord::ALLOCATED, 1);
    // Hypervisor's frames are for nobody to refer to.
    let kept = CountWord::new(DomId::XEN, CountWord::HYPERVISOR, 1);
    if frame.exchange_count(owned, kept).is_err() {
        let written = CountWord(owned.0 | CountWord::WRITTEN);
        frame.exchange_count(written, kept).ok()?;
    }
    domain.memory.owned.lock().remove(mfn);
    domain.memory.total.fetch_sub(1, Ordering::AcqRel);
    // Without general references there are none to a type.
    frame.set_types(TypeWord::unused(PageType::None, tlb::clock()));
    hv.machine.set_m2p(mfn, u64::MAX);
    Some(Loose { hv, mfn })
}

impl<M: Machine> Loose<M> {
    /// Its number.
    pub(crate) const fn mfn(&self) -> Mfn {
        self.mfn
    }
}

impl<M: Machine> Drop for Loose<M> {
    fn drop(&mut self) {
        if let Some(frame) = self.hv.machine.frame(self.mfn) {
            frame.set_count(CountWord(CountWord::DIRTY));
            self.hv.heap.free(&self.hv.machine, self.mfn, 0);
        }
    }
}

/// Room for one more frame within a domain's limit, given back unless it is filled.
#[must_use]
pub(crate) struct Room<'a, M: Machine> {
    domain: &'a Domain<M>,
}

impl<'a, M: Machine> Room<'a, M> {
    /// `None` if the domain may have no more, or dies.
    pub(crate) fn reserve(domain: &'a Domain<M>) -> Option<Self> {
        (!domain.is_dying() && super::reserve(&domain.memory, 1)).then(|| Self { domain })
    }

    /// Room beyond the limit, for a frame that was the domain's own a moment ago.
    pub(crate) fn restore(domain: &'a Domain<M>) -> Self {
        domain.memory.total.fetch_add(1, Ordering::AcqRel);
        Self { domain }
    }

    /// Gives the frame to the domain. `None` if it began to die meanwhile, or if there is no memory to note that it is
    /// the domain's (never so for a frame that was): the frame is gone then.
    pub(crate) fn fill(self, cpu: &PerCpu<M>, loose: Loose<M>) -> Option<()> {
        let (hv, mfn) = (loose.hv, loose.mfn);
        let frame = hv.machine.frame(mfn)?;
        tlb::needed(cpu, hv.machine.cpus(), tlb::stamped(frame.types().stamp())).carry_out(cpu);
        frame.set_types(TypeWord::unused(PageType::None, tlb::clock()));
        // Counted before it has an owner, so that whoever sees the owner finds it.
        if !self.domain.memory.owned.lock().add(mfn, 1) {
            return None;
        }
        frame.give_to(self.domain.id);
        shadow::log::mark(hv, self.domain, mfn);
        core::mem::forget(loose);
        let domain = self.domain;
        core::mem::forget(self);
        if domain.is_dying() {
            // Its memory may have been searched for frames already.
            if take_allocation(hv, mfn) {
                put_page(hv, mfn);
            }
            return None;
        }
        Some(())
    }
}

impl<M: Machine> Drop for Room<'_, M> {
    fn drop(&mut self) {
        unreserve(&self.domain.memory, 1);
    }
}
