//! What a single page-table entry holds: the references that come and go with it.

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::frame::{Frame, PageType};
use crate::mm::types::{MmError, Unfinished, add_type, get_held, put_held};
use crate::mm::update::leave_here;
use crate::mm::{pte, shadow};
use crate::percpu::PerCpu;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{DomId, Mfn};

/// Takes the references that a present entry of a table of `level` needs, and returns the entry
/// as it is to be written. `domain` owns the table; `frames_of` owns what an L1 entry maps (the
/// domain itself unless it maps foreign memory).
#[inline(always)]
pub fn acquire_entry<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    level: u8,
    entry: u64,
) -> Result<u64, MmError> {
    check_bits(domain, level, entry)?;
    if level == 1 {
        acquire_leaf(cpu, domain, frames_of, entry)
    } else {
        acquire_table(cpu, domain, level, entry)
    }
}

/// Bits of a leaf that choose how its page is cached: where a table's entry has PSE, a leaf has PAT.
const CACHING: u64 = pte::PWT | pte::PCD | pte::PSE;

/// Refuses bits that a present entry may not have: in a table's entry those of caching, PSE and G; in a
/// leaf those of caching, unless the domain was given hardware. A guest with a second, uncached view of
/// its memory could show the processor another page table than the hypervisor has read through the
/// cache.
#[inline(always)]
fn check_bits<M: Machine>(domain: &Domain<M>, level: u8, entry: u64) -> Result<(), Errno> {
    let bits = if level == 1 {
        CACHING
    } else {
        CACHING | pte::GLOBAL
    };
    if entry & bits == 0 || level == 1 && domain.permissions.lock().any_hardware() {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn acquire_table<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    level: u8,
    entry: u64,
) -> Result<u64, MmError> {
    let kind = PageType::table(level - 1).ok_or(Errno::EINVAL)?;
    get_held(cpu, domain, pte::frame(entry), kind)?;
    Ok(pte::adjust(entry))
}

#[inline(always)]
fn acquire_leaf<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    entry: u64,
) -> Result<u64, MmError> {
    let mfn = pte::frame(entry);
    let frame = match cpu.hv.machine.frame(mfn) {
        Some(frame) if frame.get(frames_of) => frame,
        other => return acquire_other(cpu, domain, frames_of, other, entry),
    };
    if entry & pte::RW != 0 {
        add_type(cpu, domain, mfn, frame, PageType::Writable)?;
    }
    Ok(pte::adjust(entry))
}

/// What is no RAM of the domain's: at most device memory or, for reading, the machine-to-physical table.
#[cold]
#[inline(never)]
fn acquire_other<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    frame: Option<Frame>,
    entry: u64,
) -> Result<u64, MmError> {
    let mfn = pte::frame(entry);
    match frame {
        Some(frame) if frames_of == DomId::XEN && cpu.hv.machine.is_m2p(mfn) => {
            if entry & pte::RW != 0 {
                return Err(Errno::EINVAL.into());
            }
            // Beside one of the hypervisor's own, so that this is never the last to go.
            frame.keep();
            crate::mm::hold_page(cpu.hv, mfn);
            Ok(pte::adjust(entry))
        }
        Some(frame) if !frame.is_io() => Err(Errno::EINVAL.into()),
        _ => acquire_io(cpu, domain, mfn, entry),
    }
}

/// Device memory: no references, but a permission.
fn acquire_io<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    entry: u64,
) -> Result<u64, MmError> {
    if !cpu.hv.machine.is_mappable_io(mfn) || !domain.permissions.lock().iomem.contains(mfn.0) {
        return Err(Errno::EPERM.into());
    }
    let read_only =
        cpu.hv.machine.is_read_only_io(mfn) || crate::irq::is_read_only_mmio(cpu.hv, mfn);
    Ok(pte::adjust(if read_only {
        entry & !pte::RW
    } else {
        entry
    }))
}

