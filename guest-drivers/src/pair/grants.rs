//! Grants between two domains past the first version: parts, grants passed on, frames given away,
//! and the frames of another's table as a resource.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::grant_table as abi;
use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory as mem;
use oxen_abi::xen::DOMID_SELF;

use super::sharing::Peer;
use super::{free_pages, memory_is_back};
use crate::conformance::{
    Outcome, Suite, Table, copy, copy_end, ensure, faulted, give, good, map, place, renew, same,
    some, unmap,
};
use crate::domain::control;
use crate::pagetable::{self, RO};
use crate::peer;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, probe};

const IN_USE: u64 = (abi::GTF_READING | abi::GTF_WRITING) as u64;

fn said(peer: &Peer) -> u64 {
    peer.domain.shared(peer::VALUE).load(Ordering::SeqCst)
}

/// `XENMEM_acquire_resource`; `frames` are filled in.
fn acquire(domid: u16, type_: u16, id: u32, frames: &mut [u64]) -> hypercall::Result {
    let mut arg = mem::AcquireResource {
        domid,
        type_,
        id,
        nr_frames: u32::try_from(frames.len()).unwrap_or(0),
        frame_list: hypercall::slice_address(frames),
        ..mem::AcquireResource::default()
    };
    hypercall::op(HYPERVISOR_MEMORY_OP, mem::XENMEM_ACQUIRE_RESOURCE, &mut arg)
}

/// The same with no list: how many frames there can be.
fn resource_size(domid: u16, type_: u16, id: u32) -> Outcome<Result<u32, Errno>> {
    let mut arg = mem::AcquireResource {
        domid,
        type_,
        id,
        ..mem::AcquireResource::default()
    };
    let result = hypercall::op(HYPERVISOR_MEMORY_OP, mem::XENMEM_ACQUIRE_RESOURCE, &mut arg);
    Ok(result.map(|_| arg.nr_frames))
}

fn version_2(s: &mut Suite<'_>) {
    s.check("pair/grant_v2", || {
        let mut peer = Peer::start()?;
        let id = peer.domain.id;
        peer.ask(peer::VERSION_2)?;
        let place = place()?;
        let (status, handle) = map(id, peer::WRITABLE, place.address(), abi::GNTMAP_HOST_MAP)?;
        same!(status, abi::GNTST_OKAY);
        good!(probe::write(place.address(), 41));
        peer.ask(peer::INCREMENT)?;
        same!(probe::read(place.address()), Ok(42));
        peer.ask(peer::REPORT_FLAGS)?;
        same!(said(&peer), IN_USE);
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        peer.ask(peer::REPORT_FLAGS)?;
        same!(said(&peer), 0);
        faulted(probe::read(place.address()), probe::PF)?;
        // A part of a page: to be copied, not to be mapped.
        let read_only = abi::GNTMAP_HOST_MAP | abi::GNTMAP_READONLY;
        let (status, _) = map(id, peer::READABLE, place.address(), read_only)?;
        same!(status, abi::GNTST_GENERAL_ERROR);
        let page = Frame::new();
        let own = copy_end(page.mfn(), DOMID_SELF, 0);
        let (first, length) = peer::PART;
        let flag = abi::GNTCOPY_SOURCE_GREF;
        let from = |offset| copy_end(u64::from(peer::READABLE), id, offset);
        same!(copy(from(first), own, length, flag)?, abi::GNTST_OKAY);
        same!(page.words()[7].load(Ordering::Relaxed), peer::PATTERN);
        same!(
            copy(from(first - 1), own, 8, flag)?,
            abi::GNTST_GENERAL_ERROR
        );
        same!(
            copy(from(first), own, length + 1, flag)?,
            abi::GNTST_GENERAL_ERROR
        );
        peer.end()
    });
    s.check("pair/grant_passed_on", || {
        // This domain's own table stays.
        let table = Table::new()?;
        let before = free_pages()?;
        let mut peer = Peer::start()?;
        let id = peer.domain.id;
        let (page, own, reference) = (Frame::new(), Frame::new(), 30);
        page.fill(0x00c0_ffee);
        table.grant_to(reference, id, page.mfn(), abi::GTF_PERMIT_ACCESS);
        peer.domain
            .shared(peer::VALUE)
            .store(reference as u64, Ordering::SeqCst);
        peer.ask(peer::VERSION_2)?;
        let through = copy_end(u64::from(peer::PASSED_ON), id, 0);
        let mine = copy_end(own.mfn(), DOMID_SELF, 0);
        let flag = abi::GNTCOPY_SOURCE_GREF;
        same!(copy(through, mine, 4096, flag)?, abi::GNTST_OKAY);
        same!(own.words()[511].load(Ordering::Relaxed), 0x00c0_ffee);
        own.fill(0xbeef);
        let flag = abi::GNTCOPY_DEST_GREF;
        same!(copy(mine, through, 8, flag)?, abi::GNTST_OKAY);
        same!(page.words()[0].load(Ordering::Relaxed), 0xbeef);
        same!(page.words()[1].load(Ordering::Relaxed), 0x00c0_ffee);
        same!(table.flags(reference) & IN_USE, 0);
        // What dom0 grants read-only is read-only through others too.
        let flags = abi::GTF_PERMIT_ACCESS | abi::GTF_READONLY;
        table.grant_to(reference, id, page.mfn(), flags);
        same!(copy(mine, through, 8, flag)?, abi::GNTST_GENERAL_ERROR);
        // To somebody else.
        table.grant_to(reference, 0x7f00, page.mfn(), abi::GTF_PERMIT_ACCESS);
        same!(copy(mine, through, 8, flag)?, abi::GNTST_GENERAL_ERROR);
        same!(table.flags(reference) & IN_USE, 0);
        let place = place()?;
        let (status, _) = map(id, peer::PASSED_ON, place.address(), abi::GNTMAP_HOST_MAP)?;
        same!(status, abi::GNTST_GENERAL_ERROR);
        table.grant_to(reference, 0, 0, 0);
        peer.end()?;
        memory_is_back(before)
    });
}

