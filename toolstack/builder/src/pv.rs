//! A real PV domain, through hypercalls.

use hypercall::{CreateDomain, DomId, Hypervisor, MemoryFlags, PageTableLevel, Protection};
use oxen_abi::arch_x86::VcpuGuestContext;
use oxen_abi::grant_table::{
    GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE, GTF_PERMIT_ACCESS, GrantEntryV1,
};
use zerocopy::IntoBytes;

use crate::PAGE_BYTES;
use crate::domain::Domain;
use crate::error::Error;

/// Frames that are mapped at once: 4 MiB.
const MAP_BATCH: usize = 1024;
/// Pages in a MiB.
const PAGES_PER_MIB: u64 = 256;

/// What a domain may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// vCPUs, at least 1.
    pub vcpus: u32,
    /// Memory at the start, in MiB.
    pub memory_mib: u64,
    /// Memory at most, in MiB.
    pub maxmem_mib: u64,
}

/// A domain that exists and is being built.
#[derive(Debug)]
pub struct PvDomain<'a> {
    hypervisor: &'a Hypervisor,
    domain: DomId,
}

/// Creates an empty PV domain with its vCPUs and memory limit. It is paused, and has the UUID `handle`.
/// On an error nothing is left of it.
///
/// # Errors
/// [`Error::HostMemory`] where the host has too little, or the hypervisor refuses.
pub fn create<'a>(
    hypervisor: &'a Hypervisor,
    handle: [u8; 16],
    limits: &Limits,
) -> Result<PvDomain<'a>, Error> {
    check_memory(hypervisor, limits)?;
    let domain = hypervisor
        .create_domain(None, &CreateDomain::pv(handle, limits.vcpus))
        .map_err(Error::doing("create the domain"))?;
    let domain = PvDomain { hypervisor, domain };
    match domain.set_limits(limits) {
        Ok(()) => Ok(domain),
        Err(e) => {
            // The first error is the one to tell; a domain without memory is destroyed at once.
            let _ = hypervisor.destroy_domain(domain.domain);
            Err(e)
        }
    }
}

/// Checks that the host has the memory that a domain starts with. [`create()`] does so too; asking
/// before the kernel is read saves the user the wait.
///
/// # Errors
/// [`Error::HostMemory`], or the hypervisor does not say.
pub fn check_memory(hypervisor: &Hypervisor, limits: &Limits) -> Result<(), Error> {
    let info = hypervisor
        .phys_info()
        .map_err(Error::doing("ask for the free memory"))?;
    let free = info.free_pages.saturating_sub(info.outstanding_pages);
    if limits.memory_mib.saturating_mul(PAGES_PER_MIB) > free {
        return Err(Error::HostMemory {
            asked_mib: limits.memory_mib,
            free_mib: free / PAGES_PER_MIB,
        });
    }
    Ok(())
}

impl PvDomain<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> DomId {
        self.domain
    }

    fn set_limits(&self, limits: &Limits) -> Result<(), Error> {
        let hypervisor = self.hypervisor;
        hypervisor
            .set_max_vcpus(self.domain, limits.vcpus)
            .map_err(Error::doing("allocate the vCPUs"))?;
        hypervisor
            .set_max_memory(self.domain, limits.maxmem_mib.saturating_mul(1024))
            .map_err(Error::doing("set the memory limit"))?;
        self.claim(limits)
    }

    /// Sets the memory aside, so that nobody takes it while the domain is being populated.
    fn claim(&self, limits: &Limits) -> Result<(), Error> {
        let pages = limits.memory_mib.saturating_mul(PAGES_PER_MIB);
        match self.hypervisor.claim_pages(self.domain, pages) {
            Ok(()) => Ok(()),
            Err(e) if e.is_unsupported() => Ok(()),
            Err(e) => match check_memory(self.hypervisor, limits) {
                Err(shortage @ Error::HostMemory { .. }) => Err(shortage),
                _ => Err(Error::doing("set the domain's memory aside")(e)),
            },
        }
    }

    fn map_and_write(&self, mfns: &[u64], offset: usize, data: &[u8]) -> Result<(), Error> {
        let doing = Error::doing("write the domain's memory");
        let mapping = self
            .hypervisor
            .map_foreign(self.domain, mfns, Protection::ReadWrite)
            .map_err(&doing)?;
        mapping.write(offset, data).map_err(&doing)
    }
}

impl Domain for PvDomain<'_> {
    fn populate(&self, order: u8, pfns: &[u64]) -> Result<Vec<u64>, Error> {
        self.hypervisor
            .populate_physmap(self.domain, order, MemoryFlags::empty(), pfns)
            .map_err(Error::doing("allocate the domain's memory"))
    }

    fn write(&self, mfns: &[u64], data: &[u8]) -> Result<(), Error> {
        let chunks = data.chunks(MAP_BATCH * PAGE_BYTES);
        for (mfns, data) in mfns.chunks(MAP_BATCH).zip(chunks) {
            self.map_and_write(mfns, 0, data)?;
        }
        Ok(())
    }

    fn write_part(&self, mfn: u64, offset: usize, data: &[u8]) -> Result<(), Error> {
        self.map_and_write(&[mfn], offset, data)
    }

    fn shared_info(&self) -> Result<u64, Error> {
        let info = self
            .hypervisor
            .domain_info(self.domain)
            .map_err(Error::doing("find the shared_info page"))?;
        Ok(info.shared_info_frame)
    }

    fn init_hypercall_page(&self, mfn: u64) -> Result<(), Error> {
        self.hypervisor
            .init_hypercall_page(self.domain, mfn)
            .map_err(Error::doing("fill in the hypercall page"))
    }

    fn alloc_port(&self) -> Result<u32, Error> {
        self.hypervisor
            .alloc_unbound_port(self.domain, DomId::DOM0)
            .map_err(Error::doing("make an event channel"))
    }

    fn grant_rings(&self, console_mfn: u64, xenstore_mfn: u64) -> Result<(), Error> {
        let doing = Error::doing("grant the console and xenstore rings");
        let table = self
            .hypervisor
            .map_grant_table(self.domain, 0, 1)
            .map_err(&doing)?;
        let rings = [
            (GNTTAB_RESERVED_CONSOLE, console_mfn),
            (GNTTAB_RESERVED_XENSTORE, xenstore_mfn),
        ];
        for (reference, mfn) in rings {
            let frame = u32::try_from(mfn).map_err(|_| Error::Unexpected {
                doing: "grant the console and xenstore rings",
                problem: format!("frame {mfn:#x} is too high for a version 1 grant"),
            })?;
            let mut entry = GrantEntryV1 {
                flags: 0,
                domid: DomId::DOM0.0,
                frame,
            };
            let at = reference as usize * size_of::<GrantEntryV1>();
            table.write(at, entry.as_bytes()).map_err(&doing)?;
            // The flags are what makes the entry valid, so they come last.
            entry.flags = GTF_PERMIT_ACCESS;
            table.write(at, entry.as_bytes()).map_err(&doing)?;
        }
        Ok(())
    }

    fn pin_l4(&self, mfn: u64) -> Result<(), Error> {
        self.hypervisor
            .pin_tables(self.domain, &[(PageTableLevel::L4, mfn)])
            .map_err(Error::doing("pin the page tables"))
    }

    fn set_context(&self, context: &VcpuGuestContext) -> Result<(), Error> {
        self.hypervisor
            .set_vcpu_context(self.domain, 0, context)
            .map_err(Error::doing("set the registers of vCPU 0"))
    }
}
