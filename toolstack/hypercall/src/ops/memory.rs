//! `HYPERVISOR_memory_op`: memory of domains. All frame numbers are in pages of 4 KiB.

use bitflags::bitflags;
use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory::{
    MemoryDomain, Reservation, XENMEM_CLAIM_PAGES, XENMEM_CURRENT_RESERVATION,
    XENMEM_DECREASE_RESERVATION, XENMEM_MAXIMUM_GPFN, XENMEM_MAXIMUM_RAM_PAGE,
    XENMEM_MAXIMUM_RESERVATION, XENMEM_POPULATE_PHYSMAP,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{DomId, Error, Hypervisor, Result};

bitflags! {
    /// How memory is allocated (`XENMEMF_*`). The low byte limits the width of machine addresses, in bits; 0 does not.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MemoryFlags: u32 {
        /// Populate on demand (translated domains only).
        const POPULATE_ON_DEMAND = 1 << 16;
        /// From the given NUMA node or not at all.
        const EXACT_NODE = 1 << 17;
        /// The node is the guest's own numbering.
        const VIRTUAL_NODE = 1 << 18;
        const _ = !0;
    }
}

/// Most frames in one hypercall, which bounds its buffer.
const BATCH: usize = 8192;

impl Hypervisor {
    /// Gives `domain` memory at the guest frames `gpfns`, each the first of 2^`order` frames. Returns the machine
    /// frames (PV: MFNs), as many as could be allocated: fewer than asked for means that memory ran out, or that the
    /// domain's limit was reached.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn populate_physmap(
        &self,
        domain: DomId,
        order: u8,
        flags: MemoryFlags,
        gpfns: &[u64],
    ) -> Result<Vec<u64>> {
        let mut mfns = Vec::with_capacity(gpfns.len());
        for batch in gpfns.chunks(BATCH) {
            let (done, frames) = self.reserve(
                ("populate_physmap", XENMEM_POPULATE_PHYSMAP),
                domain,
                order,
                flags.bits(),
                batch,
            )?;
            mfns.extend(frames.into_iter().take(done));
            if done < batch.len() {
                break;
            }
        }
        Ok(mfns)
    }

    /// Takes frames from `domain`. `frames` are GMFNs (MFNs of a PV domain), each the first of 2^`order`. Returns how
    /// many of them were freed.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn decrease_reservation(&self, domain: DomId, order: u8, frames: &[u64]) -> Result<usize> {
        let mut total = 0;
        for batch in frames.chunks(BATCH) {
            let op = ("decrease_reservation", XENMEM_DECREASE_RESERVATION);
            let (done, _) = self.reserve(op, domain, order, 0, batch)?;
            total += done;
            if done < batch.len() {
                break;
            }
        }
        Ok(total)
    }

    /// Sets aside `pages` free pages for `domain` (0 gives the rest of a claim back), so that populating cannot run
    /// out half-way.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`] with `ENOMEM` where there are not as many free.
    pub fn claim_pages(&self, domain: DomId, pages: u64) -> Result<()> {
        let mut argument = Reservation {
            nr_extents: pages,
            domid: domain.0,
            ..Default::default()
        };
        // SAFETY: the handle in the argument is 0, as a claim wants it.
        unsafe { self.memory_op("claim_pages", domain, XENMEM_CLAIM_PAGES, &mut argument) }
            .map(drop)
    }

    /// Pages that `domain` has now.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn current_reservation(&self, domain: DomId) -> Result<u64> {
        self.memory_question("current_reservation", domain, XENMEM_CURRENT_RESERVATION)
    }

    /// Pages that `domain` may have at most.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn maximum_reservation(&self, domain: DomId) -> Result<u64> {
        self.memory_question("maximum_reservation", domain, XENMEM_MAXIMUM_RESERVATION)
    }

    /// The highest guest frame that `domain` uses.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn maximum_gpfn(&self, domain: DomId) -> Result<u64> {
        self.memory_question("maximum_gpfn", domain, XENMEM_MAXIMUM_GPFN)
    }

    /// The highest machine frame of the host, plus one.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn maximum_ram_page(&self) -> Result<u64> {
        let op = "maximum_ram_page";
        let args = [XENMEM_MAXIMUM_RAM_PAGE.into(), 0, 0, 0, 0];
        // SAFETY: the operation takes no argument.
        let page = unsafe { self.call(op, None, HYPERVISOR_MEMORY_OP, args)? };
        u64::try_from(page).map_err(|_| Error::Invalid {
            op,
            what: format!("answer {page}"),
        })
    }

    /// Populates or depopulates; returns the number of extents done and what the array holds then.
    fn reserve(
        &self,
        (op, cmd): (&'static str, u32),
        domain: DomId,
        order: u8,
        mem_flags: u32,
        frames: &[u64],
    ) -> Result<(usize, Vec<u64>)> {
        let mut extents = self.buffer(op, size_of_val(frames))?;
        extents.bytes_mut().copy_from_slice(frames.as_bytes());
        let mut argument = Reservation {
            extent_start: extents.address(),
            nr_extents: frames.len() as u64,
            extent_order: order.into(),
            mem_flags,
            domid: domain.0,
            ..Default::default()
        };
        // SAFETY: `extents` is borrowed mutably and has `nr_extents` entries of 8 bytes.
        let done = unsafe { self.memory_op(op, domain, cmd, &mut argument)? };
        let done = usize::try_from(done).unwrap_or(0).min(frames.len());
        let (after, _) = extents.bytes().as_chunks::<8>();
        Ok((done, after.iter().map(|b| u64::from_le_bytes(*b)).collect()))
    }

    fn memory_question(&self, op: &'static str, domain: DomId, cmd: u32) -> Result<u64> {
        let mut argument = MemoryDomain { domid: domain.0 };
        // SAFETY: the argument holds no handle.
        let pages = unsafe { self.memory_op(op, domain, cmd, &mut argument)? };
        u64::try_from(pages).map_err(|_| Error::Invalid {
            op,
            what: format!("answer {pages}"),
        })
    }

    /// # Safety
    /// As [`Hypervisor::call_with`].
    unsafe fn memory_op<T: IntoBytes + FromBytes + Immutable>(
        &self,
        op: &'static str,
        domain: DomId,
        cmd: u32,
        argument: &mut T,
    ) -> Result<i64> {
        // SAFETY: the caller's promise is the same.
        unsafe {
            self.call_with(op, Some(domain), HYPERVISOR_MEMORY_OP, argument, |at| {
                [cmd.into(), at, 0, 0, 0]
            })
        }
    }
}