fn transfer(s: &mut Suite<'_>) {
    s.check("pair/grant_transfer", || {
        let before = free_pages()?;
        let mut peer = Peer::start()?;
        let id = peer.domain.id;
        peer.ask(peer::ACCEPT)?;
        let pages = good!(control::domain_info(id)).tot_pages;
        let page = place()?;
        same!(
            give(page.mfn(), id, peer::WRITABLE)?,
            abi::GNTST_GENERAL_ERROR
        );
        renew(page)?;
        let page = place()?;
        let mfn = page.mfn();
        same!(give(mfn, id, peer::TAKES)?, abi::GNTST_OKAY);
        same!(good!(control::domain_info(id)).tot_pages, pages + 1);
        peer.ask(peer::REPORT_ACCEPTED)?;
        let done =
            abi::GTF_ACCEPT_TRANSFER | abi::GTF_TRANSFER_COMMITTED | abi::GTF_TRANSFER_COMPLETED;
        same!(said(&peer), u64::from(done));
        // It is the peer's now.
        ensure!(
            pagetable::make_writable(page).is_err(),
            "a frame was mapped after it was given away"
        );
        let entry = some!(pagetable::entry(page.address(), 1)).machine;
        same!(pagetable::update_foreign(entry, mfn << 12 | RO, id), Ok(0));
        same!(pagetable::update(entry, 0), Ok(0));
        renew(page)?;
        peer.end()?;
        memory_is_back(before)
    });
}

fn resource(s: &mut Suite<'_>) {
    s.check("pair/grant_table_as_a_resource", || {
        let before = free_pages()?;
        let mut peer = Peer::start()?;
        let id = peer.domain.id;
        let grants = mem::XENMEM_RESOURCE_GRANT_TABLE;
        let (shared, status) = (
            mem::XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED,
            mem::XENMEM_RESOURCE_GRANT_TABLE_ID_STATUS,
        );
        let most = good!(resource_size(id, grants, shared)?);
        ensure!(most >= 1, "{most} frames");
        // As many as there could be, though version 1 has none.
        same!(resource_size(id, grants, status)?, Ok(most.div_ceil(8)));
        same!(resource_size(id, grants, 2)?, Err(Errno::EINVAL));
        same!(resource_size(id, 0, 0)?, Err(Errno::EINVAL));
        // Without a list, Xen 4.17 gives this error as a number of frames.
        same!(acquire(id, 77, 0, &mut [0]), Err(Errno::EOPNOTSUPP));
        same!(resource_size(0x1234, grants, shared)?, Err(Errno::ESRCH));
        // One's own is not for this.
        same!(
            resource_size(DOMID_SELF, grants, shared)?,
            Err(Errno::ESRCH)
        );
        same!(resource_size(0, grants, shared)?, Err(Errno::EPERM));
        same!(acquire(id, grants, shared, &mut [0]), Ok(0));
        same!(acquire(id, grants, status, &mut [0]), Err(Errno::EINVAL));
        peer.ask(peer::VERSION_2)?;
        let mut frames = [0];
        same!(acquire(id, grants, status, &mut frames), Ok(0));
        // The marks are to be seen there.
        let (look, page) = (place()?, place()?);
        let entry = some!(pagetable::entry(look.address(), 1)).machine;
        good!(pagetable::update_foreign(entry, frames[0] << 12 | RO, id));
        let (one, handle) = map(id, peer::WRITABLE, page.address(), abi::GNTMAP_HOST_MAP)?;
        same!(one, abi::GNTST_OKAY);
        let word = look.address() + u64::from(peer::WRITABLE) * 2;
        same!(good!(probe::read(word & !7)) & 0xffff, IN_USE);
        same!(unmap(page.address(), handle)?, abi::GNTST_OKAY);
        good!(pagetable::update(entry, 0));
        peer.end()?;
        memory_is_back(before)
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    version_2(s);
    transfer(s);
    resource(s);
}
