//! `mmu_update`, `update_va_mapping` and its form for foreign frames.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::mmu::{
    MMU_MACHPHYS_UPDATE, MMU_NORMAL_PT_UPDATE, MMU_PT_UPDATE_NO_TRANSLATE,
    MMU_PT_UPDATE_PRESERVE_AD, MmuUpdate, UVMF_ALL, UVMF_FLUSHTYPE_MASK, UVMF_INVLPG,
    UVMF_TLB_FLUSH,
};

use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::entry::{EntryPlace, Update, replace_entry};
use crate::mm::frame::PageType;
use crate::mm::types::{MmError, Unfinished, add_type, get_held, put_held, resume_put};
use crate::mm::{get_page, put_page, shadow, tlb, walk};
use crate::percpu::{Cx, PerCpu};
use crate::sync::atomic::Ordering;
use crate::types::{DomId, Mfn};
use crate::vcpu::Vcpu;

/// Set in the count of a continuation, so that the work done so far is read from `pdone`.
pub const PREEMPTED: u64 = 1 << 31;

/// Whose frames an operation is about, from the domain number that the caller gives.
pub fn frames_of<M: Machine>(cx: &Cx<'_, M>, id: u16) -> Result<DomId, Errno> {
    let caller = cx.domain();
    match DomId(id) {
        DomId::SELF => Ok(caller.id),
        id if id == caller.id => Ok(id),
        DomId::IO => Ok(DomId::IO),
        id if id != DomId::XEN && (!id.is_ordinary() || cx.hv.domains.get(id).is_none()) => {
            Err(Errno::ESRCH)
        }
        _ if !caller.privileged => Err(Errno::EPERM),
        id => Ok(id),
    }
}

/// The domain whose page tables are meant: the caller, unless the upper half of `foreign` names
/// another (number plus one).
fn table_owner<M: Machine>(cx: &Cx<'_, M>, foreign: u64) -> Result<Arc<Domain<M>>, Errno> {
    let id = u16::try_from((foreign >> 16) & 0xffff).map_err(|_| Errno::EINVAL)?;
    match id.checked_sub(1) {
        None => Ok(Arc::clone(cx.domain())),
        Some(id) if DomId(id) == cx.domain().id || DomId(id) == DomId::SELF => {
            Ok(Arc::clone(cx.domain()))
        }
        Some(_) if !cx.domain().privileged => Err(Errno::EPERM),
        Some(id) => cx.hv.domains.get(DomId(id)).ok_or(Errno::ESRCH),
    }
}

/// Goes on with what an earlier stretch of the vCPU's hypercalls left. `false` if that must stop
/// again.
#[inline(always)]
pub fn finish_pending<M: Machine>(cx: &Cx<'_, M>) -> bool {
    finish_left_by(cx.cpu, cx.vcpu)
}

/// Likewise for any vCPU.
#[inline(always)]
pub fn finish_left_by<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>) -> bool {
    vcpu.left.is_empty() || finish_left(cpu, vcpu)
}

#[cold]
#[inline(never)]
fn finish_left<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>) -> bool {
    while let Some(mfn) = vcpu.left.pop() {
        if let Err(unfinished) = resume_put(cpu, Unfinished(mfn)) {
            leave(cpu, vcpu, Some(unfinished));
            return false;
        }
    }
    true
}

/// Leaves unfinished work for the next stretch.
pub fn leave_pending<M: Machine>(cx: &Cx<'_, M>, unfinished: Option<Unfinished>) {
    leave(cx.cpu, cx.vcpu, unfinished);
}

/// Leaves unfinished work to a vCPU, beside what it has already. Where there is no memory to note it
/// in, it is done at once, however long that takes.
pub(crate) fn leave<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>, unfinished: Option<Unfinished>) {
    let mut left = unfinished;
    while let Some(Unfinished(mfn)) = left {
        if vcpu.left.push(mfn) {
            return;
        }
        left = resume_put(cpu, Unfinished(mfn)).err();
    }
}

/// Leaves what could not be done in one go to the vCPU that this CPU runs; the idle one, which makes no hypercalls, does
/// it at once.
pub(crate) fn leave_here<M: Machine>(cpu: &PerCpu<M>, outcome: Result<(), Unfinished>) {
    let mut left = outcome.err();
    if left.is_none() {
        return;
    }
    let vcpu = cpu.current();
    if !Arc::ptr_eq(&vcpu, &cpu.idle) {
        return leave(cpu, &vcpu, left);
    }
    while let Some(unfinished) = left {
        left = resume_put(cpu, unfinished).err();
    }
}

