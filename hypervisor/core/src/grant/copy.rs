//! `GNTTABOP_copy`: bytes between two frames, each the caller's own or granted to it.

use alloc::sync::Arc;

use oxen_abi::grant_table::{
    Copy, CopyPtr, GNTCOPY_DEST_GREF, GNTCOPY_SOURCE_GREF, GNTST_BAD_COPY_ARG, GNTST_BAD_DOMAIN,
    GNTST_BAD_GNTREF, GNTST_GENERAL_ERROR, GNTST_OKAY, GNTST_PERMISSION_DENIED,
};

use crate::domain::Domain;
use crate::grant::map::{hold, hold_frame, let_frame_go, let_go};
use crate::grant::{Access, Status};
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::{DomId, Mfn, PAGE_SIZE};

/// Copies; returns the operation's status.
pub(super) fn copy<M: Machine>(cx: &Cx<'_, M>, op: &Copy) -> Status {
    match try_copy(cx, op) {
        Ok(()) => GNTST_OKAY,
        Err(status) => status,
    }
}

fn try_copy<M: Machine>(cx: &Cx<'_, M>, op: &Copy) -> Result<(), Status> {
    let by_reference = (
        op.flags & GNTCOPY_SOURCE_GREF != 0,
        op.flags & GNTCOPY_DEST_GREF != 0,
    );
    let from = End::find(cx, &op.source, by_reference.0, Access::Read)?;
    let to = End::find(cx, &op.dest, by_reference.1, Access::Write)?;
    let len = usize::from(op.len);
    let (at, to_at) = (usize::from(op.source.offset), usize::from(op.dest.offset));
    let page = usize::try_from(PAGE_SIZE).map_err(|_| GNTST_GENERAL_ERROR)?;
    if at + len > page || to_at + len > page {
        return Err(GNTST_BAD_COPY_ARG);
    }
    if cx.machine().copy_bytes(to.mfn, to_at, from.mfn, at, len) {
        Ok(())
    } else {
        Err(GNTST_GENERAL_ERROR)
    }
}

/// One end of a copy, held until the copy is done.
struct End<'a, M: Machine> {
    cx: &'a Cx<'a, M>,
    mfn: Mfn,
    access: Access,
    /// The grant, if it is one.
    grant: Option<(Arc<Domain<M>>, u32)>,
}

impl<'a, M: Machine> End<'a, M> {
    fn find(
        cx: &'a Cx<'a, M>,
        place: &CopyPtr,
        by_reference: bool,
        access: Access,
    ) -> Result<Self, Status> {
        let id = DomId(place.domid);
        if !by_reference {
            // Only one's own frames go by number.
            if id != DomId::SELF {
                return Err(GNTST_PERMISSION_DENIED);
            }
            let mfn = Mfn(place.u);
            hold_frame(cx.cpu, cx.domain(), mfn, access)?;
            return Ok(Self {
                cx,
                mfn,
                access,
                grant: None,
            });
        }
        let domain = cx.hv.domain(id, cx.vcpu).ok_or(GNTST_BAD_DOMAIN)?;
        let reference = u32::try_from(place.u & 0xffff_ffff).map_err(|_| GNTST_BAD_GNTREF)?;
        let pinned = hold(cx.cpu, cx.domain().id, &domain, reference, access)?;
        Ok(Self {
            cx,
            mfn: pinned.mfn,
            access,
            grant: Some((domain, reference)),
        })
    }
}

impl<M: Machine> Drop for End<'_, M> {
    fn drop(&mut self) {
        match &self.grant {
            Some((domain, reference)) => {
                let_go(self.cx.cpu, domain, *reference, self.mfn, self.access);
            }
            None => let_frame_go(self.cx.cpu, self.mfn, self.access),
        }
    }
}
