//! Type references: taking them, which validates; dropping them, which undoes that.
//!
//! A page table that becomes validated holds a general and a type reference on everything that
//! its entries map. Validation of L2 to L4 tables can be long; it stops between entries when
//! something is pending and leaves the frame PARTIAL with its progress in the frame-table entry.
//! A partial frame owns itself: one type and one general reference belong to the stop. Whoever
//! wants the same type takes over and goes on; whoever dropped the last reference comes back with
//! [`resume_put`]; and a dying domain finds what nobody came back for.
//!
//! While one CPU works on a frame (type set, neither validated nor partial) others that want it
//! are told to come back later, so nobody spins with interrupts off.
//!
//! A frame that changes its type is claimed first, then flushed out of the TLBs, then validated. The
//! other way round another vCPU could take the old type once more between flush and claim, and keep
//! a writable translation of what has become a page table.

use oxen_abi::errno::Errno;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::entry::{acquire_entry, release_entry};
use crate::mm::frame::{Frame, PageType, Stamp};
use crate::mm::references::{Left, Rest};
use crate::mm::update::leave_here;
use crate::mm::{pte, shadow, tlb};
use crate::percpu::PerCpu;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::Mfn;

/// Why a memory operation did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmError {
    /// The guest broke a rule.
    Errno(Errno),
    /// Do it again after the way out: something is pending, or another CPU works on the frame.
    Restart,
}

impl From<Errno> for MmError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Work on a frame's references stopped half way; [`resume_put`] goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Unfinished(pub Mfn);

/// Entries of a page table.
pub const ENTRIES: usize = 512;
/// Progress flag while undoing: the type reference of the entry below the progress is dropped
/// already, its general reference not yet.
const CHILD_DROPPED: usize = 0x8000;

/// Takes a type reference on a frame on which the caller holds a general reference. `domain` is
/// the frame's owner if a page-table type is asked for.
#[inline]
pub fn get_type<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    want: PageType,
) -> Result<(), MmError> {
    let frame = cpu.hv.machine.frame(mfn).ok_or(Errno::EINVAL)?;
    if frame.join_type(want) {
        Ok(())
    } else {
        get_first_type(cpu, domain, mfn, frame, want)
    }
}

/// Why a frame can't be held as asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotHeld {
    /// It is no RAM of the domain's.
    Foreign,
    /// It can't have the type.
    Type(MmError),
}

impl From<NotHeld> for MmError {
    fn from(reason: NotHeld) -> Self {
        match reason {
            NotHeld::Foreign => Errno::EINVAL.into(),
            NotHeld::Type(error) => error,
        }
    }
}

/// Takes a general and a type reference on a frame of the domain's; [`put_held`] drops both.
#[inline(always)]
pub(crate) fn get_held<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    want: PageType,
) -> Result<Frame, NotHeld> {
    let frame = cpu.hv.machine.frame(mfn);
    let frame = frame
        .filter(|frame| frame.get(domain.id))
        .ok_or(NotHeld::Foreign)?;
    add_type(cpu, domain, mfn, frame, want).map_err(NotHeld::Type)?;
    Ok(frame)
}

/// Takes a type reference beside the general one that the caller has just taken, which is gone
/// if that fails.
#[inline(always)]
pub(crate) fn add_type<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    frame: Frame,
    want: PageType,
) -> Result<(), MmError> {
    if frame.join_type(want) {
        return Ok(());
    }
    get_first_type(cpu, domain, mfn, frame, want).inspect_err(|_| crate::mm::put_page(cpu.hv, mfn))
}

/// Drops both references; of [`Unfinished`] see [`put_type`].
#[inline(always)]
pub(crate) fn put_held<M: Machine>(
    cpu: &PerCpu<M>,
    mfn: Mfn,
    frame: Frame,
) -> Result<(), Unfinished> {
    let outcome = if frame.leave_type(tlb::clock()) {
        Ok(())
    } else {
        put_last_type(cpu, mfn, frame)
    };
    if !frame.put_shared() {
        crate::mm::put_last(cpu.hv, mfn);
    }
    outcome
}

/// Takes a type reference that may be the first one.
#[inline(never)]
fn get_first_type<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    frame: Frame,
    want: PageType,
) -> Result<(), MmError> {
    let begun = frame.begin_type(want)?;
    if let Some(lost) = begun.lost() {
        flush_for_change(cpu, domain, frame, lost);
    }
    let progress = match begun.rest() {
        Rest::Nothing => return Ok(()),
        Rest::Claim => {
            frame.finish_claim(want);
            return Ok(());
        }
        Rest::Validate => 0,
        Rest::GoOn(progress) => {
            drop_self_reference(cpu, mfn);
            progress
        }
    };
    validate_from(cpu, domain, mfn, frame, want, progress)
}

