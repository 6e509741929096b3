//! The log of the frames that a domain, or the hypervisor on its behalf, has written to.
//!
//! A frame is noted in its own entry of the frame table, so that a guest that puts its frames at far-flung
//! pseudo-physical numbers makes the log no larger.

use core::cell::Cell;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::PerCpu;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::types::{DomId, Mfn};

/// Counts of a round, for the tools.
#[derive(Debug, Default)]
pub struct Log {
    /// Faults that noted a frame.
    faults: AtomicU32,
    /// Frames noted.
    dirty: AtomicU32,
}

impl Log {
    /// Faults and dirty frames since the last [`Log::reset`].
    pub fn counts(&self) -> (u32, u32) {
        (
            self.faults.load(Ordering::Relaxed),
            self.dirty.load(Ordering::Relaxed),
        )
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        self.faults.store(0, Ordering::Relaxed);
        self.dirty.store(0, Ordering::Relaxed);
    }
}

/// A frame was written to, if it is one of the domain's memory. To be called after the write, so that a reader of the
/// log who looks at the frame then sees what was written.
pub fn mark<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>, mfn: Mfn) -> bool {
    let shadow = &domain.memory.shadow;
    let new = shadow.is_on()
        && hv
            .machine
            .frame(mfn)
            .is_some_and(|frame| frame.is_ram_of(domain.id) && frame.set_written());
    if new {
        shadow.log.dirty.fetch_add(1, Ordering::Relaxed);
    }
    new
}

/// The same of a frame that someone holds, whoever owns it.
#[inline]
pub fn mark_held<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) {
    if hv.shadowed.load(Ordering::Relaxed) != 0 {
        mark_owned(hv, mfn);
    }
}

#[cold]
#[inline(never)]
fn mark_owned<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) {
    let owner = hv.machine.frame(mfn).map(|frame| frame.count().owner());
    if let Some(domain) = owner.and_then(|owner| hv.domains.get(owner)) {
        mark(hv, &domain, mfn);
    }
}

/// A write is going to be allowed to a frame.
pub(super) fn mark_for_fault<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>, mfn: Mfn) {
    if mark(hv, domain, mfn) {
        domain
            .memory
            .shadow
            .log
            .faults
            .fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether writes to a frame need not be noticed: it is noted already, or is no memory of the domain's.
pub(super) fn may_write<M: Machine>(machine: &M, owner: DomId, mfn: Mfn) -> bool {
    machine
        .frame(mfn)
        .is_none_or(|frame| frame.is_written() || !frame.is_ram_of(owner))
}

/// Goes through the domain's frames from `at` on: those that are noted are handed to `found`, as pseudo-physical
/// numbers, and noted no more if `clear` says so. Returns where to go on after a stop because something is pending;
/// `None` at the end. An error of `found` ends it.
pub fn collect<M: Machine, E>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    at: Mfn,
    clear: bool,
    mut found: impl FnMut(u64) -> Result<(), E>,
) -> Result<Option<Mfn>, E> {
    let machine = &cpu.hv.machine;
    let mut at = at;
    while let Some(mfn) = next(machine, domain, at) {
        at = mfn.offset(1);
        let noted = machine.frame(mfn).is_some_and(|frame| {
            frame.is_written() && frame.is_ram_of(domain.id) && (!clear || frame.clear_written())
        });
        if noted {
            found(machine.m2p(mfn))?;
        }
        if cpu.preempt_needed() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The next frame that is noted, or the last of those that are looked at in one go: the domain's list of frames is locked
/// for that. `None` past the last frame.
fn next<M: Machine>(machine: &M, domain: &Domain<M>, at: Mfn) -> Option<Mfn> {
    const AT_ONCE: u32 = 4096;
    let left = Cell::new(AT_ONCE);
    domain.memory.owned.lock().next(at, |mfn| {
        left.set(left.get().saturating_sub(1));
        left.get() == 0 || machine.frame(mfn).is_some_and(|frame| frame.is_written())
    })
}

/// Ends a round: from now on a write to any frame is noted again. When it returns, all that was written before is in
/// the domain's memory for whoever reads it.
pub fn begin_round<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    domain.memory.shadow.log.reset();
    super::protect(cpu, domain);
}

/// Notes the frames that the hypervisor itself writes to at any time: `vcpu_info` and the pages of FIFO events.
pub fn mark_shared<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>) {
    for vcpu in domain.vcpus.read().iter() {
        if let Some(mfn) = crate::event::info_frame(vcpu) {
            mark(hv, domain, mfn);
        }
    }
    let state = domain.events.lock();
    for mfn in state.frames() {
        mark(hv, domain, mfn);
    }
}
