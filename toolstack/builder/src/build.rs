//! The half of the work that fills a domain.

use std::io::Read;

use oxen_abi::xen::{SharedInfo, XEN_LEGACY_MAX_VCPUS};
use zerocopy::{FromZeros, IntoBytes};

use crate::context::context;
use crate::domain::Domain;
use crate::error::Error;
use crate::plan::{Plan, RamDisk};
use crate::start_info::start_info;
use crate::{PAGE_BYTES, PAGE_SIZE, tables};

/// Frames of a 2 MiB extent, and its order. Whole extents make large guests quick to populate.
const LARGE: u64 = 512;
const LARGE_ORDER: u8 = 9;
/// Extents in one hypercall.
const BATCH: usize = 1024;
/// Bytes of the RAM disk that are copied at once.
const CHUNK: usize = 1 << 20;

/// The console's and xenstore's ends in dom0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rings {
    /// Machine frame of the console's ring.
    pub console_mfn: u64,
    /// The domain's event channel for the console.
    pub console_port: u32,
    /// Machine frame of xenstore's ring.
    pub xenstore_mfn: u64,
    /// The domain's event channel for xenstore.
    pub xenstore_port: u32,
}

/// What [`Plan::build`] is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Allocating memory.
    Allocate,
    /// Copying kernel and RAM disk, and making tables.
    Populate,
}

impl Plan {
    /// Fills the domain, and tells `progress` as it goes. On an error the domain is left as it is,
    /// to be destroyed by the caller.
    ///
    /// # Errors
    /// Memory ran out, or the hypervisor refused something.
    pub fn build(&self, domain: &impl Domain, progress: &dyn Fn(Phase)) -> Result<Rings, Error> {
        let layout = &self.layout;
        progress(Phase::Allocate);
        let p2m = P2m::allocate(domain, layout.pages)?;
        progress(Phase::Populate);
        self.load_kernel(domain, &p2m)?;
        self.load_ramdisk(domain, &p2m)?;
        let rings = Rings {
            console_mfn: p2m.get(layout.console),
            console_port: domain.alloc_port()?,
            xenstore_mfn: p2m.get(layout.xenstore),
            xenstore_port: domain.alloc_port()?,
        };
        for ring in [rings.console_mfn, rings.xenstore_mfn] {
            domain.write(&[ring], &[0; PAGE_BYTES])?;
        }
        domain.grant_rings(rings.console_mfn, rings.xenstore_mfn)?;
        let list = p2m.range(layout.p2m.pfn, layout.p2m.count);
        domain.write(list, p2m.mfns.as_bytes())?;
        self.write_start_info(domain, &p2m, &rings)?;
        // Last, for pinned tables can no longer be written to.
        for (pfn, table) in tables::build(layout, |pfn| p2m.get(pfn)) {
            domain.write(&[p2m.get(pfn)], table.as_bytes())?;
        }
        let l4 = p2m.get(layout.l4);
        domain.pin_l4(l4)?;
        domain.set_context(&context(layout, self.kernel.notes.entry, l4))?;
        Ok(rings)
    }

    fn load_kernel(&self, domain: &impl Domain, p2m: &P2m) -> Result<(), Error> {
        for segment in &self.kernel.segments {
            let bytes = self.kernel.bytes(segment);
            write_at(domain, p2m, segment.address, bytes)?;
            let zero_from = segment.address + bytes.len() as u64;
            zero(
                domain,
                p2m,
                zero_from,
                segment.address + segment.memory_size,
            )?;
        }
        if let Some(page) = self.kernel.notes.hypercall_page
            && let Some(pfn) = self.layout.pfn_of(page)
        {
            domain.init_hypercall_page(p2m.get(pfn))?;
        }
        Ok(())
    }

    fn load_ramdisk(&self, domain: &impl Domain, p2m: &P2m) -> Result<(), Error> {
        let (Some(ramdisk), Some(frames)) = (&self.ramdisk, self.layout.ramdisk) else {
            return Ok(());
        };
        let mut address = frames.pfn * PAGE_SIZE;
        let mut buffer = vec![0; CHUNK];
        let mut left = ramdisk.bytes;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let chunk = buffer.get_mut(..len).unwrap_or(&mut []);
            ramdisk.read(chunk)?;
            write_at(domain, p2m, address, chunk)?;
            address += len as u64;
            left -= len as u64;
        }
        Ok(())
    }

    fn write_start_info(
        &self,
        domain: &impl Domain,
        p2m: &P2m,
        rings: &Rings,
    ) -> Result<(), Error> {
        let frame = domain.shared_info()?;
        let mut shared = SharedInfo::new_zeroed();
        for vcpu in shared.vcpu_info.iter_mut().take(XEN_LEGACY_MAX_VCPUS) {
            vcpu.evtchn_upcall_mask = 1;
        }
        domain.write(&[frame], shared.as_bytes())?;
        let ramdisk = self.ramdisk.as_ref().map_or(0, |r| r.bytes);
        let info = start_info(&self.layout, rings, frame, ramdisk, &self.command_line);
        let mut page = [0; PAGE_BYTES];
        for (to, from) in page.iter_mut().zip(info.as_bytes()) {
            *to = *from;
        }
        domain.write(&[p2m.get(self.layout.start_info)], &page)
    }
}

