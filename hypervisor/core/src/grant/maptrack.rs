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
    /// Handles below this one are not in use any more: those of a dying domain, which gets no new ones.
    ended: u32,
    /// A frame that is looked for, and the handles below which it is not.
    sought: Option<(Mfn, u32)>,
}

/// Handles that are looked at in one go.
const AT_ONCE: u32 = 4096;

/// What a look at some handles led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found<T> {
    /// The answer.
    Answer(T),
    /// There are more to look at.
    NotYet,
}

impl<M: Machine> Maptrack<M> {
    /// No handles; up to `max_chunks` times 256 of them.
    pub(super) const fn new(max_chunks: u32) -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            max_chunks,
            ended: 0,
            sought: None,
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
        self.sought = None;
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

    /// The next handle in use of a dying domain; none at the end.
    pub(super) fn next_in_use(&mut self) -> Found<Option<u32>> {
        let (found, next) = self.look(self.ended, |_| true);
        self.ended = next;
        found
    }

    /// Whether a frame is mapped. Goes on where the last look for it stopped.
    pub(super) fn has_mapped(&mut self, mfn: Mfn) -> Found<bool> {
        let from = self.sought.filter(|(other, _)| *other == mfn);
        let (found, next) = self.look(from.map_or(0, |(_, from)| from), |mapping| {
            mapping.mfn == mfn
        });
        match found {
            Found::Answer(handle) => {
                self.sought = None;
                Found::Answer(handle.is_some())
            }
            Found::NotYet => {
                self.sought = Some((mfn, next));
                Found::NotYet
            }
        }
    }

    /// Looks at some handles from `from` on for a mapping. Returns the handle, and where to go on.
    fn look(&self, from: u32, is_it: impl Fn(&Mapping<M>) -> bool) -> (Found<Option<u32>>, u32) {
        let end = self.handles().min(from.saturating_add(AT_ONCE));
        let slots = self.chunks.iter().skip(from as usize / CHUNK).flatten();
        let slots = slots.skip(from as usize % CHUNK);
        let mut found = (from..end).zip(slots).filter_map(|(handle, slot)| {
            let mapping = slot.as_ref()?;
            is_it(mapping).then_some(handle)
        });
        match found.next() {
            Some(handle) => (Found::Answer(Some(handle)), handle),
            None if end == self.handles() => (Found::Answer(None), end),
            None => (Found::NotYet, end),
        }
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

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, Found, Mapping, Maptrack};
    use crate::testing::Host;
    use crate::types::Mfn;

    #[test]
    fn a_long_look_stops_and_goes_on() {
        let host = Host::new();
        let domain = host.domain(1, 1, 1);
        let mut track = Maptrack::new(64);
        let handles: alloc::vec::Vec<u32> =
            (0..3 * AT_ONCE).map(|_| track.reserve().unwrap()).collect();
        let last = *handles.last().unwrap();
        let mapping = Mapping {
            domain,
            reference: 8,
            flags: 0,
            mfn: Mfn(5),
            host_addr: 0,
        };
        track.fill(last, mapping);
        for _ in 0..2 {
            assert_eq!(track.has_mapped(Mfn(5)), Found::NotYet);
        }
        assert_eq!(track.has_mapped(Mfn(5)), Found::Answer(true));
        for _ in 0..2 {
            assert_eq!(track.has_mapped(Mfn(6)), Found::NotYet);
        }
        assert_eq!(track.has_mapped(Mfn(6)), Found::Answer(false));
        for _ in 0..2 {
            assert_eq!(track.next_in_use(), Found::NotYet);
        }
        assert_eq!(track.next_in_use(), Found::Answer(Some(last)));
        assert!(track.take(last).is_ok());
        track.release(last);
        assert_eq!(track.next_in_use(), Found::Answer(None));
    }
}
