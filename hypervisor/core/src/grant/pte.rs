//! The page-table entry of a mapped grant: putting it into the caller's tables and taking it out.

use oxen_abi::grant_table::{
    GNTMAP_CONTAINS_PTE, GNTMAP_READONLY, GNTST_EAGAIN, GNTST_GENERAL_ERROR, GTF_PAT, GTF_PCD,
    GTF_PWT,
};

use crate::grant::Status;
use crate::machine::Machine;
use crate::mm::entry::{EntryPlace, Update, replace_leaf};
use crate::mm::frame::{Frame, PageType};
use crate::mm::types::{get_held, put_held, read_entry};
use crate::mm::{MmError, pte, walk};
use crate::percpu::Cx;
use crate::types::{DomId, Mfn, PAGE_SIZE};

/// An entry in an L1 table of the caller's, on which references are held while it is worked on.
struct Place<'a, M: Machine> {
    cx: &'a Cx<'a, M>,
    frame: Frame,
    at: EntryPlace,
}

impl<M: Machine> Drop for Place<'_, M> {
    fn drop(&mut self) {
        // An L1 table is let go of in one go.
        let _ = put_held(self.cx.cpu, self.at.table, self.frame);
    }
}

impl<'a, M: Machine> Place<'a, M> {
    /// The entry at a machine address (`GNTMAP_contains_pte`), or the one that translates a
    /// virtual address in the caller's current address space.
    fn find(cx: &'a Cx<'a, M>, host_addr: u64, flags: u32) -> Result<Self, Status> {
        let (table, index) = if flags & GNTMAP_CONTAINS_PTE != 0 {
            if !host_addr.is_multiple_of(8) {
                return Err(GNTST_GENERAL_ERROR);
            }
            let table = Mfn::containing(host_addr);
            let index = usize::try_from((host_addr % PAGE_SIZE) / 8);
            // Taking the type would make one of a frame that only looks like a table.
            let frame = cx.machine().frame(table);
            let types = frame.ok_or(GNTST_GENERAL_ERROR)?.types();
            if !types.held() || types.kind() != PageType::L1 {
                return Err(GNTST_GENERAL_ERROR);
            }
            (table, index.map_err(|_| GNTST_GENERAL_ERROR)?)
        } else {
            if !host_addr.is_multiple_of(PAGE_SIZE) {
                return Err(GNTST_GENERAL_ERROR);
            }
            let root = cx.vcpu.arch.lock().kernel_root.ok_or(GNTST_GENERAL_ERROR)?;
            walk::find_l1(cx.machine(), root, host_addr).ok_or(GNTST_GENERAL_ERROR)?
        };
        let frame = get_held(cx.cpu, cx.domain(), table, PageType::L1)
            .map_err(|reason| status_of(reason.into()))?;
        let at = EntryPlace {
            table,
            level: 1,
            index,
        };
        Ok(Self { cx, frame, at })
    }

    fn read(&self) -> u64 {
        read_entry(self.cx.machine(), self.at.table, self.at.index)
    }

    fn write(&self, frames_of: DomId, new: u64, how: Update) -> Result<(), MmError> {
        let (cpu, domain) = (self.cx.cpu, self.cx.domain());
        replace_leaf(cpu, domain, frames_of, self.at, new, how)
    }
}

fn status_of(error: MmError) -> Status {
    match error {
        MmError::Errno(_) => GNTST_GENERAL_ERROR,
        MmError::Restart => GNTST_EAGAIN,
    }
}

/// The entry's bits for a mapping with these `GNTMAP_*` flags of a grant with these `GTF_*` flags.
/// Every entry is accessible at CPL 3 already, where PV kernels run.
fn bits(flags: u32, cache: u16) -> u64 {
    let mut bits = pte::PRESENT | pte::ACCESSED | pte::DIRTY | pte::USER | pte::NX;
    if flags & GNTMAP_READONLY == 0 {
        bits |= pte::RW;
    }
    // Three of the bits that the ABI calls available; they become bits 9 to 11.
    bits |= u64::from((flags >> 16) & 7) << 9;
    for (flag, bit) in [
        (GTF_PWT, pte::PWT),
        (GTF_PCD, pte::PCD),
        (GTF_PAT, pte::PSE),
    ] {
        if cache & flag != 0 {
            bits |= bit;
        }
    }
    bits
}

/// Maps a frame of `owner`'s at `host_addr`. What was mapped there is unmapped.
pub(super) fn map<M: Machine>(
    cx: &Cx<'_, M>,
    owner: DomId,
    mfn: Mfn,
    host_addr: u64,
    flags: u32,
    cache: u16,
) -> Result<(), Status> {
    let place = Place::find(cx, host_addr, flags)?;
    place
        .write(owner, pte::make(mfn, bits(flags, cache)), Update::Plain)
        .map_err(status_of)
}

/// Unmaps a frame from `host_addr`, where it must be mapped with the same right to write.
/// `new_addr`, if not 0, is an address whose mapping moves to `host_addr`.
pub(super) fn unmap<M: Machine>(
    cx: &Cx<'_, M>,
    mfn: Mfn,
    host_addr: u64,
    new_addr: u64,
    flags: u32,
) -> Result<(), Status> {
    let place = Place::find(cx, host_addr, flags)?;
    let old = place.read();
    let wanted = pte::make(mfn, bits(flags, 0));
    let compared = pte::ADDR | pte::PRESENT | pte::RW;
    if (old ^ wanted) & compared != 0 {
        return Err(GNTST_GENERAL_ERROR);
    }
    if new_addr == 0 {
        return clear(&place, old);
    }
    if flags & GNTMAP_CONTAINS_PTE != 0 {
        return Err(GNTST_GENERAL_ERROR);
    }
    let from = Place::find(cx, new_addr, 0)?;
    let moved = from.read();
    place
        .write(cx.domain().id, moved, Update::IfStill(old))
        .map_err(status_of)?;
    clear(&from, moved)
}

/// Takes out an entry whose value is known; the processor may still set its accessed and dirty
/// bits.
fn clear<M: Machine>(place: &Place<'_, M>, seen: u64) -> Result<(), Status> {
    const TRIES: u32 = 4;
    let mut old = seen;
    for _ in 0..TRIES {
        match place.write(place.cx.domain().id, 0, Update::IfStill(old)) {
            Ok(()) => return Ok(()),
            Err(MmError::Errno(_)) => return Err(GNTST_GENERAL_ERROR),
            Err(MmError::Restart) => {
                old = place.read();
                if (old ^ seen) & !(pte::ACCESSED | pte::DIRTY) != 0 {
                    return Err(GNTST_GENERAL_ERROR);
                }
            }
        }
    }
    Err(GNTST_EAGAIN)
}