/// Other CPUs may still have translations of the frame from its last use, which ended at `lost`.
///
/// Only the owner's CPUs are asked, as in Xen, though others may have mapped the frame too:
/// - Who maps it by a grant holds a type reference beside the page-table entry's, until the grant is
///   unmapped and his own TLBs are flushed ([`crate::grant`]), even if he overwrote the entry.
/// - Who maps it as a foreign frame is privileged. His kernel flushes after it has removed an entry,
///   and what he could write through a stale one he can write without.
/// - A frame that is freed goes to nobody else before all CPUs whose last flush is older have flushed
///   ([`crate::mm::alloc_frames`]); and it is not freed while anyone's page table maps it.
fn flush_for_change<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>, frame: Frame, lost: Stamp) {
    let owner = frame.count().owner();
    let mask = if owner == domain.id {
        domain.dirty_cpus()
    } else {
        match cpu.hv.domains.get(owner) {
            Some(owner) => owner.dirty_cpus(),
            None => return,
        }
    };
    tlb::needed(cpu, mask, tlb::stamped(lost)).carry_out(cpu);
}

/// The reference that a partial frame held on itself passes to whoever takes over, who has one
/// of his own.
fn drop_self_reference<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) {
    crate::mm::put_page(cpu.hv, mfn);
}

/// Checks entries from `progress` on. The frame is ours alone (neither validated nor partial).
fn validate_from<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    frame: Frame,
    kind: PageType,
    progress: usize,
) -> Result<(), MmError> {
    let Some(level) = kind.level() else {
        return match check_descriptors(cpu, mfn) {
            Ok(()) => {
                frame.finish_validation();
                Ok(())
            }
            Err(errno) => {
                frame.lose_type(tlb::clock());
                Err(errno.into())
            }
        };
    };
    let mut done = progress & !CHILD_DROPPED;
    if progress & CHILD_DROPPED != 0 {
        done = done.saturating_sub(1);
        drop_child_page(cpu, mfn, done);
    }
    let page = cpu.hv.machine.page(mfn);
    while done < ENTRIES {
        if level > 1 && done != progress && cpu.preempt_needed() {
            park(frame, done);
            return Err(MmError::Restart);
        }
        let entry = entry_of(page, done);
        match validate_entry(cpu, domain, mfn, level, done, entry) {
            Ok(()) => done += 1,
            Err(MmError::Restart) => {
                park(frame, done);
                return Err(MmError::Restart);
            }
            Err(error) => {
                // What was taken is given back.
                leave_here(cpu, undo_from(cpu, mfn, frame, level, done));
                return Err(error);
            }
        }
    }
    if level == 4 {
        cpu.hv.machine.fill_hypervisor_slots(mfn);
    }
    shadow::log::mark(cpu.hv, domain, mfn);
    frame.finish_validation();
    Ok(())
}

/// Takes the references of one entry and writes it back as the hypervisor wants it.
#[inline(always)]
fn validate_entry<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    table: Mfn,
    level: u8,
    index: usize,
    entry: u64,
) -> Result<(), MmError> {
    let machine = &cpu.hv.machine;
    if level == 4 && pte::is_hypervisor_slot(index) {
        return Ok(());
    }
    if !pte::present(entry) {
        return Ok(());
    }
    let adjusted = acquire_entry(cpu, domain, domain.id, level, entry)?;
    if adjusted != entry && !machine.install_pte(table, index, level, adjusted) {
        leave_here(cpu, release_entry(cpu, level, adjusted));
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// Reads an entry; 0 if the frame is none of RAM.
pub(crate) fn read_entry<M: Machine>(machine: &M, table: Mfn, index: usize) -> u64 {
    entry_of(machine.page(table), index)
}

/// An entry of a table's words; 0 if it has none.
#[inline]
fn entry_of(page: Option<&[AtomicU64; ENTRIES]>, index: usize) -> u64 {
    page.and_then(|page| page.get(index))
        .map_or(0, |entry| entry.load(Ordering::Acquire))
}

/// Leaves the frame partial.
fn park(frame: Frame, progress: usize) {
    frame.park(u16::try_from(progress).unwrap_or(0));
}

/// Drops a type reference. When it was a page table's last, everything it maps is let go of;
/// should that be long, the rest is left for [`resume_put`], and the caller's reference is gone
/// all the same.
#[inline]
pub fn put_type<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) -> Result<(), Unfinished> {
    match cpu.hv.machine.frame(mfn) {
        Some(frame) if !frame.leave_type(tlb::clock()) => put_last_type(cpu, mfn, frame),
        _ => Ok(()),
    }
}

/// Drops a type reference that seemed to be the last.
#[inline(never)]
fn put_last_type<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn, frame: Frame) -> Result<(), Unfinished> {
    match frame.end_type(tlb::clock) {
        Left::Done => Ok(()),
        Left::Undo(level) => undo_from(cpu, mfn, frame, level, ENTRIES),
    }
}

