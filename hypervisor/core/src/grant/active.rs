//! What the hypervisor knows of a granting domain's entries in use: who uses them, for what, how
//! often.

use oxen_abi::grant_table::{GNTST_BAD_GNTREF, GNTST_GENERAL_ERROR, GTF_READING, GTF_WRITING};

use crate::grant::entry::{Granted, Manner, Part, Target, Use};
use crate::grant::given::Table;
use crate::grant::{Access, Status};
use crate::machine::Machine;
use crate::types::{DomId, Mfn};

/// The uses of one entry, and what it granted when they began. There are 512 of these for each
/// frame of entries, so they are packed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Active {
    /// The frame; or the reference passed on, with its domain in the upper half.
    target: u64,
    grantee: u16,
    first: u16,
    len: u16,
    kind: Kind,
    readers: u32,
    writers: u32,
}

const _: () = assert!(size_of::<Active>() == 24);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    Whole,
    Part,
    Onward,
}

impl Active {
    /// Whether anyone uses the entry.
    pub(super) const fn is_in_use(&self) -> bool {
        self.readers != 0 || self.writers != 0
    }

    #[allow(clippy::cast_possible_truncation, reason = "two halves of a word")]
    const fn granted(&self) -> Granted {
        let target = match self.kind {
            Kind::Whole | Kind::Part => Target::Frame(Mfn(self.target)),
            Kind::Onward => Target::Onward {
                domain: DomId((self.target >> 32) as u16),
                reference: self.target as u32,
            },
        };
        let part = match self.kind {
            Kind::Whole => None,
            Kind::Part | Kind::Onward => Some(Part {
                first: self.first,
                len: self.len,
            }),
        };
        Granted { target, part }
    }

    fn begin(&mut self, grantee: DomId, granted: Granted) {
        self.grantee = grantee.0;
        let part = granted.part.unwrap_or(Part::WHOLE);
        (self.first, self.len) = (part.first, part.len);
        (self.target, self.kind) = match granted.target {
            Target::Frame(mfn) if granted.part.is_none() => (mfn.0, Kind::Whole),
            Target::Frame(mfn) => (mfn.0, Kind::Part),
            Target::Onward { domain, reference } => (
                u64::from(domain.0) << 32 | u64::from(reference),
                Kind::Onward,
            ),
        };
    }
}

/// A grant in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pinned {
    /// What is granted.
    pub(super) granted: Granted,
    /// `GTF_PWT`, `GTF_PCD` and `GTF_PAT` of the entry.
    pub(super) flags: u16,
}

impl Table {
    /// Notes one more use of an entry. The guest's words are only asked when the use is of a kind
    /// that the entry does not have yet; while it is in use it leads to the same place whatever
    /// the guest writes.
    pub(super) fn pin<M: Machine>(
        &mut self,
        machine: &M,
        reference: u32,
        wanted: Use,
    ) -> Result<Pinned, Status> {
        let (slot, active) = self.entry(machine, reference).ok_or(GNTST_BAD_GNTREF)?;
        let slot = slot.ok_or(GNTST_BAD_GNTREF)?;
        let idle = !active.is_in_use();
        if !idle && active.grantee != wanted.grantee.0 {
            return Err(GNTST_GENERAL_ERROR);
        }
        // What is in use by copies only, and for a part of the frame, can't be mapped either.
        if !idle && wanted.manner == Manner::Map && active.kind != Kind::Whole {
            return Err(GNTST_GENERAL_ERROR);
        }
        let counter = match wanted.access {
            Access::Read => active.readers,
            Access::Write => active.writers,
        };
        if counter == u32::MAX {
            return Err(GNTST_GENERAL_ERROR);
        }
        if idle || (wanted.access == Access::Write && active.writers == 0) {
            let granted = slot.claim(wanted, idle)?;
            if idle {
                active.begin(wanted.grantee, granted);
            }
        }
        match wanted.access {
            Access::Read => active.readers += 1,
            Access::Write => active.writers += 1,
        }
        let pinned = Pinned {
            granted: active.granted(),
            flags: slot.flags(),
        };
        self.used += u32::from(idle);
        Ok(pinned)
    }

    /// Takes a use back; with the last one of its kind the mark in the guest's memory goes too.
    pub(super) fn unpin<M: Machine>(&mut self, machine: &M, reference: u32, access: Access) {
        // A dead domain's table is gone before its grants are.
        let Some((slot, active)) = self.entry(machine, reference) else {
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
        let unused = !active.is_in_use();
        if active.writers == 0 && access == Access::Write {
            flags |= GTF_WRITING;
        }
        if unused {
            flags |= GTF_READING;
        }
        self.used -= u32::from(unused && self.used != 0);
        if let Some(slot) = slot
            && flags != 0
        {
            slot.marks.clear(flags);
        }
    }
}
