//! Grant tables: a domain lets others map or copy single frames of its memory.
//!
//! The entries are in frames that the guest shares with the hypervisor, laid out as version 1 or
//! as version 2, which the guest chooses. Uses of a domain's entries are counted in its own table,
//! under one lock; what a domain has mapped is in its handles, under another. No two of these
//! locks are held at once, and none across work on page tables.
//!
//! A mapping holds a general reference on the frame, and the writable type unless it is read-only,
//! until it is unmapped and no TLB can know it any more; only then is the granting guest told. If
//! a guest overwrites the page-table entry itself, its handle stays, for the domain's life.

mod active;
mod cache;
mod copy;
mod entry;
mod given;
mod hypercall;
mod map;
mod maptrack;
#[cfg(loom)]
pub use entry::model;
mod pte;
mod release;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod unmap;
mod version;

pub use given::Version;
pub use hypercall::hypercall;
pub use release::release_all;

use given::{FRAMES_PER_STATUS, Kind, Table};
use maptrack::Maptrack;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::{Purpose, alloc_frames, release_shared};
use crate::percpu::PerCpu;
use crate::sync::{Mutex, MutexGuard};
use crate::types::Mfn;

/// `GNTST_*`: how one operation of a batch went.
pub(crate) type Status = i16;

/// What a grant is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// A domain's grants: those it gives, and those of others that it has mapped.
pub struct GrantTable<M: Machine> {
    max_frames: u32,
    max_version: Version,
    given: Mutex<Table>,
    taken: Mutex<Maptrack<M>>,
}

impl<M: Machine> GrantTable<M> {
    /// An empty table of version 1 that may grow to `grant_frames` frames of entries and
    /// `maptrack_frames` times 256 handles, and change up to version `max_version`.
    pub fn new(grant_frames: u32, maptrack_frames: u32, max_version: Version) -> Self {
        Self {
            max_frames: grant_frames,
            max_version,
            given: Mutex::new(Table::default()),
            taken: Mutex::new(Maptrack::new(maptrack_frames)),
        }
    }

    /// The most frames of entries that it may have.
    pub fn max_frames(&self) -> u32 {
        self.max_frames
    }

    /// The most status frames that it may have, once it is of version 2.
    pub fn max_status_frames(&self) -> u32 {
        Version::V2.status_frames(self.max_frames)
    }

    /// The frames of entries that it has.
    pub fn frames(&self) -> u32 {
        self.given.lock().frames()
    }

    /// The version in force.
    pub fn version(&self) -> Version {
        self.given.lock().version()
    }

    /// The frame of entries with number `index`; the table is grown to have it. `None` past the
    /// limit, without memory, or when the domain dies.
    pub fn frame_or_grow(&self, cpu: &PerCpu<M>, domain: &Domain<M>, index: u32) -> Option<Mfn> {
        self.grow(cpu, domain, index.checked_add(1)?)?;
        self.given.lock().frame(Kind::Entries, index)
    }

    /// The same for a status frame; there are none in version 1.
    pub fn status_or_grow(&self, cpu: &PerCpu<M>, domain: &Domain<M>, index: u32) -> Option<Mfn> {
        if index >= self.version().status_frames(self.max_frames) {
            return None;
        }
        self.grow(
            cpu,
            domain,
            index.checked_mul(FRAMES_PER_STATUS)?.checked_add(1)?,
        )?;
        self.given.lock().frame(Kind::Status, index)
    }

    /// Grows the table to `frames` frames of entries.
    fn grow(&self, cpu: &PerCpu<M>, domain: &Domain<M>, frames: u32) -> Option<()> {
        if frames > self.max_frames {
            return None;
        }
        loop {
            let Some((kind, index)) = self.given.lock().missing(frames) else {
                return Some(());
            };
            if domain.is_dying() {
                return None;
            }
            // Allocation may flush TLBs, so it is done without the lock.
            let mfn = alloc_frames(cpu, domain, 0, 64, Purpose::Shared)?;
            let mut given = self.given.lock();
            if domain.is_dying() {
                // The table may have been taken apart already.
                drop(given);
                release_shared(cpu, mfn);
                return None;
            }
            if !given.add(&cpu.hv.machine, kind, index, mfn) {
                let changed_by_another = given.missing(frames) != Some((kind, index));
                drop(given);
                release_shared(cpu, mfn);
                if !changed_by_another {
                    return None;
                }
            }
        }
    }

    fn given(&self) -> MutexGuard<'_, Table> {
        self.given.lock()
    }

    fn taken(&self) -> MutexGuard<'_, Maptrack<M>> {
        self.taken.lock()
    }
}
