//! What two domains share: grants, events, foreign mappings, the processor.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::arch_x86::VcpuGuestContext;
use oxen_abi::domctl as abi;
use oxen_abi::event_channel::{EVTCHNSTAT_INTERDOMAIN, EVTCHNSTAT_UNBOUND};
use oxen_abi::grant_table as grant;
use oxen_abi::sched::SHUTDOWN_POWEROFF;

use super::{free_pages, memory_is_back, run_to_end, wait, wait_until};
use crate::conformance::{
    Outcome, Suite, bind_interdomain, close, copy, copy_end, ensure, faulted, good, map, place,
    same, send, status, unmap,
};
use crate::domain::control::{self, Nothing, on_domain};
use crate::domain::{Domain, Spec};
use crate::pagetable;
use crate::peer;
use crate::sys::frame::{Frame, VIRT_BASE};
use crate::sys::{hypercall, probe};

/// A peer that is ready for commands.
pub(super) struct Peer {
    pub(super) domain: Domain,
    port: u32,
}

impl Peer {
    pub(super) fn start() -> Outcome<Self> {
        Self::start_with(|_| Ok(()))
    }

    /// Starts it after something was done to the domain that is built but has not run.
    pub(super) fn start_with(prepare: impl FnOnce(u16) -> Outcome) -> Outcome<Self> {
        let domain = good!(Domain::build(&Spec::new(b"mode=peer")));
        domain
            .shared(peer::PORT)
            .store(u64::from(domain.port), Ordering::SeqCst);
        let port = good!(bind_interdomain(domain.id, domain.port));
        prepare(domain.id)?;
        good!(domain.unpause());
        let mut this = Peer { domain, port };
        this.answered(1)?;
        Ok(this)
    }

    /// Waits for the peer's answers to reach a number.
    fn answered(&mut self, number: u64) -> Outcome {
        wait_until("the peer's answer", 10, || {
            self.domain.drain_console(|_| {});
            Ok(self.domain.shared(peer::ANSWERS).load(Ordering::SeqCst) >= number)
        })
    }

    /// Gives a command without waiting.
    pub(super) fn tell(&self, command: u64) -> Outcome {
        self.domain
            .shared(peer::COMMAND)
            .store(command, Ordering::SeqCst);
        good!(send(self.port));
        Ok(())
    }

    /// Gives a command and waits until it is done.
    pub(super) fn ask(&mut self, command: u64) -> Outcome {
        let answers = self.domain.shared(peer::ANSWERS).load(Ordering::SeqCst);
        self.tell(command)?;
        self.answered(answers + 1)
    }

    pub(super) fn end(mut self) -> Outcome {
        self.tell(peer::POWEROFF)?;
        same!(run_to_end(&mut self.domain, 10, |_| {})?, SHUTDOWN_POWEROFF);
        self.destroy()
    }

    pub(super) fn destroy(self) -> Outcome {
        good!(close(self.port));
        good!(self.domain.destroy());
        Ok(())
    }
}

fn grants(s: &mut Suite<'_>) {
    s.check("pair/grant_map", || {
        let mut peer = Peer::start()?;
        let id = peer.domain.id;
        let place = place()?;
        let (status, handle) = map(id, peer::WRITABLE, place.address(), grant::GNTMAP_HOST_MAP)?;
        same!(status, grant::GNTST_OKAY);
        good!(probe::write(place.address(), 41));
        peer.ask(peer::INCREMENT)?;
        same!(probe::read(place.address()), Ok(42));
        peer.ask(peer::REPORT_FLAGS)?;
        let in_use = u64::from(grant::GTF_READING | grant::GTF_WRITING);
        let flags = peer.domain.shared(peer::VALUE).load(Ordering::SeqCst);
        same!(flags & in_use, in_use);
        same!(unmap(place.address(), handle)?, grant::GNTST_OKAY);
        peer.ask(peer::REPORT_FLAGS)?;
        let flags = peer.domain.shared(peer::VALUE).load(Ordering::SeqCst);
        same!(flags & in_use, 0);
        peer.end()
    });
    s.check("pair/grant_read_only", || {
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let place = place()?;
        let (status, _) = map(id, peer::READABLE, place.address(), grant::GNTMAP_HOST_MAP)?;
        ensure!(status < 0, "a read-only grant was mapped read-write");
        let flags = grant::GNTMAP_HOST_MAP | grant::GNTMAP_READONLY;
        let (status, handle) = map(id, peer::READABLE, place.address(), flags)?;
        same!(status, grant::GNTST_OKAY);
        same!(probe::read(place.address()), Ok(peer::PATTERN));
        faulted(probe::write(place.address(), 0), probe::PF)?;
        same!(unmap(place.address(), handle)?, grant::GNTST_OKAY);
        // References that the peer has not granted.
        let (status, _) = map(id, 10, place.address(), grant::GNTMAP_HOST_MAP)?;
        ensure!(status < 0, "what was not granted was mapped");
        peer.end()
    });
    s.check("pair/grant_copy", || {
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let page = Frame::new();
        let own = copy_end(page.mfn(), oxen_abi::xen::DOMID_SELF, 0);
        let from = copy_end(u64::from(peer::READABLE), id, 0);
        same!(
            copy(from, own, 4096, grant::GNTCOPY_SOURCE_GREF)?,
            grant::GNTST_OKAY
        );
        same!(page.words()[511].load(Ordering::Relaxed), peer::PATTERN);
        ensure!(
            copy(own, from, 8, grant::GNTCOPY_DEST_GREF)? < 0,
            "copied to a read-only grant"
        );
        let to = copy_end(u64::from(peer::WRITABLE), id, 8);
        same!(
            copy(own, to, 8, grant::GNTCOPY_DEST_GREF)?,
            grant::GNTST_OKAY
        );
        peer.end()
    });
    s.check("pair/grant_outlives_its_domain", || {
        let before = free_pages()?;
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let place = place()?;
        let (status, handle) = map(id, peer::WRITABLE, place.address(), grant::GNTMAP_HOST_MAP)?;
        same!(status, grant::GNTST_OKAY);
        peer.destroy()?;
        // The frame stays while it is mapped.
        good!(probe::write(place.address(), 1));
        same!(unmap(place.address(), handle)?, grant::GNTST_OKAY);
        faulted(probe::read(place.address()), probe::PF)?;
        memory_is_back(before)
    });
    s.check("pair/grant_entry_overwritten", || {
        // Overwriting the entry instead of unmapping: the hypervisor must keep its counts, and
        // the memory must come back all the same.
        let before = free_pages()?;
        let peer = Peer::start()?;
        let place = place()?;
        let (status, handle) = map(
            peer.domain.id,
            peer::WRITABLE,
            place.address(),
            grant::GNTMAP_HOST_MAP,
        )?;
        same!(status, grant::GNTST_OKAY);
        let _ = pagetable::update_va(place.address(), 0);
        let _ = unmap(place.address(), handle)?;
        peer.destroy()?;
        memory_is_back(before)
    });
}

