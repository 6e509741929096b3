//! `GNTTABOP_copy`: bytes between two frames, each the caller's own or granted to it, by its owner
//! or by a domain that passes on what was granted to it.

use alloc::sync::Arc;

use oxen_abi::grant_table::{
    Copy, CopyPtr, GNTCOPY_DEST_GREF, GNTCOPY_SOURCE_GREF, GNTST_BAD_COPY_ARG, GNTST_BAD_DOMAIN,
    GNTST_BAD_GNTREF, GNTST_GENERAL_ERROR, GNTST_OKAY, GNTST_PERMISSION_DENIED,
};

use crate::domain::Domain;
use crate::grant::entry::{Granted, Manner, Part, Target, Use};
use crate::grant::map::{hold_frame, let_frame_go};
use crate::grant::{Access, Status};
use crate::machine::Machine;
use crate::percpu::{Cx, PerCpu};
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
    if !from.part.has(at, len) || !to.part.has(to_at, len) {
        return Err(GNTST_GENERAL_ERROR);
    }
    if cx.machine().copy_bytes(to.mfn, to_at, from.mfn, at, len) {
        Ok(())
    } else {
        Err(GNTST_GENERAL_ERROR)
    }
}

/// One end of a copy, held until the copy is done.
struct End<'a, M: Machine> {
    cpu: &'a PerCpu<M>,
    mfn: Mfn,
    access: Access,
    part: Part,
    /// The grant, if it is one; and the other one that it passes on.
    grants: [Option<Grant<'a, M>>; 2],
}

impl<M: Machine> Drop for End<'_, M> {
    fn drop(&mut self) {
        // The frame first: the granting guest is told when nobody can write to it any more.
        let_frame_go(self.cpu, self.mfn, self.access);
    }
}

impl<'a, M: Machine> End<'a, M> {
    fn find(
        cx: &Cx<'a, M>,
        place: &CopyPtr,
        by_reference: bool,
        access: Access,
    ) -> Result<Self, Status> {
        let id = DomId(place.domid);
        let domain = cx.hv.domain(id, cx.vcpu).ok_or(GNTST_BAD_DOMAIN)?;
        if !by_reference {
            // Only one's own frames go by number.
            if id != DomId::SELF {
                return Err(GNTST_PERMISSION_DENIED);
            }
            return Self::frame(cx.cpu, &domain, Mfn(place.u), access);
        }
        let reference = u32::try_from(place.u & 0xffff_ffff).map_err(|_| GNTST_BAD_GNTREF)?;
        Self::grant(cx.cpu, domain, reference, cx.domain().id, access)
    }

    fn frame(
        cpu: &'a PerCpu<M>,
        owner: &Domain<M>,
        mfn: Mfn,
        access: Access,
    ) -> Result<Self, Status> {
        hold_frame(cpu, owner, mfn, access)?;
        Ok(Self {
            cpu,
            mfn,
            access,
            part: Part::WHOLE,
            grants: [None, None],
        })
    }

    /// What a grant leads to. It may pass one other grant on, but not one that is itself passed
    /// on, or of the same domain: so a guest makes no chains.
    fn grant(
        cpu: &'a PerCpu<M>,
        domain: Arc<Domain<M>>,
        reference: u32,
        grantee: DomId,
        access: Access,
    ) -> Result<Self, Status> {
        let (first, granted) = Grant::take(cpu, domain, reference, grantee, access)?;
        let (domain, reference) = match granted.target {
            Target::Frame(mfn) => {
                let mut end = Self::frame(cpu, &first.domain, mfn, access)?;
                end.part = granted.part.unwrap_or(Part::WHOLE);
                end.grants = [Some(first), None];
                return Ok(end);
            }
            Target::Onward { domain, reference } => (domain, reference),
        };
        let middle = first.domain.id;
        if domain == middle {
            return Err(GNTST_GENERAL_ERROR);
        }
        let domain = cpu.hv.domains.get(domain).ok_or(GNTST_GENERAL_ERROR)?;
        let (second, granted) = Grant::take(cpu, domain, reference, middle, access)?;
        let Target::Frame(mfn) = granted.target else {
            return Err(GNTST_GENERAL_ERROR);
        };
        let mut end = Self::frame(cpu, &second.domain, mfn, access)?;
        end.part = granted.part.unwrap_or(Part::WHOLE);
        end.grants = [Some(first), Some(second)];
        Ok(end)
    }
}

/// A use of a grant, counted until it is dropped.
struct Grant<'a, M: Machine> {
    cpu: &'a PerCpu<M>,
    domain: Arc<Domain<M>>,
    reference: u32,
    access: Access,
}

impl<'a, M: Machine> Grant<'a, M> {
    fn take(
        cpu: &'a PerCpu<M>,
        domain: Arc<Domain<M>>,
        reference: u32,
        grantee: DomId,
        access: Access,
    ) -> Result<(Self, Granted), Status> {
        let wanted = Use {
            grantee,
            access,
            manner: Manner::Copy,
        };
        let pinned = domain
            .grants
            .given()
            .pin(&cpu.hv.machine, reference, wanted)?;
        let grant = Self {
            cpu,
            domain,
            reference,
            access,
        };
        Ok((grant, pinned.granted))
    }
}

impl<M: Machine> Drop for Grant<'_, M> {
    fn drop(&mut self) {
        let machine = &self.cpu.hv.machine;
        let mut given = self.domain.grants.given();
        given.unpin(machine, self.reference, self.access);
    }
}
