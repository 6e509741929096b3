//! Shows what the hypervisor says of itself, the host and the domains. To be run as root in dom0.

use hypercall::{CreateDomain, DomId, Hypervisor, MemoryFlags, PageTableLevel, Protection};

fn main() -> Result<(), hypercall::Error> {
    let xen = Hypervisor::open()?;
    println!("{:#?}", xen.version_info()?);
    println!("{:#?}", xen.phys_info()?);
    println!(
        "scheduler {}, free heap {}",
        xen.scheduler()?,
        xen.available_heap(None)?
    );
    println!("{:?}\n{:?}", xen.cpu_topology()?, xen.numa_info()?);
    println!(
        "idle {:?} ns, {:?}",
        xen.cpu_idle_times()?,
        xen.cpu_pools()?
    );
    let log = xen.console_ring(false)?;
    println!("the log has {} bytes, next {}", log.text.len(), log.next);
    for domain in xen.domains()? {
        println!("{domain:?}");
        for vcpu in 0..=domain.max_vcpu_id.unwrap_or(0) {
            println!(
                "  {:?} on {:?}",
                xen.vcpu_info(domain.domain, vcpu)?,
                xen.vcpu_affinity(domain.domain, vcpu)?
            );
        }
        println!(
            "  {:?}, {:?}",
            xen.credit_parameters(domain.domain),
            xen.tsc_info(domain.domain)
        );
    }
    if std::env::args().nth(1).as_deref() == Some("build") {
        build(&xen)?;
    }
    Ok(())
}

/// Makes a domain with some memory, writes to it, and takes it away again.
fn build(xen: &Hypervisor) -> Result<(), hypercall::Error> {
    let free = xen.phys_info()?.free_pages;
    let domain = xen.create_domain(None, &CreateDomain::pv([7; 16], 1))?;
    println!("made domain {domain}");
    let result = furnish(xen, domain);
    xen.destroy_domain(domain)?;
    println!(
        "free pages before {free}, after {}",
        xen.phys_info()?.free_pages
    );
    println!("{:?}", xen.domain_info(domain));
    result
}

fn furnish(xen: &Hypervisor, domain: DomId) -> Result<(), hypercall::Error> {
    xen.set_max_vcpus(domain, 1)?;
    xen.set_address_size(domain, 64)?;
    xen.set_max_memory(domain, 8192)?;
    xen.claim_pages(domain, 1024)?;
    let pfns: Vec<u64> = (0..1024).collect();
    let mfns = xen.populate_physmap(domain, 0, MemoryFlags::empty(), &pfns)?;
    println!(
        "{} frames, {} in use",
        mfns.len(),
        xen.current_reservation(domain)?
    );
    {
        let memory = xen.map_foreign(domain, &mfns, Protection::ReadWrite)?;
        memory.fill(0, memory.len(), 0)?;
        memory.write_u64(0, 0x1234)?;
        println!("memory reads {:#x}", memory.read_u64(0)?);
    }
    // A table of zeroes is valid, but for the hypervisor's own entries of an L4, which it makes itself.
    if let [first, second, ..] = mfns.as_slice() {
        xen.set_machine_to_phys(domain, &[(*first, 0), (*second, 1)])?;
        xen.pin_tables(domain, &[(PageTableLevel::L4, *second)])?;
        println!(
            "types {:x?}",
            xen.page_frame_types(domain, &[*first, *second])?
        );
        xen.unpin_tables(domain, &[*second])?;
    }
    println!("port {}", xen.alloc_unbound_port(domain, DomId::DOM0)?);
    let grants = xen.map_grant_table(domain, 0, 1)?;
    grants.write_u64(0, 0)?;
    let policy = xen.cpu_policy(domain)?;
    println!(
        "policy: {} leaves, {} MSRs",
        policy.leaves.len(),
        policy.msrs.len()
    );
    xen.set_cpu_policy(domain, &policy)?;
    // Nobody has set it up yet, and the hypervisor says so.
    println!(
        "context: {:?}",
        xen.vcpu_context(domain, 0)
            .map(|c| c.flags)
            .map_err(|e| e.to_string())
    );
    let wrong = xen.map_foreign(domain, &[u64::from(u32::MAX)], Protection::Read);
    println!(
        "a wrong frame: {}",
        wrong
            .map(drop)
            .map_or_else(|e| e.to_string(), |()| "mapped".into())
    );
    println!(
        "freed {}",
        xen.decrease_reservation(domain, 0, mfns.get(2..4).unwrap_or_default())?
    );
    println!(
        "no such domain: {:?}",
        xen.pause_domain(DomId(4711)).map_err(|e| e.to_string())
    );
    xen.set_domain_handle(domain, [9; 16])?;
    xen.set_time_offset(domain, 3600)?;
    println!("{:?}", xen.domain_info(domain)?);
    Ok(())
}