fn events(s: &mut Suite<'_>) {
    s.check("pair/events", || {
        let mut peer = Peer::start()?;
        same!(good!(status(peer.port)).status, EVTCHNSTAT_INTERDOMAIN);
        for _ in 0..200 {
            peer.ask(peer::INCREMENT)?;
        }
        peer.end()
    });
    s.check("pair/event_end_dies", || {
        let peer = Peer::start()?;
        let port = peer.port;
        good!(peer.domain.destroy());
        wait_until("the port", 10, || {
            Ok(good!(status(port)).status == EVTCHNSTAT_UNBOUND)
        })?;
        // Nobody hears it.
        same!(send(port), Ok(0));
        good!(close(port));
        Ok(())
    });
    s.check("pair/event_not_ours_to_bind", || {
        let peer = Peer::start()?;
        same!(
            bind_interdomain(peer.domain.id, peer.domain.port),
            Err(Errno::EINVAL)
        );
        same!(bind_interdomain(peer.domain.id, 3000), Err(Errno::EINVAL));
        peer.end()
    });
}

fn control_operations(s: &mut Suite<'_>) {
    s.check("pair/preemption_and_pause", || {
        let peer = Peer::start()?;
        let spins = || peer.domain.shared(peer::SPINS).load(Ordering::Relaxed);
        peer.tell(peer::SPIN)?;
        // It never gives the processor up; this domain gets it back all the same.
        wait_until("the peer to spin", 10, || Ok(spins() > 0))?;
        let first = spins();
        wait_until("it to go on", 10, || Ok(spins() > first))?;
        good!(on_domain::<Nothing>(
            abi::XEN_DOMCTL_PAUSEDOMAIN,
            peer.domain.id,
            &mut []
        ));
        let paused = spins();
        wait();
        wait();
        same!(spins(), paused);
        good!(peer.domain.unpause());
        wait_until("it to go on", 10, || Ok(spins() > paused))?;
        peer.destroy()
    });
    s.check("pair/vcpu_state", || {
        let peer = Peer::start()?;
        let id = peer.domain.id;
        good!(on_domain::<Nothing>(
            abi::XEN_DOMCTL_PAUSEDOMAIN,
            id,
            &mut []
        ));
        let mut context = VcpuGuestContext::default();
        let mut arg = abi::VcpuContext {
            vcpu: 0,
            ctxt: hypercall::address(&mut context),
            ..abi::VcpuContext::default()
        };
        good!(on_domain(abi::XEN_DOMCTL_GETVCPUCONTEXT, id, &mut arg));
        ensure!(
            context.user_regs.rip >= VIRT_BASE,
            "RIP {:#x}",
            context.user_regs.rip
        );
        same!(
            context.event_callback_eip,
            crate::sys::trap::event_callback_address()
        );
        arg.vcpu = 1;
        ensure!(
            on_domain(abi::XEN_DOMCTL_GETVCPUCONTEXT, id, &mut arg).is_err(),
            "vCPU 1"
        );
        let mut info = abi::GetVcpuInfo::default();
        good!(on_domain(abi::XEN_DOMCTL_GETVCPUINFO, id, &mut info));
        same!(info.online, 1);
        ensure!(info.cpu_time > 0, "it never ran");
        good!(peer.domain.unpause());
        peer.end()
    });
    s.check("pair/foreign_frames", || {
        let before = free_pages()?;
        let peer = Peer::start()?;
        let id = peer.domain.id;
        let info = good!(control::domain_info(id));
        let place = place()?;
        let entry = crate::conformance::some!(pagetable::entry(place.address(), 1)).machine;
        let value = info.shared_info_frame << 12 | pagetable::RO;
        // The shared page of the other domain: with its name, and not without.
        ensure!(
            pagetable::update(entry, value).is_err(),
            "a foreign frame was mapped as an own one"
        );
        same!(pagetable::update_foreign(entry, value, id), Ok(0));
        good!(probe::read(place.address()));
        same!(pagetable::update(entry, 0), Ok(0));
        peer.end()?;
        memory_is_back(before)
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    grants(s);
    events(s);
    control_operations(s);
}
