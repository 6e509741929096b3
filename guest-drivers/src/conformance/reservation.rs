//! memory_op that changes the reservation: decrease, populate, increase, exchange.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory as abi;
use oxen_abi::xen::DOMID_SELF;

use super::mappings::NO_FRAME;
use super::version::UNMAPPED;
use super::{Outcome, Suite, ensure, good, same};
use crate::pagetable;
use crate::sys::frame::{self, Frame};
use crate::sys::hypercall;

fn reservation(frames: &mut [u64], order: u32, flags: u32) -> abi::Reservation {
    abi::Reservation {
        extent_start: hypercall::slice_address(frames),
        nr_extents: frames.len() as u64,
        extent_order: order,
        mem_flags: flags,
        domid: DOMID_SELF,
        ..abi::Reservation::default()
    }
}

/// One of the three operations on single pages; the result is the number of extents done.
fn change(cmd: u32, frames: &mut [u64]) -> hypercall::Result {
    hypercall::op(HYPERVISOR_MEMORY_OP, cmd, &mut reservation(frames, 0, 0))
}

fn current() -> hypercall::Result {
    let mut domain = abi::MemoryDomain { domid: DOMID_SELF };
    hypercall::op(
        HYPERVISOR_MEMORY_OP,
        abi::XENMEM_CURRENT_RESERVATION,
        &mut domain,
    )
}

/// Takes a page's mapping away, so that its frame can be given back.
fn unmapped_page() -> Outcome<Frame> {
    let page = Frame::new();
    good!(pagetable::update_va(page.address(), 0));
    Ok(page)
}

/// Puts a new frame behind a page and maps it.
fn put_back(page: Frame, mfn: u64) -> Outcome {
    frame::set_p2m(page.pfn(), mfn);
    good!(pagetable::make_writable(page));
    page.fill(0x11);
    same!(page.words()[511].load(Ordering::Relaxed), 0x11);
    Ok(())
}

fn give_and_take(s: &mut Suite<'_>) {
    s.check("memory_op/decrease_and_populate", || {
        let before = good!(current());
        let page = unmapped_page()?;
        same!(
            change(abi::XENMEM_DECREASE_RESERVATION, &mut [page.mfn()]),
            Ok(1)
        );
        same!(current(), Ok(before - 1));
        let mut frames = [page.pfn()];
        same!(change(abi::XENMEM_POPULATE_PHYSMAP, &mut frames), Ok(1));
        same!(current(), Ok(before));
        same!(frame::m2p(frames[0]), Some(page.pfn()));
        put_back(page, frames[0])
    });
    s.check("memory_op/populated_pages_are_clean", || {
        // Frames come from the same heap as other domains' ones: no word of theirs may be left.
        for _ in 0..16 {
            let page = Frame::new();
            page.fill(0x5ec2_e75e_c2e7);
            good!(pagetable::update_va(page.address(), 0));
            same!(
                change(abi::XENMEM_DECREASE_RESERVATION, &mut [page.mfn()]),
                Ok(1)
            );
            let mut frames = [page.pfn()];
            same!(change(abi::XENMEM_POPULATE_PHYSMAP, &mut frames), Ok(1));
            frame::set_p2m(page.pfn(), frames[0]);
            good!(pagetable::make_writable(page));
        }
        Ok(())
    });
    s.check("memory_op/decrease_what_is_not_ours", || {
        same!(
            change(abi::XENMEM_DECREASE_RESERVATION, &mut [NO_FRAME]),
            Ok(0)
        );
        // The first is done, the second is wrong: one.
        let page = unmapped_page()?;
        let mfn = page.mfn();
        same!(
            change(abi::XENMEM_DECREASE_RESERVATION, &mut [mfn, NO_FRAME]),
            Ok(1)
        );
        // It is gone now.
        ensure!(
            pagetable::make_writable(page).is_err(),
            "a frame given back was mapped"
        );
        same!(change(abi::XENMEM_DECREASE_RESERVATION, &mut [mfn]), Ok(0));
        let mut frames = [page.pfn()];
        same!(change(abi::XENMEM_POPULATE_PHYSMAP, &mut frames), Ok(1));
        put_back(page, frames[0])
    });
    s.check("memory_op/decrease_pinned_table", || {
        // A pinned table's frame stays until it is unpinned; the hypervisor may not crash on it.
        let table = good!(pagetable::new_table());
        let before = good!(current());
        let result = change(
            abi::XENMEM_DECREASE_RESERVATION,
            &mut [NO_FRAME, table.mfn()],
        );
        same!(result, Ok(0));
        same!(current(), Ok(before));
        Ok(())
    });
    s.check("memory_op/increase", || {
        let mut frames = [0u64];
        // A limit may refuse it; what is got can be given back.
        match change(abi::XENMEM_INCREASE_RESERVATION, &mut frames) {
            Ok(0) => {}
            Ok(1) => {
                ensure!(frames[0] != 0, "frame 0");
                same!(change(abi::XENMEM_DECREASE_RESERVATION, &mut frames), Ok(1));
            }
            other => ensure!(false, "{other:?}"),
        }
        Ok(())
    });
    s.check("memory_op/bad_reservations", || {
        for cmd in [
            abi::XENMEM_INCREASE_RESERVATION,
            abi::XENMEM_DECREASE_RESERVATION,
            abi::XENMEM_POPULATE_PHYSMAP,
        ] {
            let refused = |result: hypercall::Result| !matches!(result, Ok(1..));
            let mut frames = [UNMAPPED];
            let mut arg = reservation(&mut frames, 0, 0);
            arg.domid = 0x1234;
            ensure!(
                refused(hypercall::op(HYPERVISOR_MEMORY_OP, cmd, &mut arg)),
                "no such domain"
            );
            for order in [32, 63, 64, u32::MAX] {
                let mut arg = reservation(&mut frames, order, 0);
                let result = hypercall::op(HYPERVISOR_MEMORY_OP, cmd, &mut arg);
                ensure!(refused(result), "order {order}: {result:?}");
            }
            let mut arg = reservation(&mut frames, 0, 0);
            arg.nr_extents = u64::MAX;
            ensure!(
                refused(hypercall::op(HYPERVISOR_MEMORY_OP, cmd, &mut arg)),
                "all extents"
            );
            arg.nr_extents = 1;
            arg.extent_start = UNMAPPED;
            ensure!(
                refused(hypercall::op(HYPERVISOR_MEMORY_OP, cmd, &mut arg)),
                "bad list"
            );
        }
        Ok(())
    });
    s.check("memory_op/populate_on_demand_refused", || {
        let page = Frame::new();
        let mut frames = [page.pfn()];
        let mut arg = reservation(&mut frames, 0, abi::XENMEMF_POPULATE_ON_DEMAND);
        let result = hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_POPULATE_PHYSMAP, &mut arg);
        ensure!(!matches!(result, Ok(1..)), "{result:?}");
        Ok(())
    });
}

