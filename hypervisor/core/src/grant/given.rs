//! A granting domain's table: the frames of entries that it shares with the hypervisor, the
//! version they are read by, and the uses of each entry.

use alloc::vec::Vec;

use oxen_abi::grant_table::GNTTAB_NR_RESERVED_ENTRIES;

use crate::grant::active::Active;
use crate::grant::entry::{Marks, Slot};
use crate::machine::Machine;
use crate::speculation;
use crate::sync::atomic::AtomicU64;
use crate::types::Mfn;

/// Entries of version 1 (8 bytes each) in a frame: the most that a frame can have.
pub(super) const PER_FRAME_V1: usize = 512;
/// Entries of version 2 (16 bytes each) in a frame.
pub(super) const PER_FRAME_V2: usize = 256;
/// Status words of version 2 (2 bytes each) in a frame.
pub(super) const STATUS_PER_FRAME: usize = 2048;
/// Where the four status words of an 8-byte word begin.
const SHIFTS: [u32; 4] = [0, 16, 32, 48];
/// Frames of version 2 entries that one status frame is enough for.
pub(super) const FRAMES_PER_STATUS: u32 = 8;

/// How entries are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Version {
    /// 8 bytes, marks in the entry, frames of 32 bits. What every guest starts with.
    #[default]
    V1,
    /// 16 bytes, marks in frames of their own.
    V2,
}

impl Version {
    /// As the ABI numbers it: 1 or 2.
    pub const fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// Status frames that go with so many frames of entries.
    pub const fn status_frames(self, frames: u32) -> u32 {
        match self {
            Self::V1 => 0,
            Self::V2 => frames.div_ceil(FRAMES_PER_STATUS),
        }
    }
}

/// What a frame of a table holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Entries.
    Entries,
    /// Status words.
    Status,
}

/// A frame of entries, and their uses: as many as version 1 has, in either version, so that uses
/// of the first entries outlive a change of version.
#[derive(Debug)]
struct Frame {
    mfn: Mfn,
    words: &'static Words,
    active: Vec<Active>,
}

/// A frame's words; they are the table's as long as the frame is.
type Words = [AtomicU64; 512];

/// A granting domain's table.
#[derive(Debug, Default)]
pub(super) struct Table {
    version: Version,
    frames: Vec<Frame>,
    status: Vec<Mfn>,
    /// How many entries are in use.
    pub(super) used: u32,
}

fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

impl Table {
    /// The version in force.
    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// Frames of entries.
    pub(super) fn frames(&self) -> u32 {
        length(&self.frames)
    }

    /// Status frames.
    pub(super) fn status_frames(&self) -> u32 {
        length(&self.status)
    }

    /// One of the frames of a kind.
    pub(super) fn frame(&self, kind: Kind, index: u32) -> Option<Mfn> {
        match kind {
            Kind::Entries => speculation::get(&self.frames, index as usize).map(|frame| frame.mfn),
            Kind::Status => speculation::get(&self.status, index as usize).copied(),
        }
    }

    /// The next frame to be added on the way to `frames` frames of entries: its kind and its
    /// number. Status words come before the entries that they are for.
    pub(super) fn missing(&self, frames: u32) -> Option<(Kind, u32)> {
        let have = self.frames();
        if have >= frames {
            return None;
        }
        let status = self.status_frames();
        if status < self.version.status_frames(have + 1) {
            Some((Kind::Status, status))
        } else {
            Some((Kind::Entries, have))
        }
    }

