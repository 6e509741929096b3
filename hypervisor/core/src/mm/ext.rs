//! `mmuext_op`: pinning, base pointers, TLB and cache flushes, LDT, whole-page operations.

use oxen_abi::errno::Errno;
use oxen_abi::mmu::*;
use oxen_abi::xen::VMASST_TYPE_M2P_STRICT;

use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::{CpuMask, Machine};
use crate::mm::frame::PageType;
use crate::mm::types::{MmError, get_type, pin, put_type, take_pin};
use crate::mm::update::{Batch, frames_of, leave_pending};
use crate::mm::{descriptor, get_page, put_page, shadow, tlb, walk};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, Mfn};

/// `HYPERVISOR_mmuext_op`: `count` operations at `ops`; the number done goes to `done`.
#[inline(never)]
pub fn mmuext_op<M: Machine>(
    cx: &Cx<'_, M>,
    ops: u64,
    count: u64,
    done: u64,
    foreign: u64,
) -> HcResult {
    let owner = frames_of(
        cx,
        u16::try_from(foreign & 0xffff).map_err(|_| Errno::EINVAL)?,
    )?;
    let size = core::mem::size_of::<MmuextOp>() as u64;
    Batch::new(cx, ops, size, count, done, foreign)?.run(cx, |at| {
        let op = GuestHandle::<MmuextOp>::new(at).read(cx.machine())?;
        one_op(cx, owner, op)
    })
}