fn exchange(
    given: &mut [u64],
    got: &mut [u64],
    orders: [u32; 2],
    flags: u32,
) -> (hypercall::Result, u64) {
    let mut arg = abi::Exchange {
        in_: reservation(given, orders[0], 0),
        out: reservation(got, orders[1], flags),
        nr_exchanged: 0,
    };
    let result = hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_EXCHANGE, &mut arg);
    (result, arg.nr_exchanged)
}

fn exchanges(s: &mut Suite<'_>) {
    s.check("memory_op/exchange_one", || {
        let page = unmapped_page()?;
        let mut given = [page.mfn()];
        let mut got = [page.pfn()];
        same!(exchange(&mut given, &mut got, [0, 0], 32), (Ok(0), 1));
        same!(frame::m2p(got[0]), Some(page.pfn()));
        ensure!(got[0] < 1 << 20, "frame {:#x} is not below 4 GiB", got[0]);
        put_back(page, got[0])
    });
    s.check("memory_op/exchange_for_contiguous", || {
        let pages: [Frame; 4] = core::array::from_fn(|_| Frame::new());
        for page in pages {
            good!(pagetable::update_va(page.address(), 0));
        }
        let mut given = pages.map(Frame::mfn);
        let mut got = [pages[0].pfn()];
        same!(exchange(&mut given, &mut got, [0, 2], 32), (Ok(0), 4));
        for (offset, page) in (0..).zip(pages) {
            same!(frame::m2p(got[0] + offset), Some(page.pfn()));
            put_back(page, got[0] + offset)?;
        }
        // And apart again.
        for page in pages {
            good!(pagetable::update_va(page.address(), 0));
        }
        let mut given = [pages[0].mfn()];
        let mut got = pages.map(Frame::pfn);
        same!(exchange(&mut given, &mut got, [2, 0], 0), (Ok(0), 1));
        for (page, mfn) in pages.into_iter().zip(got) {
            put_back(page, mfn)?;
        }
        Ok(())
    });
    s.check("memory_op/exchange_refused", || {
        let page = Frame::new();
        let mut given = [page.mfn(), page.mfn()];
        let mut got = [page.pfn()];
        // Amounts that differ.
        same!(
            exchange(&mut given, &mut got, [0, 0], 0).0,
            Err(Errno::EINVAL)
        );
        let mut given = [NO_FRAME];
        ensure!(
            exchange(&mut given, &mut got, [0, 0], 0).0.is_err(),
            "exchanged a frame that is not there"
        );
        let mut arg = abi::Exchange {
            in_: reservation(&mut given, 0, 0),
            out: reservation(&mut got, 0, 0),
            nr_exchanged: 0,
        };
        arg.out.domid = 0x1234;
        ensure!(
            hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_EXCHANGE, &mut arg).is_err(),
            "two domains"
        );
        arg.out.domid = DOMID_SELF;
        arg.nr_exchanged = 2;
        same!(
            hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_EXCHANGE, &mut arg),
            Err(Errno::EINVAL)
        );
        same!(
            hypercall::call(
                HYPERVISOR_MEMORY_OP,
                [u64::from(abi::XENMEM_EXCHANGE), UNMAPPED]
            ),
            Err(Errno::EFAULT)
        );
        // The page is still ours.
        page.fill(1);
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    give_and_take(s);
    exchanges(s);
}
