//! Shadow page tables, under which a domain runs while its writes to memory are logged
//! (`XEN_DOMCTL_SHADOW_OP`): for a live migration.
//!
//! Such a domain's vCPUs do not run on its own page tables but on copies of them, which the guest never sees. A copy
//! is made entry by entry, when the processor faults for want of it ([`fault`]). What the processor would have done to
//! the guest's own entries, setting accessed and dirty bits, is done then, and a frame is mapped writable only once it
//! is noted as dirty ([`log`]). A new round of the log takes the right to write away again.
//!
//! An entry of the guest's that is changed disappears from the copies before anything is let go of that it held
//! ([`written`]), and so does a table that is one no more ([`lost`]). What TLBs still know is left to what happens in any
//! domain: the guest flushes, and so does the hypervisor before a frame changes hands.
//!
//! Copies are made under one lock for a domain, which is held across nothing that waits.

pub mod log;
mod tables;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::sched::SHUTDOWN_CRASH;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::entry::EntryPlace;
use crate::mm::{low_memory, tlb, walk};
use crate::percpu::PerCpu;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::types::{DomId, Mfn, VcpuId};

use tables::{Filled, Tables};

/// Frames that are kept ready for copies. A copy from or to a guest's memory may need them when nothing can be waited
/// for, three for each page at the most.
const READY: usize = 64;
/// As few of them may be left before more are taken from the heap.
const FEW: usize = 32;
/// Frames that a vCPU may have for copies, whatever its domain's size.
const PER_VCPU: u64 = 128;
/// Of this many frames of a domain's memory, one more may be used for copies: L1 tables map 512 each.
const FRAMES_PER_TABLE: u64 = 64;
/// Frames of a MiB.
const PER_MIB: u64 = 256;

/// Access that a page table does not allow, from a page fault's error code (SDM vol. 3, 4.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// To write.
    pub write: bool,
    /// To fetch an instruction.
    pub fetch: bool,
}

/// What a domain has of this.
#[derive(Debug, Default)]
pub struct Shadow {
    /// Its vCPUs run on copies.
    on: AtomicBool,
    /// The copies.
    tables: Mutex<Tables>,
    /// MiB that copies may take, as the tools have set it.
    allocation: AtomicU64,
    /// The log of written frames.
    pub log: log::Log,
    /// An operation of the tools' that stopped half way.
    pub(crate) work: Mutex<Option<Work>>,
}

/// What of an operation of the tools' is left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Work {
    /// The vCPU of dom0's that goes on with it.
    pub(crate) caller: VcpuId,
    /// `XEN_DOMCTL_SHADOW_OP_*`.
    pub(crate) op: u32,
    /// What comes next.
    pub(crate) stage: Stage,
}

/// A stage of such an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// The caller's bitmap is zeroed from this byte on.
    Zero(u64),
    /// The domain's frames are looked at from this one on.
    Collect(Mfn),
    /// The domain is to stand still for a moment.
    Pause,
    /// It has been told to.
    Paused,
}

/// The root of a domain's page tables whose copy a CPU has loaded.
#[derive(Debug)]
pub struct LoadedRoot(AtomicU64);

impl Default for LoadedRoot {
    fn default() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }
}

impl LoadedRoot {
    const NONE: u64 = u64::MAX;
    const OWNER_SHIFT: u32 = 48;

    fn set(&self, root: Option<(DomId, Mfn)>) {
        let word = root.map_or(Self::NONE, |(owner, mfn)| {
            u64::from(owner.0) << Self::OWNER_SHIFT | mfn.0
        });
        self.0.store(word, Ordering::Release);
    }

    #[allow(clippy::cast_possible_truncation, reason = "16 bits remain")]
    fn get(&self) -> Option<(DomId, Mfn)> {
        let word = self.0.load(Ordering::Acquire);
        let owner = DomId((word >> Self::OWNER_SHIFT) as u16);
        (word != Self::NONE).then_some((owner, Mfn(word & ((1 << Self::OWNER_SHIFT) - 1))))
    }
}

