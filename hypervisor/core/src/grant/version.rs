//! `GNTTABOP_set_version` and `GNTTABOP_get_version`.
//!
//! A change of version clears the table. The first eight entries are kept: the tools put the
//! console's and the store's ring there before the guest runs, and have them mapped meanwhile.

use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::grant_table::{
    GNTST_PERMISSION_DENIED, GNTTAB_NR_RESERVED_ENTRIES, GTF_PERMIT_ACCESS, GTF_READING,
    GTF_TRANSITIVE, GTF_TYPE_MASK, GTF_WRITING, GetVersion,
};

use crate::grant::given::{Table, Version};
use crate::grant::table::target;
use crate::machine::Machine;
use crate::mm::{Purpose, alloc_frames, release_shared};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::Mfn;

const MARKS: u16 = GTF_READING | GTF_WRITING;
/// The bits of an entry's first word: flags and grantee.
const HEAD: u64 = 0xffff_ffff;

/// `GNTTABOP_get_version`.
pub(super) fn get<M: Machine>(cx: &Cx<'_, M>, op: &mut GetVersion) -> Result<(), Errno> {
    match target(cx, op.dom) {
        Ok(domain) => {
            op.version = domain.grants.version().number();
            Ok(())
        }
        Err(GNTST_PERMISSION_DENIED) => Err(Errno::EPERM),
        Err(_) => Err(Errno::ESRCH),
    }
}

/// `GNTTABOP_set_version` of the caller's table. `EINVAL` for a version there is not, `ENOSYS`
/// for one that the domain may not have, `EBUSY` while entries other than the reserved ones are in
/// use or status frames are mapped, `ERANGE` when a reserved entry can't be said in version 1.
pub(super) fn set<M: Machine>(cx: &Cx<'_, M>, number: u32) -> Result<(), Errno> {
    let version = Version::from_number(number).ok_or(Errno::EINVAL)?;
    if number > cx.domain().grants.max_version.number() {
        return Err(Errno::ENOSYS);
    }
    let mut status = Vec::new();
    let outcome = change(cx, version, &mut status);
    for mfn in status {
        release_shared(cx.cpu, mfn);
    }
    outcome
}

/// Changes the version. Frames that are left over, old ones and new ones, are put into `status`.
fn change<M: Machine>(
    cx: &Cx<'_, M>,
    version: Version,
    status: &mut Vec<Mfn>,
) -> Result<(), Errno> {
    let grants = &cx.domain().grants;
    loop {
        let wanted = {
            let mut table = grants.given();
            if table.version() == version {
                return Ok(());
            }
            if table.is_busy() {
                return Err(Errno::EBUSY);
            }
            let wanted = version.status_frames(table.frames());
            if length(status) >= wanted {
                return switch(cx.machine(), &mut table, version, status);
            }
            wanted
        };
        status
            .try_reserve(wanted as usize)
            .map_err(|_| Errno::ENOMEM)?;
        // Allocation may flush TLBs, so it is done without the lock.
        while length(status) < wanted {
            let mfn = alloc_frames(cx.cpu, cx.domain(), 0, 64, Purpose::Shared);
            status.push(mfn.ok_or(Errno::ENOMEM)?);
        }
    }
}

fn length(list: &[Mfn]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

/// A reserved entry, in terms of both versions.
#[derive(Clone, Copy, Default)]
struct Kept {
    head: u64,
    marks: u16,
    frame: u64,
}

#[allow(clippy::cast_possible_truncation, reason = "the flags of the word")]
fn switch<M: Machine>(
    machine: &M,
    table: &mut Table,
    version: Version,
    status: &mut Vec<Mfn>,
) -> Result<(), Errno> {
    let mut kept = [Kept::default(); GNTTAB_NR_RESERVED_ENTRIES as usize];
    for (reference, kept) in (0..).zip(&mut kept) {
        let Some(slot) = table.slot(machine, reference) else {
            continue;
        };
        let head = slot.head.load(Ordering::Acquire);
        let flags = head as u16;
        *kept = match slot.body {
            None => Kept {
                head: head & HEAD & !u64::from(MARKS),
                marks: flags & MARKS,
                frame: head >> 32,
            },
            Some(body) => {
                let frame = body.load(Ordering::Acquire);
                match flags & GTF_TYPE_MASK {
                    GTF_PERMIT_ACCESS if frame >> 32 == 0 => {}
                    GTF_PERMIT_ACCESS | GTF_TRANSITIVE => return Err(Errno::ERANGE),
                    _ => {}
                }
                Kept {
                    head: head & HEAD,
                    marks: slot.marks.read() & MARKS,
                    frame: frame & HEAD,
                }
            }
        };
    }
    let mapped = |mfn: Mfn| machine.frame(mfn).is_some_and(|it| it.count().count() != 1);
    let old = 0..table.status_frames();
    if version == Version::V1
        && old
            .filter_map(|index| table.frame(super::Kind::Status, index))
            .any(mapped)
    {
        return Err(Errno::EBUSY);
    }
    let spare =
        status.split_off((version.status_frames(table.frames()) as usize).min(status.len()));
    let new = core::mem::replace(status, spare);
    let old = table.change(machine, version, new);
    // Only one of the two versions has any.
    if status.is_empty() {
        *status = old;
    }
    for (reference, kept) in (0..).zip(&kept) {
        let Some(slot) = table.slot(machine, reference) else {
            continue;
        };
        match slot.body {
            None => {
                let word = kept.head | u64::from(kept.marks) | kept.frame << 32;
                slot.head.store(word, Ordering::Release);
            }
            Some(body) => {
                body.store(kept.frame, Ordering::Release);
                slot.marks.write(kept.marks);
                slot.head.store(kept.head, Ordering::Release);
            }
        }
    }
    Ok(())
}
