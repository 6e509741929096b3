//! Handles: what a domain has mapped of others' grants.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::grant_table::{GNTMAP_READONLY, GNTST_BAD_HANDLE, GNTST_NO_SPACE};

use crate::domain::Domain;
use crate::grant::{Access, Status};
use crate::machine::Machine;
use crate::speculation;
use crate::types::Mfn;

/// Handles by which the table grows; what Xen gets into a frame.
const CHUNK: usize = 256;

/// A grant that is mapped. It holds a general reference on the frame, and the writable type if it
/// is not read-only, until it is unmapped; the page-table entry has references of its own.
pub(super) struct Mapping<M: Machine> {
    /// The granting domain, which may have died.
    pub(super) domain: Arc<Domain<M>>,
    /// The reference there.
    pub(super) reference: u32,
    /// `GNTMAP_*` as asked for; the bits of what has been unmapped since are cleared.
    pub(super) flags: u32,
    /// The frame.
    pub(super) mfn: Mfn,
    /// Where the CPU's mapping was put, as the caller named the place.
    pub(super) host_addr: u64,
}

impl<M: Machine> Clone for Mapping<M> {
    fn clone(&self) -> Self {
        Self {
            domain: Arc::clone(&self.domain),
            ..*self
        }
    }
}

impl<M: Machine> Mapping<M> {
    /// What the mapping allows.
    pub(super) const fn access(&self) -> Access {
        if self.flags & GNTMAP_READONLY != 0 {
            Access::Read
        } else {
            Access::Write
        }
    }
}

/// What a handle stands for. `None` if it is free, and as long as a request works on it: then it
/// is not on the list of free ones, and good for nobody else.
type Slot<M> = Option<Mapping<M>>;

/// A domain's handles.
pub(super) struct Maptrack<M: Machine> {
    chunks: Vec<Vec<Slot<M>>>,
    free: Vec<u32>,
    max_chunks: u32,
}

impl<M: Machine> Maptrack<M> {
    /// No handles; up to `max_chunks` times 256 of them.
    pub(super) const fn new(max_chunks: u32) -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            max_chunks,
        }
    }

    /// Reserves a handle; it is of no use until [`Maptrack::fill`].
    pub(super) fn reserve(&mut self) -> Result<u32, Status> {
        if self.free.is_empty() {
            self.grow()?;
        }
        self.free.pop().ok_or(GNTST_NO_SPACE)
    }

    /// Gives a reserved or taken handle its (new) mapping.
    pub(super) fn fill(&mut self, handle: u32, mapping: Mapping<M>) {
        if let Some(slot) = self.slot(handle) {
            debug_assert!(slot.is_none(), "handle {handle} filled twice");
            *slot = Some(mapping);
        }
    }

    /// Gives a reserved or taken handle back.
    pub(super) fn release(&mut self, handle: u32) {
        debug_assert!(
            self.slot(handle).is_some_and(|slot| slot.is_none()),
            "handle {handle} released while mapped"
        );
        // There is room: the list was grown together with the slots.
        self.free.push(handle);
    }

    /// Takes a mapping out to work on it; until it is filled or released again, the handle is bad
    /// for everyone else.
    pub(super) fn take(&mut self, handle: u32) -> Result<Mapping<M>, Status> {
        self.slot(handle)
            .and_then(Option::take)
            .ok_or(GNTST_BAD_HANDLE)
    }

    /// The first handle in use, from `from` on.
    pub(super) fn next_in_use(&self, from: u32) -> Option<u32> {
        (from..self.handles()).find(|handle| {
            let slot = self.chunks.get(*handle as usize / CHUNK);
            let slot = slot.and_then(|chunk| chunk.get(*handle as usize % CHUNK));
            slot.is_some_and(Option::is_some)
        })
    }

    /// Whether a frame is mapped.
    pub(super) fn has_mapped(&self, mfn: Mfn) -> bool {
        self.chunks
            .iter()
            .flatten()
            .flatten()
            .any(|mapping| mapping.mfn == mfn)
    }

    fn handles(&self) -> u32 {
        u32::try_from(self.chunks.len() * CHUNK).unwrap_or(u32::MAX)
    }

    fn slot(&mut self, handle: u32) -> Option<&mut Slot<M>> {
        speculation::get_mut_by::<M, _>(&mut self.chunks, handle as usize / CHUNK)?
            .get_mut(handle as usize % CHUNK)
    }

    fn grow(&mut self) -> Result<(), Status> {
        let first = self.handles();
        if self.chunks.len() >= self.max_chunks as usize {
            return Err(GNTST_NO_SPACE);
        }
        let mut chunk = Vec::new();
        let room = first as usize + CHUNK;
        if chunk.try_reserve_exact(CHUNK).is_err()
            || self.chunks.try_reserve(1).is_err()
            || self.free.try_reserve(room - self.free.len()).is_err()
        {
            return Err(GNTST_NO_SPACE);
        }
        chunk.resize_with(CHUNK, || None);
        self.chunks.push(chunk);
        self.free.extend((first..self.handles()).rev());
        Ok(())
    }
}
