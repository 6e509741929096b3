//! What the hypervisor knows of a granting domain's entries in use: who uses them, for which
//! frame, how often.

use alloc::vec::Vec;

use oxen_abi::grant_table::{GNTST_BAD_GNTREF, GNTST_GENERAL_ERROR, GTF_READING, GTF_WRITING};

use crate::grant::entry::{self, PER_FRAME};
use crate::grant::{Access, Status};
use crate::machine::Machine;
use crate::speculation;
use crate::sync::atomic::AtomicU64;
use crate::types::{DomId, Mfn};

/// The uses of one entry.
#[derive(Clone, Copy, Debug, Default)]
struct Active {
    grantee: u16,
    mfn: u64,
    readers: u32,
    writers: u32,
}

/// A frame of entries, and their uses.
#[derive(Debug)]
struct Frame {
    mfn: Mfn,
    active: Vec<Active>,
}

/// A granting domain's table.
#[derive(Debug, Default)]
pub(super) struct Table {
    frames: Vec<Frame>,
}

/// A grant in use: the frame, and the cache attributes that the entry asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pinned {
    /// The granted frame. Whether it is the granting domain's is not yet known.
    pub(super) mfn: Mfn,
    /// `GTF_PWT`, `GTF_PCD` and `GTF_PAT` of the entry.
    pub(super) flags: u16,
}

impl Table {
    /// Frames of entries.
    pub(super) fn frames(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    /// One of the frames.
    pub(super) fn frame(&self, index: u32) -> Option<Mfn> {
        speculation::get(&self.frames, index as usize).map(|frame| frame.mfn)
    }

    /// Adds a frame as number `index`, if that is the next one; `false` if it is not, or if there
    /// is no memory.
    pub(super) fn add(&mut self, index: u32, mfn: Mfn) -> bool {
        if index as usize != self.frames.len() {
            return false;
        }
        let mut active = Vec::new();
        if active.try_reserve_exact(PER_FRAME).is_err() || self.frames.try_reserve(1).is_err() {
            return false;
        }
        active.resize(PER_FRAME, Active::default());
        self.frames.push(Frame { mfn, active });
        true
    }

    /// Takes the last frame out; the uses of its entries are forgotten (their users hold their
    /// own references on what was granted).
    pub(super) fn remove_last(&mut self) -> Option<Mfn> {
        self.frames.pop().map(|frame| frame.mfn)
    }

    /// The guest's word of an entry; `None` for a reference past the table.
    pub(super) fn word<M: Machine>(
        &self,
        machine: &M,
        reference: u32,
    ) -> Option<&'static AtomicU64> {
        let frame = speculation::get(&self.frames, reference as usize / PER_FRAME)?;
        machine.page(frame.mfn)?.get(reference as usize % PER_FRAME)
    }

    /// Whether an entry is in use.
    pub(super) fn is_in_use(&self, reference: u32) -> bool {
        speculation::get(&self.frames, reference as usize / PER_FRAME)
            .and_then(|frame| frame.active.get(reference as usize % PER_FRAME))
            .is_some_and(|active| active.readers + active.writers != 0)
    }

    fn active(&mut self, reference: u32) -> Option<&mut Active> {
        let frame = speculation::get_mut(&mut self.frames, reference as usize / PER_FRAME)?;
        frame.active.get_mut(reference as usize % PER_FRAME)
    }

    /// Notes one more use of an entry by `grantee`. The guest's word is only asked when the use is
    /// of a kind that the entry does not have yet; while it is in use the frame stays the same
    /// whatever the guest writes.
    pub(super) fn pin<M: Machine>(
        &mut self,
        machine: &M,
        reference: u32,
        grantee: DomId,
        access: Access,
    ) -> Result<Pinned, Status> {
        let word = self.word(machine, reference).ok_or(GNTST_BAD_GNTREF)?;
        let active = self.active(reference).ok_or(GNTST_BAD_GNTREF)?;
        let idle = active.readers == 0 && active.writers == 0;
        if !idle && active.grantee != grantee.0 {
            return Err(GNTST_GENERAL_ERROR);
        }
        let counter = match access {
            Access::Read => active.readers,
            Access::Write => active.writers,
        };
        // The two counters' sum must not wrap either.
        if counter >= u32::MAX / 4 {
            return Err(GNTST_GENERAL_ERROR);
        }
        if idle || (access == Access::Write && active.writers == 0) {
            let entry = entry::claim(word, grantee, access)?;
            if idle {
                active.grantee = grantee.0;
                active.mfn = entry.frame().0;
            }
        }
        match access {
            Access::Read => active.readers += 1,
            Access::Write => active.writers += 1,
        }
        let flags = entry::Entry(word.load(crate::sync::atomic::Ordering::Acquire)).flags();
        Ok(Pinned {
            mfn: Mfn(active.mfn),
            flags,
        })
    }

    /// Takes a use back; with the last one of its kind the mark in the guest's word goes too.
    pub(super) fn unpin<M: Machine>(&mut self, machine: &M, reference: u32, access: Access) {
        let word = self.word(machine, reference);
        // A dead domain's table is gone before its grants are.
        let Some(active) = self.active(reference) else {
            return;
        };
        let counter = match access {
            Access::Read => &mut active.readers,
            Access::Write => &mut active.writers,
        };
        debug_assert!(
            *counter != 0,
            "grant {reference} released more often than used"
        );
        *counter = counter.saturating_sub(1);
        let mut flags = 0;
        if active.writers == 0 && access == Access::Write {
            flags |= GTF_WRITING;
        }
        if active.writers == 0 && active.readers == 0 {
            flags |= GTF_READING;
        }
        if let Some(word) = word
            && flags != 0
        {
            entry::clear(word, flags);
        }
    }
}