impl Shadow {
    /// Whether the domain's vCPUs run on copies and its writes are logged.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// MiB that copies may take at the most, beyond what they need at least.
    pub fn set_allocation(&self, mib: u32) {
        self.allocation.store(mib.into(), Ordering::Relaxed);
    }

    /// MiB that copies take now, rounded up.
    pub fn allocation(&self) -> u32 {
        let frames = self.tables.lock().frames();
        u32::try_from(frames.div_ceil(PER_MIB)).unwrap_or(u32::MAX)
    }
}

/// Begins to log. No vCPU of the domain runs. `ENOMEM` if there is no memory for the first copies, `ESRCH` if the domain
/// dies.
pub fn enable<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) -> Result<(), Errno> {
    if !refill(cpu, domain) {
        drop_all(cpu, domain);
        return Err(Errno::ENOMEM);
    }
    cpu.hv.shadowed.fetch_add(1, Ordering::AcqRel);
    domain.memory.shadow.on.store(true, Ordering::SeqCst);
    // Whoever takes the domain apart may have ended the log already, and will not look again.
    if domain.is_dying() {
        disable(cpu, domain);
        return Err(Errno::ESRCH);
    }
    Ok(())
}

/// Ends it, if it is on: the domain runs on its own tables again. No vCPU of the domain runs.
pub fn disable<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    if domain.memory.shadow.on.swap(false, Ordering::AcqRel) {
        cpu.hv.shadowed.fetch_sub(1, Ordering::AcqRel);
        drop_all(cpu, domain);
    }
}

/// Gives all frames of copies back; no CPU has one loaded.
fn drop_all<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    let old = core::mem::take(&mut *domain.memory.shadow.tables.lock());
    old.give_back(cpu.hv);
}

/// Loads CR3 with a root of the guest's, or with its copy.
#[inline]
pub fn load_root<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>, root: Option<Mfn>) {
    match root {
        Some(root) if domain.memory.shadow.is_on() => load_copy(cpu, domain, root),
        _ => {
            cpu.shared().root.set(None);
            cpu.hv.machine.load_cr3(root);
        }
    }
}

/// Loads CR3 with the hypervisor's own root: this CPU has nothing to run.
pub fn load_no_root<M: Machine>(cpu: &PerCpu<M>) {
    cpu.shared().root.set(None);
    cpu.hv.machine.load_cr3(None);
}

/// Loads the copy of a root; the domain is crashed if there is no memory for it.
#[cold]
#[inline(never)]
fn load_copy<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>, root: Mfn) {
    let machine = &cpu.hv.machine;
    loop {
        let mut tables = domain.memory.shadow.tables.lock();
        if let Some(copy) = tables.root(machine, root) {
            // Under the lock, so that whoever gives copies back knows those that are loaded.
            cpu.shared().root.set(Some((domain.id, root)));
            machine.load_cr3(Some(copy));
            return;
        }
        drop(tables);
        if !refill(cpu, domain) {
            cpu.shared().root.set(None);
            machine.load_cr3(None);
            return out_of_memory(cpu, domain);
        }
    }
}

fn out_of_memory<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>) {
    crate::log_error!(
        cpu.hv,
        "d{} crashed: no memory for its shadow page tables",
        domain.id.0
    );
    crate::domain::shutdown(cpu, domain, SHUTDOWN_CRASH);
}

