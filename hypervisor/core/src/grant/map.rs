//! `GNTTABOP_map_grant_ref`.

use alloc::sync::Arc;

use oxen_abi::grant_table::{
    GNTMAP_DEVICE_MAP, GNTMAP_HOST_MAP, GNTMAP_READONLY, GNTST_BAD_DOMAIN, GNTST_BAD_GNTREF,
    GNTST_BAD_PAGE, GNTST_EAGAIN, GNTST_GENERAL_ERROR, GNTST_OKAY, MapGrantRef,
};

use crate::domain::Domain;
use crate::grant::entry::{Manner, Target, Use};
use crate::grant::maptrack::Mapping;
use crate::grant::{Access, Status, pte};
use crate::machine::Machine;
use crate::mm::frame::PageType;
use crate::mm::types::{NotHeld, get_held, put_held};
use crate::mm::{MmError, get_page, put_last, shadow};
use crate::percpu::{Cx, PerCpu};
use crate::types::{DomId, Mfn};

/// Maps a grant for the caller; fills in status, handle and bus address.
pub(super) fn map<M: Machine>(cx: &Cx<'_, M>, op: &mut MapGrantRef) {
    op.status = match try_map(cx, op) {
        Ok(()) => GNTST_OKAY,
        Err(status) => status,
    };
}

fn try_map<M: Machine>(cx: &Cx<'_, M>, op: &mut MapGrantRef) -> Result<(), Status> {
    if op.flags & (GNTMAP_DEVICE_MAP | GNTMAP_HOST_MAP) == 0 {
        return Err(GNTST_BAD_GNTREF);
    }
    let domain = cx.hv.domains.get(DomId(op.dom)).ok_or(GNTST_BAD_DOMAIN)?;
    let access = if op.flags & GNTMAP_READONLY != 0 {
        Access::Read
    } else {
        Access::Write
    };
    let handle = cx.domain().grants.taken().reserve()?;
    match hold(cx.cpu, cx.domain().id, &domain, op.ref_, access) {
        Ok((mfn, cache)) => {
            if op.flags & GNTMAP_HOST_MAP != 0
                && let Err(status) = pte::map(cx, domain.id, mfn, op.host_addr, op.flags, cache)
            {
                let_go(cx.cpu, &domain, op.ref_, mfn, access);
                cx.domain().grants.taken().release(handle);
                return Err(status);
            }
            op.handle = handle;
            op.dev_bus_addr = mfn.address();
            let mapping = Mapping {
                domain,
                reference: op.ref_,
                flags: op.flags,
                mfn,
                host_addr: op.host_addr,
            };
            cx.domain().grants.taken().fill(handle, mapping);
            Ok(())
        }
        Err(status) => {
            cx.domain().grants.taken().release(handle);
            Err(status)
        }
    }
}

/// Uses a grant for a mapping: counts it, and takes the references that a mapping holds. Returns
/// the frame and the entry's flags, which say how to cache it.
fn hold<M: Machine>(
    cpu: &PerCpu<M>,
    grantee: DomId,
    domain: &Arc<Domain<M>>,
    reference: u32,
    access: Access,
) -> Result<(Mfn, u16), Status> {
    let machine = &cpu.hv.machine;
    let wanted = Use {
        grantee,
        access,
        manner: Manner::Map,
    };
    let pinned = domain.grants.given().pin(machine, reference, wanted)?;
    let held = match pinned.granted.target {
        Target::Frame(mfn) => hold_frame(cpu, domain, mfn, access).map(|()| mfn),
        Target::Onward { .. } => Err(GNTST_GENERAL_ERROR),
    };
    match held {
        Ok(mfn) => Ok((mfn, pinned.flags)),
        Err(status) => {
            domain.grants.given().unpin(machine, reference, access);
            Err(status)
        }
    }
}

/// A general reference on a frame of the domain's, and the writable type for writing.
pub(super) fn hold_frame<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Domain<M>,
    mfn: Mfn,
    access: Access,
) -> Result<(), Status> {
    if access == Access::Read {
        return if get_page(&cpu.hv.machine, mfn, domain.id) {
            Ok(())
        } else {
            Err(GNTST_BAD_PAGE)
        };
    }
    match get_held(cpu, domain, mfn, PageType::Writable) {
        Ok(_) => Ok(()),
        Err(NotHeld::Foreign) => Err(GNTST_BAD_PAGE),
        Err(NotHeld::Type(MmError::Errno(_))) => Err(GNTST_GENERAL_ERROR),
        Err(NotHeld::Type(MmError::Restart)) => Err(GNTST_EAGAIN),
    }
}

/// Takes back what [`hold`] did.
pub(super) fn let_go<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Arc<Domain<M>>,
    reference: u32,
    mfn: Mfn,
    access: Access,
) {
    let_frame_go(cpu, mfn, access);
    domain
        .grants
        .given()
        .unpin(&cpu.hv.machine, reference, access);
}

/// Takes back what [`hold_frame`] did.
pub(super) fn let_frame_go<M: Machine>(cpu: &PerCpu<M>, mfn: Mfn, access: Access) {
    let Some(frame) = cpu.hv.machine.frame(mfn) else {
        return;
    };
    if access == Access::Write {
        shadow::log::mark_held(cpu.hv, mfn);
        // No page table, so never unfinished.
        let _ = put_held(cpu, mfn, frame);
    } else if !frame.put_shared() {
        put_last(cpu.hv, mfn);
    }
}
