//! What a single page-table entry holds: the references that come and go with it.

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::frame::{PageType, get_page};
use crate::mm::types::{MmError, Unfinished, get_type, put_type};
use crate::mm::{pte, tlb};
use crate::percpu::PerCpu;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, Mfn};

/// Takes the references that a present entry of a table of `level` needs, and returns the entry
/// as it is to be written. `domain` owns the table; `frames_of` owns what an L1 entry maps (the
/// domain itself unless it maps foreign memory).
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
#[inline]
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
    let table = pte::frame(entry);
    if !get_page(&cpu.hv.machine, table, domain.id) {
        return Err(Errno::EINVAL.into());
    }
    match get_type(cpu, domain, table, kind) {
        Ok(()) => Ok(pte::adjust(entry)),
        Err(error) => {
            crate::mm::put_page(cpu.hv, table);
            Err(error)
        }
    }
}

fn acquire_leaf<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    entry: u64,
) -> Result<u64, MmError> {
    let machine = &cpu.hv.machine;
    let mfn = pte::frame(entry);
    let frame = match machine.frame(mfn) {
        Some(frame) if frame.get(frames_of) => frame,
        Some(frame) if !frame.is_io() => return Err(Errno::EINVAL.into()),
        _ => return acquire_io(cpu, domain, mfn, entry),
    };
    if entry & pte::RW != 0
        && !frame.join_type(PageType::Writable)
        && let Err(error) = get_type(cpu, domain, mfn, PageType::Writable)
    {
        crate::mm::put_page(cpu.hv, mfn);
        return Err(error);
    }
    Ok(pte::adjust(entry))
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
pub fn release_entry<M: Machine>(cpu: &PerCpu<M>, level: u8, entry: u64) -> Result<(), Unfinished> {
    if !pte::present(entry) {
        return Ok(());
    }
    let mfn = pte::frame(entry);
    let Some(frame) = cpu.hv.machine.frame(mfn) else {
        return Ok(());
    };
    let outcome = if level == 1 {
        if frame.is_io() {
            return Ok(());
        }
        if entry & pte::RW == 0 || frame.leave_type(tlb::clock()) {
            Ok(())
        } else {
            put_type(cpu, mfn)
        }
    } else {
        put_type(cpu, mfn)
    };
    if !frame.put_shared() {
        crate::mm::put_page(cpu.hv, mfn);
    }
    outcome
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

/// Replaces entry `index` of a table of `level` on which the caller holds a type reference.
/// `new` is the guest's wish.
/// An old L3 or L2 table that can't be let go of at once comes back as [`Unfinished`].
#[allow(
    clippy::too_many_arguments,
    reason = "an entry has a place, a value and two owners"
)]
#[inline]
pub fn replace_entry<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    table: Mfn,
    level: u8,
    index: usize,
    new: u64,
    how: Update,
) -> Result<Option<Unfinished>, MmError> {
    if level == 1 && how == Update::Plain && keeps_rights(&cpu.hv.machine, table, index, new) {
        return Ok(None);
    }
    exchange_entry(cpu, domain, frames_of, table, level, index, new, how)
}

/// Writes an L1 entry if it leads where the old one does with the same rights and the same caching, so that no
/// reference changes. Returns whether it did.
///
/// The machine's own check of what may be mapped ([`Machine::cmpxchg_pte`]) is left out: it is about the frame, and the
/// old entry for the same frame has passed it. The entry's reference keeps a frame of RAM from becoming the
/// hypervisor's meanwhile, and device memory stays what it is. Device memory that may only be read has entries without
/// RW, and they don't get it here.
#[inline]
fn keeps_rights<M: Machine>(machine: &M, table: Mfn, index: usize, new: u64) -> bool {
    let Some(slot) = machine.page(table).and_then(|page| page.get(index)) else {
        return false;
    };
    let old = slot.load(Ordering::Acquire);
    pte::present(old)
        && (old ^ new) & (pte::ADDR | pte::PRESENT | pte::RW | CACHING) == 0
        && slot
            .compare_exchange(old, pte::adjust(new), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
}

#[allow(
    clippy::too_many_arguments,
    reason = "an entry has a place, a value and two owners"
)]
#[inline(never)]
fn exchange_entry<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    frames_of: DomId,
    table: Mfn,
    level: u8,
    index: usize,
    new: u64,
    how: Update,
) -> Result<Option<Unfinished>, MmError> {
    let machine = &cpu.hv.machine;
    if level == 4 && pte::is_hypervisor_slot(index) {
        return Err(Errno::EINVAL.into());
    }
    let ad = if how == Update::KeepAd {
        pte::ACCESSED | pte::DIRTY
    } else {
        0
    };
    let stale = |now: u64| matches!(how, Update::IfStill(expected) if expected != now);
    let slot = machine
        .page(table)
        .and_then(|page| page.get(index))
        .ok_or(Errno::EINVAL)?;
    let mut old = slot.load(Ordering::Acquire);

    // The same frame with the same rights: no reference changes.
    let same = pte::ADDR | pte::PRESENT | pte::RW | pte::PSE;
    if stale(old) {
        return Err(MmError::Restart);
    }
    // Of a plain update of an L1 entry that is known not to be so.
    let unknown = level > 1 || how != Update::Plain;
    while unknown && level == 1 && pte::present(old) && (old ^ new) & same & !pte::PSE == 0
        || level > 1 && pte::present(old) && (old ^ new) & (same & !pte::RW) == 0
    {
        check_bits(domain, level, new)?;
        match machine.cmpxchg_pte(table, index, level, old, pte::adjust(new) | (old & ad)) {
            Ok(()) => return Ok(None),
            Err(now) if now == old => return Err(Errno::EINVAL.into()),
            Err(now) if stale(now) => return Err(MmError::Restart),
            Err(now) => old = now,
        }
    }

    let wanted = if pte::present(new) {
        acquire_entry(cpu, domain, frames_of, level, new)?
    } else {
        new
    };
    loop {
        match machine.cmpxchg_pte(table, index, level, old, wanted | (old & ad)) {
            Ok(()) => break,
            Err(now) if now == old => {
                let _ = release_entry(cpu, level, wanted);
                return Err(Errno::EINVAL.into());
            }
            Err(now) if stale(now) => {
                let _ = release_entry(cpu, level, wanted);
                return Err(MmError::Restart);
            }
            Err(now) => old = now,
        }
    }
    Ok(release_entry(cpu, level, old).err())
}