impl RamDisk {
    fn read(&self, chunk: &mut [u8]) -> Result<(), Error> {
        (&self.file)
            .read_exact(chunk)
            .map_err(|source| Error::File {
                what: "ramdisk",
                path: self.path.clone(),
                source,
            })
    }
}

/// The machine frames of the domain, by PFN.
struct P2m {
    mfns: Vec<u64>,
}

impl P2m {
    fn allocate(domain: &impl Domain, pages: u64) -> Result<Self, Error> {
        let mut p2m = Self { mfns: Vec::new() };
        // Large extents for as long as there are any, then single frames.
        let large = pages - pages % LARGE;
        let got = p2m.extend(domain, LARGE_ORDER, large)?;
        let rest = p2m.extend(domain, 0, pages)?;
        if rest < pages {
            return Err(Error::Unexpected {
                doing: "allocate the domain's memory",
                problem: format!(
                    "the host's memory ran out after {} of {pages} pages",
                    rest.max(got)
                ),
            });
        }
        Ok(p2m)
    }

    /// Allocates up to PFN `end`; returns the number of frames there are then.
    fn extend(&mut self, domain: &impl Domain, order: u8, end: u64) -> Result<u64, Error> {
        let step = 1u64 << order;
        while self.len() < end {
            let pfns: Vec<u64> = (self.len()..end)
                .step_by(usize::try_from(step).unwrap_or(1))
                .take(BATCH)
                .collect();
            // With nothing at all allocated the hypervisor gives an error; on large extents that only
            // says that memory is in small pieces.
            let got = match domain.populate(order, &pfns) {
                Ok(got) => got,
                Err(_) if order > 0 => break,
                Err(e) => return Err(e),
            };
            let complete = got.len() == pfns.len();
            for mfn in got {
                self.mfns.extend((0..step).map(|i| mfn.wrapping_add(i)));
            }
            if !complete {
                break;
            }
        }
        Ok(self.len())
    }

    fn len(&self) -> u64 {
        self.mfns.len() as u64
    }

    /// The machine frame of a PFN of the layout, all of which are allocated.
    fn get(&self, pfn: u64) -> u64 {
        self.range(pfn, 1).first().copied().unwrap_or(u64::MAX)
    }

    fn range(&self, pfn: u64, count: u64) -> &[u64] {
        let start = usize::try_from(pfn).unwrap_or(usize::MAX);
        let end = usize::try_from(pfn.saturating_add(count)).unwrap_or(usize::MAX);
        self.mfns.get(start..end).unwrap_or(&[])
    }
}

/// Writes `data` to the pseudo-physical address `address`.
fn write_at(domain: &impl Domain, p2m: &P2m, address: u64, data: &[u8]) -> Result<(), Error> {
    let offset = usize::try_from(address % PAGE_SIZE).unwrap_or(0);
    let mut rest = data;
    let mut pfn = address / PAGE_SIZE;
    if offset > 0 && !rest.is_empty() {
        // The first page keeps what is before: segments may share a page, and what nobody loads is
        // zero, for the hypervisor gives out clean frames.
        let len = (PAGE_BYTES - offset).min(rest.len());
        let (head, tail) = rest.split_at(len);
        domain.write_part(p2m.get(pfn), offset, head)?;
        rest = tail;
        pfn += 1;
    }
    if rest.is_empty() {
        return Ok(());
    }
    let count = (rest.len() as u64).div_ceil(PAGE_SIZE);
    let frames = p2m.range(pfn, count);
    if frames.len() as u64 != count {
        return Err(Error::Unexpected {
            doing: "write the domain's memory",
            problem: format!("{address:#x} is past its end"),
        });
    }
    domain.write(frames, rest)
}

/// Zeroes from one pseudo-physical address to another.
fn zero(domain: &impl Domain, p2m: &P2m, from: u64, to: u64) -> Result<(), Error> {
    let zeroes = vec![0; CHUNK];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).unwrap_or(CHUNK).min(CHUNK);
        write_at(domain, p2m, at, zeroes.get(..len).unwrap_or(&[]))?;
        at += len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
