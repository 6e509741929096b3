//! Grant tables, version 2, from this domain to itself. The table is back at version 1 at the end.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::Errno;
use oxen_abi::grant_table as abi;
use oxen_abi::xen::DOMID_SELF;

use super::grants::{Table, copy, end, op};
use super::grants_given::swap;
use super::{Outcome, Suite, ensure, good, map, place, same, unmap};
use crate::pagetable::{self, RW};
use crate::sys::frame::Frame;
use crate::sys::{hypercall, probe};

const REF: usize = 20;
const REFERENCE: u32 = 20;
const HOST: u32 = abi::GNTMAP_HOST_MAP;
const IN_USE: u16 = abi::GTF_READING | abi::GTF_WRITING;

/// Sets the version; returns the result and the version in force.
pub(crate) fn set_version(version: u32) -> (hypercall::Result, u32) {
    let mut arg = abi::SetVersion { version };
    (op(abi::GNTTABOP_SET_VERSION, &mut arg), arg.version)
}

/// The version in force.
fn version() -> Outcome<u32> {
    let mut arg = abi::GetVersion {
        dom: DOMID_SELF,
        ..abi::GetVersion::default()
    };
    same!(op(abi::GNTTABOP_GET_VERSION, &mut arg), Ok(0));
    Ok(arg.version)
}

/// Asks for status frames; returns the status and the first one.
fn status_frames(nr_frames: u32) -> Outcome<(i16, u64)> {
    let mut frames = [0; 8];
    let mut arg = abi::GetStatusFrames {
        nr_frames,
        dom: DOMID_SELF,
        frame_list: hypercall::slice_address(&mut frames),
        ..abi::GetStatusFrames::default()
    };
    same!(op(abi::GNTTABOP_GET_STATUS_FRAMES, &mut arg), Ok(0));
    Ok((arg.status, frames[0]))
}

/// The first frame of a version 2 table, and its status frame over an arena page.
pub(crate) struct TableV2 {
    entries: &'static [AtomicU64; 512],
    status_page: Frame,
}

impl TableV2 {
    /// Changes to version 2 and maps the status frame.
    pub(crate) fn new(table: &Table) -> Outcome<Self> {
        same!(set_version(2), (Ok(0), 2));
        let (status, mfn) = status_frames(1)?;
        same!(status, abi::GNTST_OKAY);
        let status_page = Frame::new();
        good!(pagetable::update_va(status_page.address(), mfn << 12 | RW));
        Ok(Self {
            entries: table.entries,
            status_page,
        })
    }

    /// Unmaps the status frame and goes back to version 1.
    fn end(self) -> Outcome {
        good!(pagetable::make_writable(self.status_page));
        same!(set_version(1), (Ok(0), 1));
        Ok(())
    }

    /// Writes an entry: flags, grantee, what is between, and the frame.
    pub(crate) fn write(&self, reference: usize, flags: u16, to: u16, middle: u32, body: u64) {
        self.entries[2 * reference + 1].store(body, Ordering::SeqCst);
        let head = u64::from(flags) | u64::from(to) << 16 | u64::from(middle) << 32;
        self.entries[2 * reference].store(head, Ordering::SeqCst);
    }

    fn clear(&self, reference: usize) {
        self.write(reference, 0, 0, 0, 0);
    }

    fn read(&self, reference: usize) -> (u64, u64) {
        (
            self.entries[2 * reference].load(Ordering::SeqCst),
            self.entries[2 * reference + 1].load(Ordering::SeqCst),
        )
    }

    /// The marks of an entry's uses.
    pub(crate) fn status(&self, reference: usize) -> u16 {
        let word = self.status_page.words()[reference / 4].load(Ordering::SeqCst);
        u16::try_from(word >> (reference % 4 * 16) & 0xffff).unwrap_or(0)
    }
}