fn one_op<M: Machine>(cx: &Cx<'_, M>, owner: DomId, op: MmuextOp) -> Result<(), MmError> {
    let foreign = owner != cx.domain().id;
    match op.cmd {
        MMUEXT_PIN_L1_TABLE => pin_table(cx, owner, Mfn(op.arg1), 1),
        MMUEXT_PIN_L2_TABLE => pin_table(cx, owner, Mfn(op.arg1), 2),
        MMUEXT_PIN_L3_TABLE => pin_table(cx, owner, Mfn(op.arg1), 3),
        MMUEXT_PIN_L4_TABLE => pin_table(cx, owner, Mfn(op.arg1), 4),
        MMUEXT_UNPIN_TABLE => unpin_table(cx, owner, Mfn(op.arg1)),
        MMUEXT_CLEAR_PAGE => clear_page(cx, owner, Mfn(op.arg1)),
        MMUEXT_COPY_PAGE => copy_page(cx, owner, Mfn(op.arg1), Mfn(op.arg2)),
        MMUEXT_MARK_SUPER | MMUEXT_UNMARK_SUPER => Err(Errno::EOPNOTSUPP.into()),
        // The rest acts on the calling vCPU's own address space.
        _ if foreign => Err(Errno::EPERM.into()),
        MMUEXT_NEW_BASEPTR => new_base(cx, Mfn(op.arg1)),
        MMUEXT_NEW_USER_BASEPTR => new_user_base(cx, Mfn(op.arg1)),
        MMUEXT_TLB_FLUSH_LOCAL => {
            tlb::flush_local(cx.cpu);
            Ok(())
        }
        MMUEXT_INVLPG_LOCAL => {
            if walk::is_canonical(op.arg1) && !walk::is_hypervisor(op.arg1) {
                cx.machine().invlpg(op.arg1);
            }
            Ok(())
        }
        MMUEXT_TLB_FLUSH_MULTI | MMUEXT_INVLPG_MULTI => {
            let cpus = cpus_of_mask(cx, op.arg2)?;
            tlb::flush(cx.cpu, &cpus);
            Ok(())
        }
        MMUEXT_TLB_FLUSH_ALL | MMUEXT_INVLPG_ALL => {
            tlb::flush(cx.cpu, &cx.domain().dirty_cpus());
            Ok(())
        }
        MMUEXT_FLUSH_CACHE | MMUEXT_FLUSH_CACHE_GLOBAL => {
            if !cx.domain().privileged {
                return Err(Errno::EACCES.into());
            }
            cx.machine().flush_cache();
            Ok(())
        }
        MMUEXT_SET_LDT => Ok(descriptor::set_ldt(cx, op.arg1, op.arg2 & 0xffff_ffff)?),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// The CPUs on which the vCPUs of the caller's bit mask (at `mask`) may have translations.
pub fn cpus_of_mask<M: Machine>(cx: &Cx<'_, M>, mask: u64) -> Result<CpuMask, Errno> {
    let vcpus = cx.domain().vcpus.read();
    let mut cpus = CpuMask::EMPTY;
    for (n, chunk) in vcpus.chunks(64).enumerate() {
        let mut bytes = [0; 8];
        let length = chunk.len().div_ceil(8).min(8);
        let Some(part) = bytes.get_mut(..length) else {
            break;
        };
        cx.machine()
            .copy_from_guest(mask.wrapping_add(8 * n as u64), part)
            .map_err(|_| Errno::EFAULT)?;
        let bits = u64::from_le_bytes(bytes);
        for (bit, vcpu) in chunk.iter().enumerate() {
            if bits & (1 << bit) != 0 {
                cpus.insert(vcpu.sched.cpu());
            }
        }
    }
    Ok(cpus)
}

fn pin_table<M: Machine>(cx: &Cx<'_, M>, owner: DomId, mfn: Mfn, level: u8) -> Result<(), MmError> {
    let domain = cx.hv.domains.get(owner).ok_or(Errno::ESRCH)?;
    if !get_page(cx.machine(), mfn, owner) {
        return Err(Errno::EINVAL.into());
    }
    let outcome = pin(cx.cpu, &domain, mfn, level);
    if outcome.is_ok() && domain.is_dying() && take_pin(cx.cpu, mfn) {
        // The domain may have been searched for pins already.
        leave_pending(cx, put_type(cx.cpu, mfn).err());
        put_page(cx.hv, mfn);
        return Err(Errno::EINVAL.into());
    }
    if outcome.is_err() {
        put_page(cx.hv, mfn);
    }
    outcome
}

fn unpin_table<M: Machine>(cx: &Cx<'_, M>, owner: DomId, mfn: Mfn) -> Result<(), MmError> {
    if !get_page(cx.machine(), mfn, owner) {
        return Err(Errno::EINVAL.into());
    }
    let pinned = take_pin(cx.cpu, mfn);
    if pinned {
        leave_pending(cx, put_type(cx.cpu, mfn).err());
        put_page(cx.hv, mfn);
    }
    put_page(cx.hv, mfn);
    if pinned {
        Ok(())
    } else {
        Err(Errno::EINVAL.into())
    }
}

/// Takes the references of an address-space root.
fn take_root<M: Machine>(cx: &Cx<'_, M>, mfn: Mfn) -> Result<(), MmError> {
    let domain = cx.domain();
    if !get_page(cx.machine(), mfn, domain.id) {
        return Err(Errno::EINVAL.into());
    }
    get_type(cx.cpu, domain, mfn, PageType::L4).inspect_err(|_| put_page(cx.hv, mfn))
}

/// Drops the references of a former root.
fn drop_root<M: Machine>(cx: &Cx<'_, M>, mfn: Mfn) {
    leave_pending(cx, put_type(cx.cpu, mfn).err());
    put_page(cx.hv, mfn);
}

/// Whether user mode is to be kept from the machine-to-physical table (`VMASST_TYPE_m2p_strict`).
fn is_strict<M: Machine>(cx: &Cx<'_, M>) -> bool {
    cx.domain().vm_assist.load(Ordering::Relaxed) & 1 << VMASST_TYPE_M2P_STRICT != 0
}

fn new_base<M: Machine>(cx: &Cx<'_, M>, mfn: Mfn) -> Result<(), MmError> {
    take_root(cx, mfn)?;
    if is_strict(cx) {
        cx.machine().show_m2p(mfn, true);
    }
    let old = cx.vcpu.arch.lock().kernel_root.replace(mfn);
    tlb::flushed_by(cx.cpu, || shadow::load_root(cx.cpu, cx.domain(), Some(mfn)));
    if let Some(old) = old {
        drop_root(cx, old);
    }
    Ok(())
}

fn new_user_base<M: Machine>(cx: &Cx<'_, M>, mfn: Mfn) -> Result<(), MmError> {
    let root = if mfn.0 == 0 {
        None
    } else {
        take_root(cx, mfn)?;
        if is_strict(cx) {
            cx.machine().show_m2p(mfn, false);
        }
        Some(mfn)
    };
    let old = core::mem::replace(&mut cx.vcpu.arch.lock().user_root, root);
    if let Some(old) = old {
        drop_root(cx, old);
    }
    Ok(())
}

/// Takes a reference that allows writing a frame of `owner`, runs `write`, drops it.
fn with_writable<M: Machine>(
    cx: &Cx<'_, M>,
    owner: DomId,
    mfn: Mfn,
    write: impl FnOnce(),
) -> Result<(), MmError> {
    if !get_page(cx.machine(), mfn, owner) {
        return Err(Errno::EINVAL.into());
    }
    let outcome = get_type(cx.cpu, cx.domain(), mfn, PageType::Writable);
    if outcome.is_ok() {
        write();
        shadow::log::mark_held(cx.hv, mfn);
        let _ = put_type(cx.cpu, mfn);
    }
    put_page(cx.hv, mfn);
    outcome
}

fn clear_page<M: Machine>(cx: &Cx<'_, M>, owner: DomId, mfn: Mfn) -> Result<(), MmError> {
    with_writable(cx, owner, mfn, || cx.machine().zero_page(mfn))
}

fn copy_page<M: Machine>(cx: &Cx<'_, M>, owner: DomId, to: Mfn, from: Mfn) -> Result<(), MmError> {
    if !get_page(cx.machine(), from, owner) {
        return Err(Errno::EINVAL.into());
    }
    let outcome = with_writable(cx, owner, to, || cx.machine().copy_page(to, from));
    put_page(cx.hv, from);
    outcome
}
