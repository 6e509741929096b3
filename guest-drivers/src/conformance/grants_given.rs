//! Grants, version 1, from the side that gives: entries exchanged, frames given away, caches.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::grant_table as abi;
use oxen_abi::hypercall::HYPERVISOR_GRANT_TABLE_OP;
use oxen_abi::xen::DOMID_SELF;

use super::grants::{Table, op};
use super::mappings::NO_FRAME;
use super::{Outcome, Suite, ensure, good, map, place, same, unmap};
use crate::pagetable;
use crate::sys::frame::{self, Frame};
use crate::sys::hypercall;

const REF: usize = 20;
const REFERENCE: u32 = 20;

/// Exchanges two entries; returns the status.
pub(super) fn swap(ref_a: u32, ref_b: u32) -> Outcome<i16> {
    let mut arg = abi::SwapGrantRef {
        ref_a,
        ref_b,
        ..abi::SwapGrantRef::default()
    };
    same!(op(abi::GNTTABOP_SWAP_GRANT_REF, &mut arg), Ok(0));
    Ok(arg.status)
}

fn exchanging(s: &mut Suite<'_>, table: &Table) {
    s.check("grants/swap", || {
        let (page, place) = (Frame::new(), place()?);
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS);
        table.grant_to(REF + 1, 0x7f00, 5, abi::GTF_PERMIT_ACCESS);
        let (first, second) = (
            table.entries[REF].load(Ordering::SeqCst),
            table.entries[REF + 1].load(Ordering::SeqCst),
        );
        same!(swap(REFERENCE, REFERENCE + 1)?, abi::GNTST_OKAY);
        same!(table.entries[REF].load(Ordering::SeqCst), second);
        same!(table.entries[REF + 1].load(Ordering::SeqCst), first);
        same!(swap(REFERENCE, REFERENCE)?, abi::GNTST_OKAY);
        same!(swap(REFERENCE, 1 << 20)?, abi::GNTST_BAD_GNTREF);
        same!(swap(u32::MAX, REFERENCE)?, abi::GNTST_BAD_GNTREF);
        // An entry in use stays where it is.
        let (status, handle) = map(
            table.domain,
            REFERENCE + 1,
            place.address(),
            abi::GNTMAP_HOST_MAP,
        )?;
        same!(status, abi::GNTST_OKAY);
        same!(swap(REFERENCE, REFERENCE + 1)?, abi::GNTST_EAGAIN);
        same!(swap(REFERENCE + 1, REFERENCE)?, abi::GNTST_EAGAIN);
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        table.revoke(REF);
        table.revoke(REF + 1);
        Ok(())
    });
}

/// Gives a frame to a domain; returns the status.
pub(crate) fn give(mfn: u64, domid: u16, reference: u32) -> Outcome<i16> {
    let mut arg = abi::Transfer {
        mfn,
        domid,
        ref_: reference,
        ..abi::Transfer::default()
    };
    same!(op(abi::GNTTABOP_TRANSFER, &mut arg), Ok(0));
    Ok(arg.status)
}

/// Takes a new frame for a page whose own was given away or freed.
pub(crate) fn renew(page: Frame) -> Outcome {
    let mut frames = [page.pfn()];
    let mut arg = oxen_abi::memory::Reservation {
        extent_start: hypercall::slice_address(&mut frames),
        nr_extents: 1,
        domid: DOMID_SELF,
        ..oxen_abi::memory::Reservation::default()
    };
    let done = hypercall::op(
        oxen_abi::hypercall::HYPERVISOR_MEMORY_OP,
        oxen_abi::memory::XENMEM_POPULATE_PHYSMAP,
        &mut arg,
    );
    same!(done, Ok(1));
    frame::set_p2m(page.pfn(), frames[0]);
    good!(pagetable::make_writable(page));
    Ok(())
}