/// A batch of operations that can stop between two of them.
pub(crate) struct Batch {
    /// Handle of the first operation that is left.
    pub(crate) ops: u64,
    /// Size of one.
    pub(crate) size: u64,
    /// How many are left.
    pub(crate) count: u64,
    /// Where the number of those done is wanted.
    pub(crate) done_at: GuestHandle<u32>,
    /// Done in earlier stretches.
    pub(crate) before: u32,
    /// The last argument, passed along.
    pub(crate) last: u64,
}

impl Batch {
    pub(crate) fn new<M: Machine>(
        cx: &Cx<'_, M>,
        ops: u64,
        size: u64,
        count: u64,
        done_at: u64,
        last: u64,
    ) -> Result<Self, Stop> {
        let done_at = GuestHandle::new(done_at);
        let mut before = 0;
        if count & PREEMPTED != 0 && !done_at.is_null() {
            before = done_at.read(cx.machine())?;
        }
        Ok(Self {
            ops,
            size,
            count: count & 0xffff_ffff & !PREEMPTED,
            done_at,
            before,
            last,
        })
    }

    /// Runs `one` for each operation.
    pub(crate) fn run<M: Machine>(
        self,
        cx: &Cx<'_, M>,
        mut one: impl FnMut(u64) -> Result<(), MmError>,
    ) -> HcResult {
        let mut done = 0u64;
        let mut outcome = Ok(0);
        while done < self.count {
            let stop = !finish_pending(cx) || done % 16 == 15 && cx.cpu.preempt_needed();
            let result = if stop {
                Err(MmError::Restart)
            } else {
                one(self.ops.wrapping_add(done.wrapping_mul(self.size)))
            };
            match result {
                Ok(()) => done += 1,
                Err(MmError::Errno(errno)) => {
                    outcome = Err(errno.into());
                    break;
                }
                Err(MmError::Restart) => {
                    outcome = Err(Stop::Restart([
                        self.ops.wrapping_add(done.wrapping_mul(self.size)),
                        (self.count - done) | PREEMPTED,
                        self.done_at.addr(),
                        self.last,
                        0,
                        0,
                    ]));
                    break;
                }
            }
        }
        // What the last operation left half undone is worked off before the call returns.
        if outcome == Ok(0) && !finish_pending(cx) {
            outcome = Err(Stop::Restart([
                self.ops,
                PREEMPTED,
                self.done_at.addr(),
                self.last,
                0,
                0,
            ]));
        }
        if !self.done_at.is_null() {
            let total = self
                .before
                .wrapping_add(u32::try_from(done).unwrap_or(u32::MAX));
            self.done_at.write(cx.machine(), &total)?;
        }
        outcome
    }
}

/// `HYPERVISOR_mmu_update`: `count` updates at `updates`; the number done goes to `done`.
/// `foreign` names the domain whose frames are mapped and, in its upper half, the domain whose
/// tables are written.
#[inline(never)]
pub fn mmu_update<M: Machine>(
    cx: &Cx<'_, M>,
    updates: u64,
    count: u64,
    done: u64,
    foreign: u64,
) -> HcResult {
    let id = u16::try_from(foreign & 0xffff).map_err(|_| Errno::EINVAL)?;
    let frames = frames_of(cx, id)?;
    let owner = table_owner(cx, foreign)?;
    let size = core::mem::size_of::<MmuUpdate>() as u64;
    Batch::new(cx, updates, size, count, done, foreign)?.run(cx, |at| {
        let update = GuestHandle::<MmuUpdate>::new(at).read(cx.machine())?;
        one_update(cx, &owner, frames, update)
    })
}

#[inline(always)]
fn one_update<M: Machine>(
    cx: &Cx<'_, M>,
    owner: &Arc<Domain<M>>,
    frames: DomId,
    update: MmuUpdate,
) -> Result<(), MmError> {
    let place = update.ptr & !3;
    let how = match update.ptr & 3 {
        // A PV guest's frames are machine frames already: nothing is translated in either.
        MMU_NORMAL_PT_UPDATE | MMU_PT_UPDATE_NO_TRANSLATE => Update::Plain,
        MMU_PT_UPDATE_PRESERVE_AD => Update::KeepAd,
        MMU_MACHPHYS_UPDATE => return set_m2p(cx, frames, Mfn::containing(place), update.val),
        _ => return Err(Errno::ENOSYS.into()),
    };
    write_entry(cx, owner, frames, place, update.val, how)
}

/// Writes the M2P entry of a frame of `frames`. Not inlined: in the loop over all updates it would cost the others
/// registers.
#[inline(never)]
fn set_m2p<M: Machine>(cx: &Cx<'_, M>, frames: DomId, mfn: Mfn, pfn: u64) -> Result<(), MmError> {
    if !get_page(cx.machine(), mfn, frames) {
        return Err(Errno::EINVAL.into());
    }
    cx.machine().set_m2p(mfn, pfn);
    shadow::log::mark_held(cx.hv, mfn);
    put_page(cx.hv, mfn);
    Ok(())
}

