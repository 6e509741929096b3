//! What a domain does to the host's affairs and the host to it: VIRQs that go to another domain,
//! memory running low, ends of a domain that others bring about.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::domctl as abi;
use oxen_abi::hypercall::{
    HYPERVISOR_MEMORY_OP, HYPERVISOR_SCHED_OP, HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN,
};
use oxen_abi::memory::{Reservation, XENMEM_CLAIM_PAGES, XENMEM_POPULATE_PHYSMAP};
use oxen_abi::mmu::UVMF_INVLPG;
use oxen_abi::sched::{
    RemoteShutdown, SCHEDOP_REMOTE_SHUTDOWN, SHUTDOWN_REBOOT, SHUTDOWN_WATCHDOG,
};
use oxen_abi::xen::{
    VIRQ_CON_RING, VIRQ_DEBUG, VIRQ_DOM_EXC, VIRQ_ENOMEM, VIRQ_PCPU_STATE, VIRQ_TIMER,
};

use super::sharing::Peer;
use super::{MILLISECOND, free_pages, run_to_end, wait, wait_until};
use crate::conformance::{Suite, bind_virq, close, ensure, good, let_in, place, same, set_mask};
use crate::domain::control::{self, debug_keys, on_domain};
use crate::event;
use crate::pagetable::RO;
use crate::peer;
use crate::sys::{hypercall, probe};
use crate::time::now;

fn set_handler(domain: u16, virq: u32) -> hypercall::Result {
    let mut arg = abi::SetVirqHandler { virq };
    on_domain(abi::XEN_DOMCTL_SET_VIRQ_HANDLER, domain, &mut arg)
}

/// Lets events in for some milliseconds.
fn settle() {
    let end = now() + 50 * MILLISECOND;
    while now() < end {
        let_in();
    }
}

fn virqs(s: &mut Suite<'_>) {
    s.check("pair/virq_goes_to_another_domain", || {
        let port = good!(bind_virq(VIRQ_CON_RING, 0));
        set_mask(port, false)?;
        let is_told = || {
            settle();
            let before = event::count(port);
            debug_keys(*b"h");
            settle();
            event::count(port) != before
        };
        ensure!(is_told(), "dom0 is not told");
        let peer = Peer::start()?;
        let id = peer.domain.id;
        same!(set_handler(id, VIRQ_CON_RING), Ok(0));
        ensure!(!is_told(), "dom0 is still told");
        same!(set_handler(0, VIRQ_CON_RING), Ok(0));
        ensure!(is_told(), "dom0 is not told again");
        // It dies, and dom0 is told again.
        same!(set_handler(id, VIRQ_CON_RING), Ok(0));
        peer.destroy()?;
        wait_until("VIRQs to come back", 10, || Ok(is_told()))?;
        good!(close(port));
        Ok(())
    });
    s.check("pair/virq_handler_refused", || {
        for virq in [VIRQ_TIMER, VIRQ_DEBUG, 24, u32::MAX] {
            same!(set_handler(0, virq), Err(Errno::EINVAL));
        }
        same!(set_handler(0x1234, VIRQ_DOM_EXC), Err(Errno::ESRCH));
        same!(set_handler(0, VIRQ_PCPU_STATE), Ok(0));
        Ok(())
    });
    s.check("pair/virq_of_low_memory", || {
        let port = good!(bind_virq(VIRQ_ENOMEM, 0));
        set_mask(port, false)?;
        settle();
        let before = event::count(port);
        let peer = Peer::start()?;
        let id = peer.domain.id;
        same!(event::count(port), before);
        // All but 4 MiB is set aside.
        let pages = good!(control::domain_info(id)).tot_pages;
        let mut limit = abi::MaxMem { max_memkb: 1 << 34 };
        good!(on_domain(abi::XEN_DOMCTL_MAX_MEM, id, &mut limit));
        let mut claim = Reservation {
            nr_extents: pages + free_pages()? - 1024,
            domid: id,
            ..Reservation::default()
        };
        same!(
            hypercall::op(HYPERVISOR_MEMORY_OP, XENMEM_CLAIM_PAGES, &mut claim),
            Ok(0)
        );
        let mut frames = [pages + 100];
        let mut more = Reservation {
            extent_start: hypercall::slice_address(&mut frames),
            nr_extents: 1,
            domid: id,
            ..Reservation::default()
        };
        same!(
            hypercall::op(HYPERVISOR_MEMORY_OP, XENMEM_POPULATE_PHYSMAP, &mut more),
            Ok(1)
        );
        wait_until("the event", 5, || {
            let_in();
            Ok(event::count(port) != before)
        })?;
        good!(close(port));
        peer.destroy()
    });
}

fn ends(s: &mut Suite<'_>) {
    s.check("pair/remote_shutdown", || {
        let mut peer = Peer::start()?;
        let mut request = RemoteShutdown {
            domain_id: peer.domain.id,
            reason: SHUTDOWN_REBOOT,
            ..RemoteShutdown::default()
        };
        same!(
            hypercall::op(HYPERVISOR_SCHED_OP, SCHEDOP_REMOTE_SHUTDOWN, &mut request),
            Ok(0)
        );
        same!(run_to_end(&mut peer.domain, 10, |_| {})?, SHUTDOWN_REBOOT);
        peer.destroy()
    });
    s.check("pair/shutdown_code", || {
        // The code said first counts, not that of the end.
        let mut peer = Peer::start()?;
        for code in [77, 5] {
            peer.domain
                .shared(peer::VALUE)
                .store(code, Ordering::SeqCst);
            peer.ask(peer::SAY_CODE)?;
            same!(peer.domain.shared(peer::VALUE).load(Ordering::SeqCst), 1);
        }
        ensure!(
            good!(peer.domain.shut_down()).is_none(),
            "to say the code was the end"
        );
        peer.tell(peer::POWEROFF)?;
        same!(run_to_end(&mut peer.domain, 10, |_| {})?, 77);
        peer.destroy()
    });
    s.check("pair/watchdog_expires", || {
        let mut peer = Peer::start()?;
        peer.tell(peer::WATCHDOG)?;
        same!(run_to_end(&mut peer.domain, 10, |_| {})?, SHUTDOWN_WATCHDOG);
        peer.destroy()
    });
}

fn mappings(s: &mut Suite<'_>) {
    s.check("pair/update_va_mapping_otherdomain", || {
        let peer = Peer::start()?;
        let (id, page) = (peer.domain.id, place()?);
        let info = good!(control::domain_info(id));
        let map = |value: u64, owner: u16| {
            hypercall::call(
                HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN,
                [page.address(), value, UVMF_INVLPG, u64::from(owner)],
            )
        };
        let value = info.shared_info_frame << 12 | RO;
        ensure!(map(value, 0).is_err(), "another's frame as one's own");
        same!(map(value, id), Ok(0));
        good!(probe::read(page.address()));
        // Its own frames are not the other's.
        ensure!(
            map(page.mfn() << 12 | RO, id).is_err(),
            "one's own frame as another's"
        );
        same!(map(0, id), Ok(0));
        peer.end()
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    virqs(s);
    ends(s);
    mappings(s);
    // Events of before.
    wait();
}