/// A guest's access faulted at an address that is no hypervisor's. Whether its own page tables (`root` is what it
/// runs on) allow the access, so that it is to try again.
pub fn fault<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Arc<Domain<M>>,
    root: Mfn,
    addr: u64,
    access: Access,
) -> bool {
    let shadow = &domain.memory.shadow;
    loop {
        let (filled, ready) = {
            let mut tables = shadow.tables.lock();
            let filled = tables.fill(cpu.hv, domain, root, addr, access);
            (filled, tables.ready())
        };
        match filled {
            Filled::Refused => return false,
            Filled::Done if ready >= FEW || refill(cpu, domain) => return true,
            // Nothing was missing: the CPU goes by an older view of the root.
            Filled::Nothing => {
                load_copy(cpu, domain, root);
                return true;
            }
            Filled::NoFrame if refill(cpu, domain) => {}
            Filled::Done | Filled::NoFrame => {
                out_of_memory(cpu, domain);
                return true;
            }
        }
    }
}

/// The hypervisor's own access to the memory of the guest whose address space this CPU has loaded faulted. Whether it
/// is to try again. Locks may be held: nothing is waited for.
pub fn own_fault<M: Machine>(cpu: &PerCpu<M>, addr: u64, write: bool) -> bool {
    let Some((id, root)) = cpu.shared().root.get() else {
        return false;
    };
    let Some(domain) = cpu.hv.domains.get(id) else {
        return false;
    };
    if walk::is_hypervisor(addr) {
        return false;
    }
    let access = Access {
        write,
        fetch: false,
    };
    loop {
        let mut tables = domain.memory.shadow.tables.lock();
        match tables.fill(cpu.hv, &domain, root, addr, access) {
            Filled::Done => return true,
            Filled::Refused | Filled::Nothing => return false,
            Filled::NoFrame => {}
        }
        match take_frame(cpu, false) {
            Some(mfn) if tables.add_ready(mfn) => {}
            Some(mfn) => {
                give_frame(cpu.hv, mfn);
                return false;
            }
            None => return false,
        }
    }
}

/// An entry of a table of the domain's was changed. To be called before what the old entry held is let go of.
#[inline]
pub fn written<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>, place: EntryPlace) {
    if domain.memory.shadow.is_on() {
        // The parts, so that the place need not be in memory where nothing is logged.
        forget_entry(cpu, domain, place.table, place.level, place.index);
    }
}

#[cold]
#[inline(never)]
fn forget_entry<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    table: Mfn,
    level: u8,
    index: usize,
) {
    let machine = &cpu.hv.machine;
    let place = EntryPlace {
        table,
        level,
        index,
    };
    let copy = domain.memory.shadow.tables.lock().forget(machine, place);
    log::mark(cpu.hv, domain, place.table);
    if let Some(copy) = copy.filter(|_| place.level == 4) {
        machine.root_changed(copy);
    }
}

/// A frame becomes a page table, or is one no more: the copy goes, and the tools must look at the frame anew. To be
/// called before anything is let go of that the table's entries hold.
#[inline]
pub fn lost<M: Machine>(cpu: &PerCpu<M>, table: Mfn, owner: DomId) {
    if cpu.hv.shadowed.load(Ordering::Relaxed) != 0 {
        forget_table(cpu, table, owner);
    }
}

#[cold]
#[inline(never)]
fn forget_table<M: Machine>(cpu: &PerCpu<M>, table: Mfn, owner: DomId) {
    let Some(domain) = cpu.hv.domains.get(owner) else {
        return;
    };
    if !domain.memory.shadow.is_on() {
        return;
    }
    log::mark(cpu.hv, &domain, table);
    let copy = domain.memory.shadow.tables.lock().remove(table);
    if let Some(copy) = copy {
        give_frame(cpu.hv, copy);
    }
}

/// Takes the right to write away from all copies. When it returns, no CPU can write to the domain's memory any more
/// without a fault.
pub(super) fn protect<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    let hv = cpu.hv;
    {
        let mut tables = domain.memory.shadow.tables.lock();
        tables.begin_round(&hv.machine, loaded_roots(hv, domain.id));
    }
    for_each_loaded_copy(hv, domain);
    tlb::flush(cpu, &domain.dirty_cpus());
}