fn giving(s: &mut Suite<'_>, table: &Table) {
    s.check("grants/transfer", || {
        // To this domain itself, which comes by as a taker like any other.
        let page = Frame::new();
        page.fill(0x7272);
        let mfn = page.mfn();
        same!(give(mfn, table.domain, REFERENCE)?, abi::GNTST_BAD_PAGE);
        good!(pagetable::update_va(page.address(), 0));
        table.grant(REF, page.pfn(), abi::GTF_ACCEPT_TRANSFER);
        same!(give(mfn, table.domain, REFERENCE)?, abi::GNTST_OKAY);
        let entry = table.entries[REF].load(Ordering::SeqCst);
        let done =
            abi::GTF_ACCEPT_TRANSFER | abi::GTF_TRANSFER_COMMITTED | abi::GTF_TRANSFER_COMPLETED;
        same!(entry & 0xffff, u64::from(done));
        same!(entry >> 32, mfn);
        same!(frame::m2p(mfn), Some(page.pfn()));
        good!(pagetable::make_writable(page));
        same!(page.words()[511].load(Ordering::Relaxed), 0x7272);
        // The entry is used up.
        table.revoke(REF);
        Ok(())
    });
    s.check("grants/transfer_refused", || {
        same!(
            give(NO_FRAME, table.domain, REFERENCE)?,
            abi::GNTST_BAD_PAGE
        );
        // From here on the frame is lost: whoever gives does not get it back.
        for (domain, reference, flags, status) in [
            (
                0x1234,
                REFERENCE,
                abi::GTF_ACCEPT_TRANSFER,
                abi::GNTST_BAD_DOMAIN,
            ),
            (
                DOMID_SELF,
                REFERENCE,
                abi::GTF_ACCEPT_TRANSFER,
                abi::GNTST_BAD_DOMAIN,
            ),
            (
                table.domain,
                1 << 20,
                abi::GTF_ACCEPT_TRANSFER,
                abi::GNTST_GENERAL_ERROR,
            ),
            (
                table.domain,
                REFERENCE,
                abi::GTF_PERMIT_ACCESS,
                abi::GNTST_GENERAL_ERROR,
            ),
            (
                table.domain,
                REFERENCE,
                abi::GTF_INVALID,
                abi::GNTST_GENERAL_ERROR,
            ),
        ] {
            let page = place()?;
            table.grant(REF, page.pfn(), flags);
            same!(give(page.mfn(), domain, reference)?, status);
            ensure!(
                pagetable::make_writable(page).is_err(),
                "a frame was given and is still there"
            );
            renew(page)?;
        }
        table.revoke(REF);
        Ok(())
    });
}

fn flush(a: u64, offset: u16, length: u16, flags: u32) -> hypercall::Result {
    let mut arg = abi::CacheFlush {
        a,
        offset,
        length,
        op: flags,
    };
    op(abi::GNTTABOP_CACHE_FLUSH, &mut arg)
}

fn caches(s: &mut Suite<'_>) {
    s.check("grants/cache_flush", || {
        let page = Frame::new();
        let (addr, both) = (
            page.mfn() << 12,
            abi::GNTTAB_CACHE_CLEAN | abi::GNTTAB_CACHE_INVAL,
        );
        page.fill(0x3333);
        same!(flush(addr, 0, 4096, both), Ok(0));
        same!(flush(addr, 4095, 1, abi::GNTTAB_CACHE_CLEAN), Ok(0));
        same!(page.words()[511].load(Ordering::Relaxed), 0x3333);
        same!(flush(addr, 0, 0, both), Ok(0));
        same!(flush(addr, 0, 64, 0), Ok(0));
        same!(
            flush(addr, 0, 64, abi::GNTTAB_CACHE_INVAL),
            Err(Errno::EOPNOTSUPP)
        );
        for (offset, length, flags) in [
            (4096, 0, both),
            (4095, 2, both),
            (0, 4097, both),
            (0, 64, 1 << 2),
        ] {
            same!(flush(addr, offset, length, flags), Err(Errno::EINVAL));
        }
        Ok(())
    });
    s.check("grants/cache_flush_of_others", || {
        let both = abi::GNTTAB_CACHE_CLEAN | abi::GNTTAB_CACHE_INVAL;
        ensure!(flush(NO_FRAME << 12, 0, 64, both).is_err(), "no frame");
        // A reference instead of an address is for other architectures.
        let by_reference = both | abi::GNTTAB_CACHE_SOURCE_GREF;
        ensure!(flush(0, 0, 64, by_reference).is_err(), "a reference");
        Ok(())
    });
    s.check("grants/unknown", || {
        // Gone since long, and never there.
        for cmd in [abi::GNTTABOP_DUMP_TABLE, 13, 0xfff] {
            same!(
                hypercall::call(HYPERVISOR_GRANT_TABLE_OP, [u64::from(cmd), 0, 1]),
                Err(Errno::ENOSYS)
            );
        }
        // Bits above the command are for continuations of some, and wrong for the rest.
        same!(
            hypercall::call(
                HYPERVISOR_GRANT_TABLE_OP,
                [u64::from(abi::GNTTABOP_COPY) | 1 << 12, 0, 1]
            ),
            Err(Errno::EINVAL)
        );
        same!(
            hypercall::call(
                HYPERVISOR_GRANT_TABLE_OP,
                [u64::from(abi::GNTTABOP_COPY), 0, 1 << 31]
            ),
            Err(Errno::EINVAL)
        );
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    // That this works is `grants`' to check.
    if let Ok(table) = Table::new() {
        exchanging(s, &table);
        giving(s, &table);
    }
    caches(s);
}