fn versions(s: &mut Suite<'_>) {
    s.check("grants_v2/set_version", || {
        same!(version()?, 1);
        same!(set_version(1), (Ok(0), 1));
        for wrong in [0, 3, u32::MAX] {
            same!(set_version(wrong), (Err(Errno::EINVAL), 1));
        }
        same!(status_frames(0)?.0, abi::GNTST_OKAY);
        same!(status_frames(1)?.0, abi::GNTST_GENERAL_ERROR);
        same!(set_version(2), (Ok(0), 2));
        same!(version()?, 2);
        same!(set_version(2), (Ok(0), 2));
        same!(set_version(3), (Err(Errno::EINVAL), 2));
        let mut size = abi::QuerySize {
            dom: DOMID_SELF,
            ..abi::QuerySize::default()
        };
        same!(op(abi::GNTTABOP_QUERY_SIZE, &mut size), Ok(0));
        let frames = size.nr_frames.div_ceil(8);
        same!(status_frames(frames)?.0, abi::GNTST_OKAY);
        same!(status_frames(frames + 1)?.0, abi::GNTST_GENERAL_ERROR);
        same!(set_version(1), (Ok(0), 1));
        same!(version()?, 1);
        Ok(())
    });
}

fn changes(s: &mut Suite<'_>, table: &Table) {
    let own = table.domain;
    s.check("grants_v2/reserved_entries_stay", || {
        let page = Frame::new();
        table.grant(7, page.mfn(), abi::GTF_PERMIT_ACCESS | abi::GTF_READONLY);
        table.grant(8, page.mfn(), abi::GTF_PERMIT_ACCESS);
        let v2 = TableV2::new(table)?;
        let head = u64::from(abi::GTF_PERMIT_ACCESS | abi::GTF_READONLY) | u64::from(own) << 16;
        same!(v2.read(7), (head, page.mfn()));
        same!(v2.read(8), (0, 0));
        v2.write(6, abi::GTF_PERMIT_ACCESS, own, 0, page.mfn());
        v2.write(9, abi::GTF_PERMIT_ACCESS, own, 0, page.mfn());
        v2.end()?;
        same!(
            table.entries[7].load(Ordering::SeqCst),
            head | page.mfn() << 32
        );
        let head = u64::from(abi::GTF_PERMIT_ACCESS) | u64::from(own) << 16;
        same!(
            table.entries[6].load(Ordering::SeqCst),
            head | page.mfn() << 32
        );
        same!(table.entries[9].load(Ordering::SeqCst), 0);
        table.revoke(6);
        table.revoke(7);
        Ok(())
    });
    s.check("grants_v2/entries_in_use_keep_the_version", || {
        let (page, place) = (Frame::new(), place()?);
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS);
        let (status, handle) = map(own, REFERENCE, place.address(), HOST)?;
        same!(status, abi::GNTST_OKAY);
        same!(set_version(2), (Err(Errno::EBUSY), 1));
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        table.revoke(REF);
        // One of the first eight may be in use.
        table.grant(7, page.mfn(), abi::GTF_PERMIT_ACCESS);
        let (status, handle) = map(own, 7, place.address(), HOST)?;
        same!(status, abi::GNTST_OKAY);
        let v2 = TableV2::new(table)?;
        same!(v2.status(7), IN_USE);
        same!(v2.read(7).0 & 0xffff, u64::from(abi::GTF_PERMIT_ACCESS));
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        same!(v2.status(7), 0);
        v2.write(REF, abi::GTF_PERMIT_ACCESS, own, 0, page.mfn());
        let (status, handle) = map(own, REFERENCE, place.address(), HOST)?;
        same!(status, abi::GNTST_OKAY);
        same!(set_version(1), (Err(Errno::EBUSY), 2));
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        v2.end()?;
        table.revoke(7);
        Ok(())
    });
    s.check("grants_v2/mapped_status_keeps_the_version", || {
        let v2 = TableV2::new(table)?;
        same!(set_version(1), (Err(Errno::EBUSY), 2));
        same!(version()?, 2);
        v2.end()
    });
    s.check("grants_v2/what_version_1_cannot_say", || {
        let v2 = TableV2::new(table)?;
        good!(pagetable::make_writable(v2.status_page));
        v2.write(5, abi::GTF_PERMIT_ACCESS, own, 0, 1 << 32);
        same!(set_version(1), (Err(Errno::ERANGE), 2));
        v2.write(5, abi::GTF_TRANSITIVE, own, u32::from(own), 3);
        same!(set_version(1), (Err(Errno::ERANGE), 2));
        v2.clear(5);
        same!(set_version(1), (Ok(0), 1));
        Ok(())
    });
}