/// The roots of a domain's whose copies CPUs have loaded.
fn loaded_roots<M: Machine>(hv: &Hypervisor<M>, id: DomId) -> impl Iterator<Item = Mfn> + '_ {
    let cpus = hv.machine.cpus();
    let count = u16::try_from(hv.cpu_count()).unwrap_or(u16::MAX);
    (0..count)
        .map(crate::types::CpuId)
        .filter(move |cpu| cpus.contains(*cpu))
        .filter_map(move |cpu| hv.cpu(cpu).root.get())
        .filter_map(move |(owner, root)| (owner == id).then_some(root))
}

/// Tells the machine that entries of the copies that CPUs have loaded were changed.
fn for_each_loaded_copy<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>) {
    for root in loaded_roots(hv, domain.id) {
        let copy = domain.memory.shadow.tables.lock().copy_of(root);
        if let Some(copy) = copy {
            hv.machine.root_changed(copy);
        }
    }
}

/// The most frames that a domain's copies may take.
fn limit<M: Machine>(domain: &Domain<M>) -> u64 {
    let vcpus = domain.vcpus.read().len() as u64;
    let least = vcpus.max(1) * PER_VCPU + domain.memory.total_frames() / FRAMES_PER_TABLE;
    let set = domain.memory.shadow.allocation.load(Ordering::Relaxed);
    least.max(set.saturating_mul(PER_MIB))
}

/// Makes frames ready for copies. `false` if there is none at all.
fn refill<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) -> bool {
    let shadow = &domain.memory.shadow;
    let limit = limit(domain);
    loop {
        let (ready, used) = {
            let tables = shadow.tables.lock();
            (tables.ready(), tables.frames())
        };
        if ready >= READY {
            return true;
        }
        if used >= limit {
            if ready >= FEW {
                return true;
            }
            shed(cpu, domain);
        }
        let Some(mfn) = take_frame(cpu, true) else {
            if ready == 0 {
                shed(cpu, domain);
                let mfn = take_frame(cpu, true);
                return mfn.is_some_and(|mfn| keep_ready(cpu, domain, mfn));
            }
            return true;
        };
        if !keep_ready(cpu, domain, mfn) {
            return ready > 0;
        }
    }
}

fn keep_ready<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>, mfn: Mfn) -> bool {
    let kept = domain.memory.shadow.tables.lock().add_ready(mfn);
    if !kept {
        give_frame(cpu.hv, mfn);
    }
    kept
}

/// Gives back all copies but those of roots that CPUs have loaded, of which the guest's part is emptied.
fn shed<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    let hv = cpu.hv;
    let old = {
        let mut tables = domain.memory.shadow.tables.lock();
        tables.shed(&hv.machine, loaded_roots(hv, domain.id))
    };
    for_each_loaded_copy(hv, domain);
    if let Some(old) = old {
        old.give_back(hv);
    }
}

/// Takes a frame from the heap for a copy: zeroed, and the hypervisor's own. If a TLB may know it from its last use, all
/// flush first, or there is none if that can't be waited for.
fn take_frame<M: Machine>(cpu: &PerCpu<M>, may_wait: bool) -> Option<Mfn> {
    let hv = cpu.hv;
    let mfn = hv.heap.alloc(&hv.machine, 0, u64::BITS)?;
    let frame = hv.machine.frame(mfn)?;
    let needed = tlb::needed(cpu, hv.machine.cpus(), tlb::stamped(frame.types().stamp()));
    if !may_wait && !needed.is_empty() {
        hv.heap.free(&hv.machine, mfn, 0);
        return None;
    }
    needed.carry_out(cpu);
    hv.machine.zero_page(mfn);
    frame.claim_for_hypervisor();
    if may_wait {
        low_memory::check(hv);
    }
    Some(mfn)
}

/// Gives such a frame back. TLBs may know it: that is what its stamp says.
fn give_frame<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) {
    if let Some(frame) = hv.machine.frame(mfn) {
        frame.release_from_hypervisor(tlb::clock());
        hv.heap.free(&hv.machine, mfn, 0);
    }
}