/// Writes the eight bytes at machine address `place`: as a page-table entry if the frame is a
/// page table, else as plain memory.
#[inline(always)]
fn write_entry<M: Machine>(
    cx: &Cx<'_, M>,
    owner: &Arc<Domain<M>>,
    frames: DomId,
    place: u64,
    value: u64,
    how: Update,
) -> Result<(), MmError> {
    let table = Mfn::containing(place);
    let index = usize::try_from((place & 0xfff) / 8).map_err(|_| Errno::EINVAL)?;
    let frame = cx.machine().frame(table).ok_or(Errno::EINVAL)?;
    if place & 7 != 0 || !frame.get(owner.id) {
        return Err(Errno::EINVAL.into());
    }
    let word = frame.types();
    let level = if word.held() {
        word.kind().level()
    } else {
        None
    };
    match level {
        Some(level) => {
            add_type(cx.cpu, owner, table, frame, word.kind())?;
            let place = EntryPlace {
                table,
                level,
                index,
            };
            let outcome = replace_entry(cx.cpu, owner, frames, place, value, how);
            let dropped = put_held(cx.cpu, table, frame).err();
            leave_pending(cx, dropped);
            leave_pending(cx, outcome?);
            Ok(())
        }
        None => {
            add_type(cx.cpu, owner, table, frame, PageType::Writable)?;
            if let Some(word) = cx.machine().page(table).and_then(|page| page.get(index)) {
                word.store(value, Ordering::Release);
            }
            shadow::log::mark(cx.hv, owner, table);
            let _ = put_held(cx.cpu, table, frame);
            Ok(())
        }
    }
}

/// `HYPERVISOR_update_va_mapping`: writes the L1 entry of `addr` in the current address space.
#[inline(never)]
pub fn update_va_mapping<M: Machine>(
    cx: &Cx<'_, M>,
    addr: u64,
    value: u64,
    flags: u64,
) -> HcResult {
    update_va(cx, addr, value, flags, cx.domain().id)
}

/// `HYPERVISOR_update_va_mapping_otherdomain`: the same with a frame of domain `foreign`.
#[inline(never)]
pub fn update_va_mapping_otherdomain<M: Machine>(
    cx: &Cx<'_, M>,
    addr: u64,
    value: u64,
    flags: u64,
    foreign: u64,
) -> HcResult {
    let frames = frames_of(
        cx,
        u16::try_from(foreign & 0xffff).map_err(|_| Errno::EINVAL)?,
    )?;
    update_va(cx, addr, value, flags, frames)
}

fn update_va<M: Machine>(
    cx: &Cx<'_, M>,
    addr: u64,
    value: u64,
    flags: u64,
    frames: DomId,
) -> HcResult {
    let root = cx.vcpu.arch.lock().kernel_root.ok_or(Errno::EINVAL)?;
    let (table, index) = walk::find_l1(cx.machine(), root, addr).ok_or(Errno::EINVAL)?;
    let domain = cx.domain();
    let outcome = match get_held(cx.cpu, domain, table, PageType::L1) {
        Ok(frame) => {
            let place = EntryPlace {
                table,
                level: 1,
                index,
            };
            let outcome = replace_entry(cx.cpu, domain, frames, place, value, Update::Plain);
            // An L1 table is let go of in one go.
            let _ = put_held(cx.cpu, table, frame);
            outcome
        }
        Err(reason) => Err(reason.into()),
    };
    match outcome {
        Ok(_) => {}
        Err(MmError::Errno(errno)) => return Err(errno.into()),
        Err(MmError::Restart) => {
            return Err(Stop::Restart([
                addr,
                value,
                flags,
                u64::from(frames.0),
                0,
                0,
            ]));
        }
    }
    flush_after(cx, addr, flags)?;
    Ok(0)
}

/// Flushes as the `UVMF_*` bits say.
fn flush_after<M: Machine>(cx: &Cx<'_, M>, addr: u64, flags: u64) -> Result<(), Errno> {
    let kind = flags & UVMF_FLUSHTYPE_MASK;
    if kind != UVMF_TLB_FLUSH && kind != UVMF_INVLPG {
        return Ok(());
    }
    match flags & !UVMF_FLUSHTYPE_MASK {
        0 if kind == UVMF_INVLPG => cx.machine().invlpg(addr),
        0 => tlb::flush_local(cx.cpu),
        UVMF_ALL => tlb::flush(cx.cpu, &cx.domain().dirty_cpus()),
        mask => {
            let cpus = crate::mm::ext::cpus_of_mask(cx, mask)?;
            tlb::flush(cx.cpu, &cpus);
        }
    }
    Ok(())
}