/// Goes on with what [`put_type`] left. Nothing happens if someone else has taken over.
pub fn resume_put<M: Machine>(cpu: &PerCpu<M>, unfinished: Unfinished) -> Result<(), Unfinished> {
    let mfn = unfinished.0;
    let Some(frame) = cpu.hv.machine.frame(mfn) else {
        return Ok(());
    };
    let Some((level, progress)) = frame.take_over() else {
        return Ok(());
    };
    let outcome = undo_from(cpu, mfn, frame, level, progress);
    // The reference of the stop; if it stopped again it has taken a new one.
    drop_self_reference(cpu, mfn);
    outcome
}

/// Lets go of what entries below `progress` hold, from the top down. The frame is ours alone.
fn undo_from<M: Machine>(
    cpu: &PerCpu<M>,
    mfn: Mfn,
    frame: Frame,
    level: u8,
    progress: usize,
) -> Result<(), Unfinished> {
    shadow::lost(cpu, mfn, frame.count().owner());
    let mut left = progress & !CHILD_DROPPED;
    if progress & CHILD_DROPPED != 0 {
        left = left.saturating_sub(1);
        if resume_child(cpu, mfn, left).is_err() {
            park(frame, (left + 1) | CHILD_DROPPED);
            return Err(Unfinished(mfn));
        }
        drop_child_page(cpu, mfn, left);
    }
    let page = cpu.hv.machine.page(mfn);
    while left > 0 {
        if level > 1 && left != progress && cpu.preempt_needed() {
            park(frame, left);
            return Err(Unfinished(mfn));
        }
        left -= 1;
        if level == 4 && pte::is_hypervisor_slot(left) {
            continue;
        }
        let entry = entry_of(page, left);
        if !pte::present(entry) {
            continue;
        }
        if level == 1 {
            let _ = release_entry(cpu, 1, entry);
            continue;
        }
        let child = pte::frame(entry);
        if put_type(cpu, child).is_err() {
            park(frame, (left + 1) | CHILD_DROPPED);
            return Err(Unfinished(mfn));
        }
        crate::mm::put_page(cpu.hv, child);
    }
    frame.lose_type(tlb::clock());
    Ok(())
}

fn resume_child<M: Machine>(cpu: &PerCpu<M>, table: Mfn, index: usize) -> Result<(), Unfinished> {
    let entry = read_entry(&cpu.hv.machine, table, index);
    resume_put(cpu, Unfinished(pte::frame(entry)))
}

fn drop_child_page<M: Machine>(cpu: &PerCpu<M>, table: Mfn, index: usize) {
    let entry = read_entry(&cpu.hv.machine, table, index);
    crate::mm::put_page(cpu.hv, pte::frame(entry));
}

/// Checks a page of GDT or LDT entries: no descriptor may give more privilege than CPL 3 or be a
/// gate or system segment.
fn check_descriptors<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) -> Result<(), Errno> {
    let machine = &cpu.hv.machine;
    for index in 0..ENTRIES {
        let descriptor = read_entry(machine, mfn, index);
        let fixed = crate::mm::descriptor::check(descriptor).ok_or(Errno::EINVAL)?;
        if fixed != descriptor
            && let Some(entry) = machine.page(mfn).and_then(|page| page.get(index))
        {
            entry.store(fixed, Ordering::Release);
        }
    }
    Ok(())
}

/// Pins a frame as a page table of a level: one type and one general reference are held until it
/// is unpinned. The caller holds a general reference, which passes to the pin on success.
pub fn pin<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    level: u8,
) -> Result<(), MmError> {
    let kind = PageType::table(level).ok_or(Errno::EINVAL)?;
    get_type(cpu, domain, mfn, kind)?;
    let frame = cpu.hv.machine.frame(mfn).ok_or(Errno::EINVAL)?;
    if frame.pin() {
        Ok(())
    } else {
        leave_here(cpu, put_type(cpu, mfn));
        Err(Errno::EINVAL.into())
    }
}

/// Takes the pin off a frame; its references are still held and are to be dropped by the caller
/// with [`put_type`] and `put_page`. `false` if it was not pinned.
pub fn take_pin<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn) -> bool {
    let frame = cpu.hv.machine.frame(mfn);
    frame.is_some_and(|frame| frame.take_pin())
}