fn whole_frames(s: &mut Suite<'_>, table: &Table) {
    let own = table.domain;
    s.check("grants_v2/map_and_unmap", || {
        let v2 = TableV2::new(table)?;
        let (page, place) = (Frame::new(), place()?);
        page.fill(0x62);
        v2.write(REF, abi::GTF_PERMIT_ACCESS, own, 0, page.mfn());
        let (status, handle) = map(own, REFERENCE, place.address(), HOST)?;
        same!(status, abi::GNTST_OKAY);
        same!(probe::read(place.address()), Ok(0x62));
        same!(v2.status(REF), IN_USE);
        same!(v2.read(REF).0 & 0xffff, u64::from(abi::GTF_PERMIT_ACCESS));
        same!((v2.status(REF - 1), v2.status(REF + 1)), (0, 0));
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        same!(v2.status(REF), 0);
        // Read-only.
        let flags = abi::GTF_PERMIT_ACCESS | abi::GTF_READONLY;
        v2.write(REF, flags, own, 0, page.mfn());
        let (status, _) = map(own, REFERENCE, place.address(), HOST)?;
        same!(status, abi::GNTST_GENERAL_ERROR);
        let flags = HOST | abi::GNTMAP_READONLY;
        let (status, handle) = map(own, REFERENCE, place.address(), flags)?;
        same!(status, abi::GNTST_OKAY);
        same!(v2.status(REF), abi::GTF_READING);
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        v2.clear(REF);
        v2.end()
    });
    s.check("grants_v2/map_refused", || {
        let v2 = TableV2::new(table)?;
        let (page, place) = (Frame::new(), place()?);
        let access = abi::GTF_PERMIT_ACCESS;
        for (flags, to, frame, expected) in [
            (abi::GTF_INVALID, own, page.mfn(), abi::GNTST_GENERAL_ERROR),
            (
                abi::GTF_ACCEPT_TRANSFER,
                own,
                page.mfn(),
                abi::GNTST_GENERAL_ERROR,
            ),
            (
                abi::GTF_TRANSITIVE,
                own,
                page.mfn(),
                abi::GNTST_GENERAL_ERROR,
            ),
            (
                access | abi::GTF_SUB_PAGE,
                own,
                page.mfn(),
                abi::GNTST_GENERAL_ERROR,
            ),
            (access, 0x7f00, page.mfn(), abi::GNTST_GENERAL_ERROR),
            (access, own, super::mappings::NO_FRAME, abi::GNTST_BAD_PAGE),
            (access, own, u64::MAX, abi::GNTST_BAD_PAGE),
        ] {
            v2.write(REF, flags, to, 0, frame);
            same!(map(own, REFERENCE, place.address(), HOST)?.0, expected);
            same!(v2.status(REF), 0);
        }
        // Half as many entries fit in a frame.
        let mut size = abi::QuerySize {
            dom: DOMID_SELF,
            ..abi::QuerySize::default()
        };
        same!(op(abi::GNTTABOP_QUERY_SIZE, &mut size), Ok(0));
        let past = size.nr_frames * 256;
        same!(
            map(own, past, place.address(), HOST)?.0,
            abi::GNTST_BAD_GNTREF
        );
        v2.clear(REF);
        v2.end()
    });
    s.check("grants_v2/swap", || {
        let v2 = TableV2::new(table)?;
        v2.write(REF, abi::GTF_PERMIT_ACCESS, own, 0, 0x1_2345_6789);
        v2.write(REF + 1, abi::GTF_PERMIT_ACCESS, 0x7f00, 0, 3);
        let (first, second) = (v2.read(REF), v2.read(REF + 1));
        same!(swap(REFERENCE, REFERENCE + 1)?, abi::GNTST_OKAY);
        same!((v2.read(REF), v2.read(REF + 1)), (second, first));
        v2.clear(REF);
        v2.clear(REF + 1);
        v2.end()
    });
}

