//! `GNTTABOP_cache_flush`: cache lines of a frame that the caller owns or has mapped, written back
//! for a device that does not look into the caches.

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::{
    CacheFlush, GNTTAB_CACHE_CLEAN, GNTTAB_CACHE_INVAL, GNTTAB_CACHE_SOURCE_GREF,
};

use crate::grant::maptrack::Found;
use crate::machine::Machine;
use crate::mm::{MmError, get_page, put_page};
use crate::percpu::Cx;
use crate::types::{DomId, Mfn, PAGE_SIZE};

/// Does one operation. `EINVAL` for a range past the frame, an unknown operation or no such frame,
/// `EOPNOTSUPP` for what x86 or Xen can't do (drop lines without writing them back, references
/// instead of addresses), `EPERM` for frames of others that are not mapped. To be made again when the look through a large
/// number of handles was stopped.
pub(super) fn flush<M: Machine>(cx: &Cx<'_, M>, op: &CacheFlush) -> Result<(), MmError> {
    let (offset, length) = (u64::from(op.offset), u64::from(op.length));
    if offset >= PAGE_SIZE
        || offset + length > PAGE_SIZE
        || op.op & !(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL) != 0
    {
        return Err(Errno::EINVAL.into());
    }
    if length == 0 || op.op == 0 {
        return Ok(());
    }
    if op.op & GNTTAB_CACHE_SOURCE_GREF != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let mfn = Mfn::containing(op.a);
    let owner = cx
        .machine()
        .frame(mfn)
        .map(|frame| frame.count().owner())
        .ok_or(Errno::EINVAL)?;
    if !get_page(cx.machine(), mfn, owner) {
        return Err(Errno::EPERM.into());
    }
    let outcome = may_flush(cx, mfn, owner).and_then(|()| {
        if op.op & GNTTAB_CACHE_CLEAN == 0 {
            return Err(Errno::EOPNOTSUPP.into());
        }
        cx.machine()
            .flush_lines(mfn, usize::from(op.offset), usize::from(op.length));
        Ok(())
    });
    put_page(cx.hv, mfn);
    outcome
}

/// Whether the frame is the caller's, or one that it has mapped.
fn may_flush<M: Machine>(cx: &Cx<'_, M>, mfn: Mfn, owner: DomId) -> Result<(), MmError> {
    if owner == cx.domain().id {
        return Ok(());
    }
    loop {
        let found = cx.domain().grants.taken().has_mapped(mfn);
        match found {
            Found::Answer(true) => return Ok(()),
            Found::Answer(false) => return Err(Errno::EPERM.into()),
            Found::NotYet if cx.cpu.preempt_needed() => return Err(MmError::Restart),
            Found::NotYet => {}
        }
    }
}
