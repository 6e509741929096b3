//! `mode=bench memory`: what the hypervisor keeps of the host's memory for itself, and for a domain that does nothing.
//! Pages are counted before and after; nothing else may run meanwhile.

use oxen_abi::sysctl::{PhysInfo, XEN_SYSCTL_PHYSINFO};

use crate::domain::control::{domain_info, free_pages, sysctl};
use crate::domain::create_idle;
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
        create_idle()?;
    }
    let before = free_pages()?;
    for _ in 0..DOMAINS {
        create_idle()?;
    }
    let bytes = before.saturating_sub(free_pages()?) * PAGE / DOMAINS;
    Ok(bytes.saturating_sub(PAGE + xsave_area()))
}

/// Bytes of an XSAVE area with everything that the processor has: CPUID leaf 13, ECX.
fn xsave_area() -> u64 {
    let [_, _, ecx, _] = cpu::cpuid(13, 0);
    u64::from(ecx)
}
