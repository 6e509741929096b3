//! A host without free memory: what needs some is refused, and everything else goes on.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::arch_x86::VcpuGuestContext;
use oxen_abi::domctl as abi;
use oxen_abi::event_channel::{AllocUnbound, EVTCHNOP_ALLOC_UNBOUND};
use oxen_abi::grant_table as grant;
use oxen_abi::hypercall::{HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_MEMORY_OP};
use oxen_abi::memory::{Reservation, XENMEM_POPULATE_PHYSMAP};

use super::free_pages;
use super::sharing::Peer;
use crate::conformance::version::is_oxen;
use crate::conformance::{Outcome, Suite, ensure, good, map, place, same, skip, unmap};
use crate::domain::control::{self, debug_keys, on_domain};
use crate::domain::{Domain, Spec};
use crate::peer;
use crate::sys::{hypercall, probe};

/// Gives a domain all free frames.
fn give_all_frames(id: u16) -> Outcome {
    let mut pfn = good!(control::domain_info(id)).max_pages;
    let mut limit = abi::MaxMem { max_memkb: 1 << 34 };
    good!(on_domain(abi::XEN_DOMCTL_MAX_MEM, id, &mut limit));
    for extent_order in [9, 5, 0] {
        loop {
            let mut frames = [pfn];
            let mut request = Reservation {
                extent_start: hypercall::slice_address(&mut frames),
                nr_extents: 1,
                extent_order,
                domid: id,
                ..Reservation::default()
            };
            let given = hypercall::op(HYPERVISOR_MEMORY_OP, XENMEM_POPULATE_PHYSMAP, &mut request);
            if given != Ok(1) {
                break;
            }
            pfn += 1 << extent_order;
        }
    }
    let left = good!(control::free_pages());
    ensure!(left < 512, "{left} pages are left");
    Ok(())
}

/// Uses up the hypervisor's bytes: ranges of frames that a domain may use, which do not join, and event channels.
fn use_bytes_up(id: u16) -> Outcome {
    const MOST: u64 = 1 << 20;
    let mut outcome = Ok(0);
    for n in 0..MOST {
        let mut range = abi::IomemPermission {
            first_mfn: 0x1_0000_0000 + 2 * n,
            nr_mfns: 1,
            allow_access: 1,
            ..abi::IomemPermission::default()
        };
        outcome = on_domain(abi::XEN_DOMCTL_IOMEM_PERMISSION, id, &mut range);
        if outcome.is_err() {
            break;
        }
    }
    same!(outcome, Err(Errno::ENOMEM));
    for _ in 0..4096 {
        let mut port = AllocUnbound {
            dom: id,
            remote_dom: 0,
            port: 0,
        };
        let op = EVTCHNOP_ALLOC_UNBOUND;
        if let Err(errno) = hypercall::op(HYPERVISOR_EVENT_CHANNEL_OP, op, &mut port) {
            ensure!(matches!(errno, Errno::ENOMEM | Errno::ENOSPC), "{errno:?}");
            break;
        }
    }
    Ok(())
}

/// What may be refused for want of memory, but for no other reason.
fn may_lack<T>(outcome: hypercall::Result<T>) -> Outcome<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOMEM) => Ok(None),
        Err(errno) => {
            ensure!(false, "{errno:?}, not for want of memory");
            Ok(None)
        }
    }
}

fn one_round() -> Outcome {
    let mut peer = Peer::start()?;
    let id = peer.domain.id;
    give_all_frames(id)?;
    use_bytes_up(id)?;
    debug_keys(*b"qme");
    for _ in 0..5 {
        if let Some(domain) = may_lack(Domain::build(&Spec::new(b"mode=peer")))? {
            good!(domain.destroy());
        }
        let mut context = VcpuGuestContext::default();
        let mut arg = abi::VcpuContext {
            vcpu: 0,
            ctxt: hypercall::address(&mut context),
            ..abi::VcpuContext::default()
        };
        may_lack(on_domain(abi::XEN_DOMCTL_GETVCPUCONTEXT, id, &mut arg))?;
        // The guest goes on, and so do events, timers and grants.
        let page = place()?;
        let (status, handle) = map(id, peer::WRITABLE, page.address(), grant::GNTMAP_HOST_MAP)?;
        if status == grant::GNTST_OKAY {
            good!(probe::write(page.address(), 41));
            peer.ask(peer::INCREMENT)?;
            same!(probe::read(page.address()), Ok(42));
            same!(unmap(page.address(), handle)?, grant::GNTST_OKAY);
        } else {
            same!(status, grant::GNTST_NO_SPACE);
        }
        peer.domain.shared(peer::VALUE).store(1, Ordering::SeqCst);
        peer.ask(peer::REPORT_CPUID)?;
    }
    peer.end()
}

/// All checks of this kind.
pub(super) fn run(s: &mut Suite<'_>) {
    s.check("pair/all_memory_is_used_up", || {
        if !is_oxen()? {
            skip!("it is about our byte heap");
        }
        one_round()?;
        // The byte heap keeps what it has grown to.
        let free = free_pages()?;
        one_round()?;
        let after = free_pages()?;
        ensure!(after == free, "{free} pages free before, {after} after");
        Ok(())
    });
}