fn copies(s: &mut Suite<'_>, table: &Table) {
    let own = table.domain;
    s.check("grants_v2/part_of_a_frame", || {
        let v2 = TableV2::new(table)?;
        let (page, place) = (Frame::new(), Frame::new());
        page.fill(0x1717_1717_1717_1717);
        // 64 bytes from 128 on.
        let flags = abi::GTF_PERMIT_ACCESS | abi::GTF_SUB_PAGE;
        v2.write(REF, flags, own, 128 | 64 << 16, page.mfn());
        let to = end(place.mfn(), DOMID_SELF, 0);
        for (offset, len, expected) in [
            (128, 64, abi::GNTST_OKAY),
            (136, 8, abi::GNTST_OKAY),
            (191, 1, abi::GNTST_OKAY),
            (192, 0, abi::GNTST_OKAY),
            (127, 8, abi::GNTST_GENERAL_ERROR),
            (136, 57, abi::GNTST_GENERAL_ERROR),
            (192, 1, abi::GNTST_GENERAL_ERROR),
            (0, 4096, abi::GNTST_GENERAL_ERROR),
            (4090, 7, abi::GNTST_BAD_COPY_ARG),
        ] {
            let from = end(u64::from(REFERENCE), own, offset);
            let status = copy(from, to, len, abi::GNTCOPY_SOURCE_GREF)?;
            ensure!(status == expected, "{len} from {offset}: {status}");
            same!(v2.status(REF), 0);
        }
        // Into it.
        let into = end(u64::from(REFERENCE), own, 160);
        let flag = abi::GNTCOPY_DEST_GREF;
        place.fill(0x18);
        same!(copy(to, into, 8, flag)?, abi::GNTST_OKAY);
        same!(page.words()[20].load(Ordering::Relaxed), 0x18);
        let into = end(u64::from(REFERENCE), own, 192);
        same!(copy(to, into, 8, flag)?, abi::GNTST_GENERAL_ERROR);
        v2.clear(REF);
        v2.end()
    });
    s.check("grants_v2/passed_on_to_itself", || {
        let v2 = TableV2::new(table)?;
        let (page, place) = (Frame::new(), Frame::new());
        v2.write(REF, abi::GTF_PERMIT_ACCESS, own, 0, page.mfn());
        v2.write(
            REF + 1,
            abi::GTF_TRANSITIVE,
            own,
            u32::from(own),
            REF as u64,
        );
        let from = end(u64::from(REFERENCE) + 1, own, 0);
        let to = end(place.mfn(), DOMID_SELF, 0);
        let flag = abi::GNTCOPY_SOURCE_GREF;
        same!(copy(from, to, 8, flag)?, abi::GNTST_GENERAL_ERROR);
        v2.write(REF + 1, abi::GTF_TRANSITIVE, own, 0x1234, REF as u64);
        same!(copy(from, to, 8, flag)?, abi::GNTST_GENERAL_ERROR);
        same!((v2.status(REF), v2.status(REF + 1)), (0, 0));
        v2.clear(REF);
        v2.clear(REF + 1);
        v2.end()
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    versions(s);
    // That this works is `grants`' to check.
    if let Ok(table) = Table::new() {
        changes(s, &table);
        whole_frames(s, &table);
        copies(s, &table);
    }
}