    /// Adds a frame, if it still is the next one of its kind; `false` if it is not, or if there
    /// is no memory.
    pub(super) fn add<M: Machine>(
        &mut self,
        machine: &M,
        kind: Kind,
        index: u32,
        mfn: Mfn,
    ) -> bool {
        match kind {
            Kind::Status => {
                // The version may have changed meanwhile.
                if self.version == Version::V1
                    || index != self.status_frames()
                    || self.status.try_reserve(1).is_err()
                {
                    return false;
                }
                self.status.push(mfn);
            }
            Kind::Entries => {
                let mut active = Vec::new();
                let Some(words) = machine.page(mfn) else {
                    return false;
                };
                if self.missing(index.saturating_add(1)) != Some((Kind::Entries, index))
                    || active.try_reserve_exact(PER_FRAME_V1).is_err()
                    || self.frames.try_reserve(1).is_err()
                {
                    return false;
                }
                active.resize(PER_FRAME_V1, Active::default());
                self.frames.push(Frame { mfn, words, active });
            }
        }
        true
    }

    /// Takes a frame out, entries first; the uses of its entries are forgotten (their users hold
    /// their own references on what was granted).
    pub(super) fn remove_last(&mut self) -> Option<Mfn> {
        match self.frames.pop() {
            Some(frame) => Some(frame.mfn),
            None => self.status.pop(),
        }
    }

    /// The guest's words of an entry; `None` for a reference past the table.
    pub(super) fn slot<M: Machine>(&self, machine: &M, reference: u32) -> Option<Slot> {
        let reference = reference as usize;
        match self.version {
            Version::V1 => {
                let frame = speculation::get_by::<M, _>(&self.frames, reference / PER_FRAME_V1)?;
                frame
                    .words
                    .get(reference % PER_FRAME_V1)
                    .map(Slot::version_1)
            }
            Version::V2 => {
                let frame = speculation::get_by::<M, _>(&self.frames, reference / PER_FRAME_V2)?;
                let first = reference % PER_FRAME_V2 * 2;
                let status =
                    speculation::get_by::<M, _>(&self.status, reference / STATUS_PER_FRAME)?;
                let marks = machine.page(*status)?;
                Some(Slot {
                    head: frame.words.get(first)?,
                    body: Some(frame.words.get(first + 1)?),
                    marks: Marks {
                        word: marks.get(reference % STATUS_PER_FRAME / 4)?,
                        shift: SHIFTS[reference % 4],
                    },
                })
            }
        }
    }

    /// What is known of an entry's uses.
    pub(super) fn active(&self, reference: u32) -> Option<&Active> {
        let frame = speculation::get(&self.frames, reference as usize / PER_FRAME_V1)?;
        frame.active.get(reference as usize % PER_FRAME_V1)
    }

    /// The same, to change it, and the guest's words of the entry if the version in force has it.
    pub(super) fn entry<M: Machine>(
        &mut self,
        machine: &M,
        reference: u32,
    ) -> Option<(Option<Slot>, &mut Active)> {
        let version_2 = match self.version {
            Version::V1 => None,
            Version::V2 => self.slot(machine, reference),
        };
        let index = reference as usize;
        let frame = speculation::get_mut_by::<M, _>(&mut self.frames, index / PER_FRAME_V1)?;
        let slot = match self.version {
            Version::V1 => frame.words.get(index % PER_FRAME_V1).map(Slot::version_1),
            Version::V2 => version_2,
        };
        Some((slot, frame.active.get_mut(index % PER_FRAME_V1)?))
    }

    /// Whether an entry is in use.
    pub(super) fn is_in_use(&self, reference: u32) -> bool {
        self.active(reference).is_some_and(Active::is_in_use)
    }

    /// Whether an entry other than the reserved ones is in use.
    pub(super) fn is_busy(&self) -> bool {
        let reserved = (0..GNTTAB_NR_RESERVED_ENTRIES).filter(|entry| self.is_in_use(*entry));
        reserved.count() != self.used as usize
    }

    /// Changes the version: all entries are lost. `status` are the status frames to use from now
    /// on; returned are those used so far.
    pub(super) fn change<M: Machine>(
        &mut self,
        machine: &M,
        version: Version,
        status: Vec<Mfn>,
    ) -> Vec<Mfn> {
        for frame in &self.frames {
            machine.zero_page(frame.mfn);
        }
        self.version = version;
        core::mem::replace(&mut self.status, status)
    }
}