/// Drops the references of an entry that was taken out of a table of `level`.
#[inline]
pub fn release_entry<M: Machine>(cpu: &PerCpu<M>, level: u8, entry: u64) -> Result<(), Unfinished> {
    if level == 1 {
        release_leaf(cpu, entry);
        return Ok(());
    }
    if !pte::present(entry) {
        return Ok(());
    }
    let table = pte::frame(entry);
    match cpu.hv.machine.frame(table) {
        Some(frame) => put_held(cpu, table, frame),
        None => Ok(()),
    }
}

/// Drops the references of an entry that was taken out of an L1 table.
#[inline(always)]
fn release_leaf<M: Machine>(cpu: &PerCpu<M>, entry: u64) {
    if !pte::present(entry) {
        return;
    }
    let mfn = pte::frame(entry);
    let Some(frame) = cpu.hv.machine.frame(mfn) else {
        return;
    };
    if frame.is_io() {
        return;
    }
    if entry & pte::RW != 0 {
        // No page table's type, so never unfinished.
        let _ = put_held(cpu, mfn, frame);
    } else if !frame.put_shared() {
        crate::mm::put_last(cpu.hv, mfn);
    }
}

/// Where an entry is: in a page table on which the caller holds a type reference.
#[derive(Clone, Copy, Debug)]
pub struct EntryPlace {
    /// The table.
    pub table: Mfn,
    /// Its level, 1 to 4.
    pub level: u8,
    /// Which of its entries, 0 to 511.
    pub index: usize,
}

/// How [`replace_entry`] treats what it finds in the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// The new value, whatever was there.
    Plain,
    /// The new value with the old one's accessed and dirty bits.
    KeepAd,
    /// Only if the entry is still this one; else [`MmError::Restart`].
    IfStill(u64),
}

/// Replaces an entry. `new` is the guest's wish.
/// An old L3 or L2 table that can't be let go of at once comes back as [`Unfinished`].
#[inline(always)]
pub fn replace_entry<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    place: EntryPlace,
    new: u64,
    how: Update,
) -> Result<Option<Unfinished>, MmError> {
    if place.level > 1 {
        return exchange_table(cpu, domain, frames_of, place, new, how);
    }
    replace_leaf(cpu, domain, frames_of, place, new, how).map(|()| None)
}

/// [`replace_entry`] of an L1 table.
#[inline(always)]
pub fn replace_leaf<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    place: EntryPlace,
    new: u64,
    how: Update,
) -> Result<(), MmError> {
    let page = cpu.hv.machine.page(place.table);
    let slot = page.and_then(|page| page.get(place.index));
    let slot = slot.ok_or(Errno::EINVAL)?;
    if how == Update::Plain && keeps_rights(slot, new) {
        shadow::written(cpu, domain, place);
        return Ok(());
    }
    let (table, index) = (place.table, place.index);
    let leaf = Leaf { table, index, slot };
    exchange_leaf(cpu, domain, frames_of, &leaf, new, how)
}

/// What decides about references in an L1 entry: entries that agree in this need the same.
const LEAF: u64 = pte::ADDR | pte::PRESENT | pte::RW;

