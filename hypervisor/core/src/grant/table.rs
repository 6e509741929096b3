//! The operations about a table as a whole: its size, its frames, the order of its entries.

use alloc::sync::Arc;

use oxen_abi::grant_table::{
    GNTST_BAD_DOMAIN, GNTST_BAD_GNTREF, GNTST_BAD_VIRT_ADDR, GNTST_EAGAIN, GNTST_GENERAL_ERROR,
    GNTST_OKAY, GNTST_PERMISSION_DENIED, GetStatusFrames, QuerySize, SetupTable, SwapGrantRef,
};

use crate::domain::Domain;
use crate::grant::Status;
use crate::grant::given::Kind;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::DomId;

/// The domain that an operation is about: the caller, or with privilege another.
pub(super) fn target<M: Machine>(cx: &Cx<'_, M>, id: u16) -> Result<Arc<Domain<M>>, Status> {
    let domain = cx.hv.domain(DomId(id), cx.vcpu).ok_or(GNTST_BAD_DOMAIN)?;
    if Arc::ptr_eq(&domain, cx.domain()) || cx.domain().privileged {
        Ok(domain)
    } else {
        Err(GNTST_PERMISSION_DENIED)
    }
}

fn status(outcome: Result<(), Status>) -> Status {
    match outcome {
        Ok(()) => GNTST_OKAY,
        Err(status) => status,
    }
}

/// `GNTTABOP_setup_table`: grows the table and lists its frames.
pub(super) fn setup<M: Machine>(cx: &Cx<'_, M>, op: &mut SetupTable) {
    op.status = status(list_frames(cx, op));
}

fn list_frames<M: Machine>(cx: &Cx<'_, M>, op: &SetupTable) -> Result<(), Status> {
    let domain = target(cx, op.dom)?;
    if op.nr_frames > domain.grants.max_frames() {
        return Err(GNTST_GENERAL_ERROR);
    }
    let list = GuestHandle::<u64>::new(op.frame_list);
    for index in 0..op.nr_frames {
        let mfn = domain.grants.frame_or_grow(cx.cpu, &domain, index);
        let mfn = mfn.ok_or(GNTST_GENERAL_ERROR)?;
        list.write_at(cx.machine(), u64::from(index), &mfn.0)
            .map_err(|_| GNTST_BAD_VIRT_ADDR)?;
    }
    Ok(())
}

/// `GNTTABOP_query_size`.
pub(super) fn query_size<M: Machine>(cx: &Cx<'_, M>, op: &mut QuerySize) {
    op.status = status(target(cx, op.dom).map(|domain| {
        op.nr_frames = domain.grants.frames();
        op.max_nr_frames = domain.grants.max_frames();
    }));
}

/// `GNTTABOP_get_status_frames`: lists those that there are.
pub(super) fn status_frames<M: Machine>(cx: &Cx<'_, M>, op: &mut GetStatusFrames) {
    op.status = status(list_status_frames(cx, op));
}

fn list_status_frames<M: Machine>(cx: &Cx<'_, M>, op: &GetStatusFrames) -> Result<(), Status> {
    let domain = target(cx, op.dom)?;
    if op.nr_frames > domain.grants.given().status_frames() {
        return Err(GNTST_GENERAL_ERROR);
    }
    let list = GuestHandle::<u64>::new(op.frame_list);
    for index in 0..op.nr_frames {
        let frame = domain.grants.given().frame(Kind::Status, index);
        let mfn = frame.ok_or(GNTST_GENERAL_ERROR)?;
        list.write_at(cx.machine(), u64::from(index), &mfn.0)
            .map_err(|_| GNTST_BAD_VIRT_ADDR)?;
    }
    Ok(())
}

/// `GNTTABOP_swap_grant_ref`: exchanges two entries that are not in use.
pub(super) fn swap<M: Machine>(cx: &Cx<'_, M>, op: &mut SwapGrantRef) {
    op.status = status(exchange(cx, op.ref_a, op.ref_b));
}

fn exchange<M: Machine>(cx: &Cx<'_, M>, a: u32, b: u32) -> Result<(), Status> {
    let table = cx.domain().grants.given();
    let first = table.slot(cx.machine(), a).ok_or(GNTST_BAD_GNTREF)?;
    let second = table.slot(cx.machine(), b).ok_or(GNTST_BAD_GNTREF)?;
    if a == b {
        return Ok(());
    }
    if table.is_in_use(a) || table.is_in_use(b) {
        return Err(GNTST_EAGAIN);
    }
    // Uses begin under the lock; only the guest itself can be writing to its words now.
    swap_words(first.head, second.head);
    if let (Some(first_body), Some(second_body)) = (first.body, second.body) {
        swap_words(first_body, second_body);
        let marks = first.marks.read();
        first.marks.write(second.marks.read());
        second.marks.write(marks);
    }
    Ok(())
}

fn swap_words(first: &AtomicU64, second: &AtomicU64) {
    let value = first.load(Ordering::Acquire);
    first.store(second.swap(value, Ordering::AcqRel), Ordering::Release);
}
