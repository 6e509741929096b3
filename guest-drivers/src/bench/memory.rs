//! `mode=bench memory`: what the hypervisor keeps of the host's memory for itself, and for a domain that does nothing.
//! Pages are counted before and after; nothing else may run meanwhile.

use oxen_abi::domctl as abi;
use oxen_abi::sysctl::{PhysInfo, XEN_SYSCTL_PHYSINFO};

use crate::domain::control::{domain_info, domctl, free_pages, on_domain, sysctl};
use crate::println;
use crate::sys::cpu;
use crate::sys::hypercall::Result;

const PAGE: u64 = 4096;
/// So many are there before, that a heap with room to begin with is used up.
const BEFORE: u64 = 1024;
/// So many that a heap which grows by megabytes shows what one of them takes.
const DOMAINS: u64 = 4096;

pub(super) fn run() -> Result<()> {
    let mut host = PhysInfo::default();
    sysctl(XEN_SYSCTL_PHYSINFO, &mut host)?;
    let own = domain_info(0)?.tot_pages;
    let kept = host.total_pages.saturating_sub(host.free_pages + own);
    println!("BENCH memory.kept {}", kept * PAGE / 1024);
    println!("BENCH domain.fixed_state {}", fixed_state()?);
    Ok(())
}

/// Bytes for each domain with one vCPU that was never given memory or a context, without the page that it shares with
/// the hypervisor and without the XSAVE area. The domains are left: the machine ends after this.
fn fixed_state() -> Result<u64> {
    for _ in 0..BEFORE {
        create()?;
    }
    let before = free_pages()?;
    for _ in 0..DOMAINS {
        create()?;
    }
    let bytes = before.saturating_sub(free_pages()?) * PAGE / DOMAINS;
    Ok(bytes.saturating_sub(PAGE + xsave_area()))
}

fn create() -> Result<()> {
    let mut id = 0;
    let mut create = abi::CreateDomain {
        handle: *b"oxen-bench-guest",
        max_vcpus: 1,
        max_evtchn_port: 1023,
        max_grant_frames: 64,
        max_maptrack_frames: 1024,
        grant_opts: 2,
        ..abi::CreateDomain::default()
    };
    domctl(abi::XEN_DOMCTL_CREATEDOMAIN, &mut id, &mut create)?;
    on_domain(abi::XEN_DOMCTL_MAX_VCPUS, id, &mut abi::MaxVcpus { max: 1 })?;
    Ok(())
}

/// Bytes of an XSAVE area with everything that the processor has: CPUID leaf 13, ECX.
fn xsave_area() -> u64 {
    let [_, _, ecx, _] = cpu::cpuid(13, 0);
    u64::from(ecx)
}