/// Writes an L1 entry if it leads where the old one does with the same rights and the same caching, so that no
/// reference changes. Returns whether it did.
///
/// The machine's own check of what may be mapped ([`Machine::cmpxchg_leaf`]) is left out: it is about the frame, and the
/// old entry for the same frame has passed it. The entry's reference keeps a frame of RAM from becoming the
/// hypervisor's meanwhile, and device memory stays what it is. Device memory that may only be read has entries without
/// RW, and they don't get it here.
#[inline(always)]
fn keeps_rights(slot: &AtomicU64, new: u64) -> bool {
    let old = slot.load(Ordering::Acquire);
    pte::present(old)
        && (old ^ new) & (LEAF | CACHING) == 0
        && slot
            .compare_exchange(old, pte::adjust(new), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
}

impl Update {
    /// The bits of an old entry that the new one inherits.
    const fn kept(self) -> u64 {
        match self {
            Self::KeepAd => pte::ACCESSED | pte::DIRTY,
            Self::Plain | Self::IfStill(_) => 0,
        }
    }

    /// Whether an entry is not what the caller takes it for.
    const fn is_stale(self, now: u64) -> bool {
        matches!(self, Self::IfStill(expected) if expected != now)
    }
}

/// An entry of an L1 table.
struct Leaf {
    table: Mfn,
    index: usize,
    slot: &'static AtomicU64,
}

impl Leaf {
    const fn place(&self) -> EntryPlace {
        EntryPlace {
            table: self.table,
            level: 1,
            index: self.index,
        }
    }
}

/// Replaces an L1 entry by one with other rights, or of another frame.
#[inline(never)]
fn exchange_leaf<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    leaf: &Leaf,
    new: u64,
    how: Update,
) -> Result<(), MmError> {
    let machine = &cpu.hv.machine;
    let slot = leaf.slot;
    let kept = how.kept();
    let mut old = slot.load(Ordering::Acquire);
    if how.is_stale(old) {
        return Err(MmError::Restart);
    }
    if pte::present(new) {
        check_bits(domain, 1, new)?;
    }
    // The same frame with the same rights: no reference changes. A plain update has been tried so.
    while how != Update::Plain && pte::present(old) && (old ^ new) & LEAF == 0 {
        match machine.cmpxchg_leaf(slot, old, pte::adjust(new) | (old & kept)) {
            Ok(()) => {
                shadow::written(cpu, domain, leaf.place());
                return Ok(());
            }
            Err(now) if now == old => return Err(Errno::EINVAL.into()),
            Err(now) if how.is_stale(now) => return Err(MmError::Restart),
            Err(now) => old = now,
        }
    }
    let wanted = if pte::present(new) {
        acquire_leaf(cpu, domain, frames_of, new)?
    } else {
        new
    };
    loop {
        match machine.cmpxchg_leaf(slot, old, wanted | (old & kept)) {
            Ok(()) => break,
            Err(now) if now == old || how.is_stale(now) => {
                release_leaf(cpu, wanted);
                return Err(if now == old {
                    Errno::EINVAL.into()
                } else {
                    MmError::Restart
                });
            }
            Err(now) => old = now,
        }
    }
    shadow::written(cpu, domain, leaf.place());
    release_leaf(cpu, old);
    Ok(())
}

/// Replaces an entry of a table of level 2 to 4.
#[inline(never)]
fn exchange_table<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    place: EntryPlace,
    new: u64,
    how: Update,
) -> Result<Option<Unfinished>, MmError> {
    let machine = &cpu.hv.machine;
    let EntryPlace {
        table,
        level,
        index,
    } = place;
    if level == 4 && pte::is_hypervisor_slot(index) {
        return Err(Errno::EINVAL.into());
    }
    let kept = how.kept();
    let slot = machine
        .page(table)
        .and_then(|page| page.get(index))
        .ok_or(Errno::EINVAL)?;
    let mut old = slot.load(Ordering::Acquire);
    if how.is_stale(old) {
        return Err(MmError::Restart);
    }

    // The same table: no reference changes.
    let same = pte::ADDR | pte::PRESENT | pte::PSE;
    while pte::present(old) && (old ^ new) & same == 0 {
        check_bits(domain, level, new)?;
        match machine.cmpxchg_pte(table, index, level, old, pte::adjust(new) | (old & kept)) {
            Ok(()) => {
                shadow::written(cpu, domain, place);
                return Ok(None);
            }
            Err(now) if now == old => return Err(Errno::EINVAL.into()),
            Err(now) if how.is_stale(now) => return Err(MmError::Restart),
            Err(now) => old = now,
        }
    }

    let wanted = if pte::present(new) {
        acquire_entry(cpu, domain, frames_of, level, new)?
    } else {
        new
    };
    loop {
        match machine.cmpxchg_pte(table, index, level, old, wanted | (old & kept)) {
            Ok(()) => break,
            Err(now) if now == old => {
                leave_here(cpu, release_entry(cpu, level, wanted));
                return Err(Errno::EINVAL.into());
            }
            Err(now) if how.is_stale(now) => {
                leave_here(cpu, release_entry(cpu, level, wanted));
                return Err(MmError::Restart);
            }
            Err(now) => old = now,
        }
    }
    shadow::written(cpu, domain, place);
    Ok(release_entry(cpu, level, old).err())
}
