//! Event channels and grants, from this domain to itself.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::event_channel::{EVTCHNOP_SEND, Send};
use oxen_abi::grant_table as abi;
use oxen_abi::hypercall::{HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_GRANT_TABLE_OP};
use oxen_abi::xen::DOMID_SELF;

use super::Meter;
use crate::conformance::{self, Table, bind_ipi};
use crate::event::two_level;
use crate::sys::frame::Frame;
use crate::sys::hypercall::{self, Result};
use crate::sys::shared;

/// A grant reference above the reserved ones.
const REF: u32 = 30;

pub(super) fn run(meter: &Meter) -> Result<()> {
    events(meter)?;
    copies(meter);
    mapping(meter)
}

/// Sends to a port of the own vCPU, which is open while the vCPU has its upcalls masked, so that each
/// sending goes the whole way.
fn events(meter: &Meter) -> Result<()> {
    let port = bind_ipi(0)?;
    let (Some(page), Some(info)) = (shared::info(), shared::vcpu_info(0)) else {
        return Err(Errno::EFAULT);
    };
    let Some(word) = page.pending.get(port as usize / 64) else {
        return Err(Errno::E2BIG);
    };
    let before = info.upcall_mask.swap(1, Ordering::SeqCst);
    two_level::set_mask(&page.mask, port, false);
    meter.measure("event.send_self", 1, |_| {
        let _ = hypercall::op(
            HYPERVISOR_EVENT_CHANNEL_OP,
            EVTCHNOP_SEND,
            &mut Send { port },
        );
        word.store(0, Ordering::Relaxed);
        info.pending_sel.store(0, Ordering::Relaxed);
        info.upcall_pending.store(0, Ordering::Relaxed);
    });
    two_level::set_mask(&page.mask, port, true);
    info.upcall_mask.store(before, Ordering::SeqCst);
    conformance::close(port).map(|_| ())
}

fn copies(meter: &Meter) {
    let (from, to) = (Frame::new(), Frame::new());
    let end = |frame: Frame| abi::CopyPtr {
        u: frame.mfn(),
        domid: DOMID_SELF,
        ..abi::CopyPtr::default()
    };
    for (name, len) in [("grant.copy_64", 64), ("grant.copy_4096", 4096)] {
        let mut copy = abi::Copy {
            source: end(from),
            dest: end(to),
            len,
            ..abi::Copy::default()
        };
        let address = hypercall::address(&mut copy);
        meter.measure(name, 1, |_| {
            let _ = grant_call(abi::GNTTABOP_COPY, address);
        });
    }
}

/// A grant of the own domain, mapped for writing and unmapped again.
fn mapping(meter: &Meter) -> Result<()> {
    let table = Table::new().map_err(|_| Errno::EINVAL)?;
    let place = conformance::place().map_err(|_| Errno::EINVAL)?;
    table.grant_to(
        REF as usize,
        table.domain(),
        Frame::new().mfn(),
        abi::GTF_PERMIT_ACCESS,
    );
    let mut map = abi::MapGrantRef {
        host_addr: place.address(),
        flags: abi::GNTMAP_HOST_MAP,
        ref_: REF,
        dom: table.domain(),
        ..abi::MapGrantRef::default()
    };
    let mut unmap = abi::UnmapGrantRef {
        host_addr: place.address(),
        ..abi::UnmapGrantRef::default()
    };
    let mut failed = 0;
    meter.measure("grant.map_unmap", 1, |_| {
        let _ = grant_call(abi::GNTTABOP_MAP_GRANT_REF, hypercall::address(&mut map));
        unmap.handle = map.handle;
        let _ = grant_call(
            abi::GNTTABOP_UNMAP_GRANT_REF,
            hypercall::address(&mut unmap),
        );
        failed |= map.status | unmap.status;
    });
    if failed == abi::GNTST_OKAY {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

#[inline(always)]
fn grant_call(cmd: u32, address: u64) -> Result {
    hypercall::call(HYPERVISOR_GRANT_TABLE_OP, [u64::from(cmd), address, 1])
}
