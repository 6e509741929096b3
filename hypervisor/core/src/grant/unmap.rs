//! `GNTTABOP_unmap_grant_ref` and `GNTTABOP_unmap_and_replace`.
//!
//! Page-table entries of a piece of the batch are taken out first, then the caller's TLBs are
//! flushed once, and only then is anything let go of: a frame whose grant has ended must not be
//! reachable through a stale translation.

use oxen_abi::grant_table::{GNTMAP_DEVICE_MAP, GNTMAP_HOST_MAP, GNTST_GENERAL_ERROR, GNTST_OKAY};

use arrayvec::ArrayVec;

use crate::grant::map::let_go;
use crate::grant::maptrack::Mapping;
use crate::grant::{Status, pte};
use crate::machine::Machine;
use crate::mm::tlb;
use crate::percpu::Cx;

/// Mappings that are unmapped with one flush.
pub(super) const AT_ONCE: usize = 32;

/// What is to be unmapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The handle.
    pub(super) handle: u32,
    /// Where the CPU's mapping is; 0 = leave it.
    pub(super) host_addr: u64,
    /// The frame's address, to end the devices' mapping; 0 = leave it.
    pub(super) dev_bus_addr: u64,
    /// A mapping to put in place; 0 = none.
    pub(super) new_addr: u64,
}

/// Mappings taken out of page tables, with handles that are busy until the flush.
pub(super) struct Removed<M: Machine> {
    mappings: ArrayVec<(u32, Mapping<M>), AT_ONCE>,
    flush: bool,
}

impl<M: Machine> Removed<M> {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self {
            mappings: ArrayVec::new_const(),
            flush: false,
        }
    }

    /// Whether another one fits.
    pub(super) const fn is_full(&self) -> bool {
        self.mappings.is_full()
    }

    /// Takes a mapping out of the page tables; not called when full.
    pub(super) fn remove(&mut self, cx: &Cx<'_, M>, request: &Request) -> Status {
        let mut mapping = match cx.domain().grants.taken().take(request.handle) {
            Ok(mapping) => mapping,
            Err(status) => return status,
        };
        let before = mapping.flags;
        let status = match unmap(cx, &mut mapping, request) {
            Ok(()) => GNTST_OKAY,
            Err(status) => status,
        };
        self.flush |= (before ^ mapping.flags) & GNTMAP_HOST_MAP != 0;
        if mapping.flags & (GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP) != 0 {
            cx.domain().grants.taken().fill(request.handle, mapping);
        } else {
            // There is room, by the caller's word.
            let _ = self.mappings.try_push((request.handle, mapping));
        }
        status
    }

    /// Flushes and lets go of all of them.
    pub(super) fn finish(&mut self, cx: &Cx<'_, M>) {
        if core::mem::take(&mut self.flush) {
            tlb::flush(cx.cpu, &cx.domain().dirty_cpus());
        }
        for (handle, mapping) in self.mappings.drain(..) {
            let access = mapping.access();
            let_go(
                cx.cpu,
                &mapping.domain,
                mapping.reference,
                mapping.mfn,
                access,
            );
            cx.domain().grants.taken().release(handle);
        }
    }
}

/// Ends the parts of a mapping that the request names, and clears their flags.
fn unmap<M: Machine>(
    cx: &Cx<'_, M>,
    mapping: &mut Mapping<M>,
    request: &Request,
) -> Result<(), Status> {
    if request.dev_bus_addr != 0 && mapping.flags & GNTMAP_DEVICE_MAP != 0 {
        if request.dev_bus_addr != mapping.mfn.address() {
            return Err(GNTST_GENERAL_ERROR);
        }
        mapping.flags &= !GNTMAP_DEVICE_MAP;
    }
    if request.host_addr != 0 && mapping.flags & GNTMAP_HOST_MAP != 0 {
        let (at, new) = (request.host_addr, request.new_addr);
        let outcome = pte::unmap(cx, mapping.mfn, at, new, mapping.flags);
        // Where it was put it is no more: the caller has overwritten the entry, which is its
        // fault, but there is nothing left to hold the frame for.
        let gone = at == mapping.host_addr && new == 0 && outcome == Err(GNTST_GENERAL_ERROR);
        if gone || outcome.is_ok() {
            mapping.flags &= !GNTMAP_HOST_MAP;
        }
        outcome?;
    }
    Ok(())
}
