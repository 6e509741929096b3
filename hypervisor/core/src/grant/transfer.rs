//! `GNTTABOP_transfer`: a domain gives a frame of its memory, with what is in it, to another one
//! that has an entry ready for it.
//!
//! From the moment that the giver loses the frame it does not get it back: if the taker turns out
//! not to want it, it is freed.

use oxen_abi::grant_table::{
    GNTST_ADDRESS_TOO_BIG, GNTST_BAD_DOMAIN, GNTST_BAD_PAGE, GNTST_GENERAL_ERROR, GNTST_OKAY,
    GTF_ACCEPT_TRANSFER, GTF_TRANSFER_COMMITTED, GTF_TRANSFER_COMPLETED, Transfer,
};

use crate::grant::Status;
use crate::grant::given::Table;
use crate::machine::Machine;
use crate::mm::loose::{self, Room};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, Mfn};

/// How often an entry is tried against a guest that keeps changing it.
const TRIES: u32 = 5;

/// Gives one frame away; returns the operation's status.
pub(super) fn transfer<M: Machine>(cx: &Cx<'_, M>, op: &Transfer) -> Status {
    match give(cx, op) {
        Ok(()) => GNTST_OKAY,
        Err(status) => status,
    }
}

fn give<M: Machine>(cx: &Cx<'_, M>, op: &Transfer) -> Result<(), Status> {
    let frame = loose::take(cx.hv, cx.domain(), Mfn(op.mfn)).ok_or(GNTST_BAD_PAGE)?;
    // Dropped on each of the ways out below, it is freed.
    let taker = cx.hv.domains.get(DomId(op.domid)).ok_or(GNTST_BAD_DOMAIN)?;
    let room = Room::reserve(&taker).ok_or(GNTST_GENERAL_ERROR)?;
    let mfn = frame.mfn();
    let accepted = taker
        .grants
        .given()
        .accept(cx.machine(), op.ref_, cx.domain().id, mfn);
    accepted?;
    room.fill(cx.cpu, frame).ok_or(GNTST_GENERAL_ERROR)?;
    let pfn = taker.grants.given().complete(cx.machine(), op.ref_, mfn);
    // The taker said where in its memory the frame is to be.
    if let Some(pfn) = pfn {
        cx.machine().set_m2p(mfn, pfn);
    }
    Ok(())
}

impl Table {
    /// Marks an entry as about to take a frame of `giver`'s, if it is ready for that.
    fn accept<M: Machine>(
        &self,
        machine: &M,
        reference: u32,
        giver: DomId,
        mfn: Mfn,
    ) -> Result<(), Status> {
        let slot = self.slot(machine, reference).ok_or(GNTST_GENERAL_ERROR)?;
        if slot.body.is_none() && mfn.0 >> 32 != 0 {
            return Err(GNTST_ADDRESS_TOO_BIG);
        }
        let ready = u64::from(GTF_ACCEPT_TRANSFER) | u64::from(giver.0) << 16;
        let mut word = slot.head.load(Ordering::Acquire);
        for _ in 0..TRIES {
            if word & 0xffff_ffff != ready {
                break;
            }
            let committed = word | u64::from(GTF_TRANSFER_COMMITTED);
            match slot
                .head
                .compare_exchange(word, committed, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
        Err(GNTST_GENERAL_ERROR)
    }

    /// Tells the guest which frame it got; returns the number that the entry had for it. `None`
    /// if the entry went away meanwhile.
    fn complete<M: Machine>(&self, machine: &M, reference: u32, mfn: Mfn) -> Option<u64> {
        let slot = self.slot(machine, reference)?;
        let pfn = match slot.body {
            Some(body) => body.swap(mfn.0, Ordering::AcqRel),
            None => {
                let with_frame = |word: u64| Some(word & 0xffff_ffff | mfn.0 << 32);
                let word = slot
                    .head
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, with_frame);
                word.ok()? >> 32
            }
        };
        slot.head
            .fetch_or(u64::from(GTF_TRANSFER_COMPLETED), Ordering::AcqRel);
        Some(pfn)
    }
}
