//! What is granted, used and mapped: the model that the real tables are compared with. It knows
//! nothing of memory layouts, locks or references; it counts uses.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use oxen_abi::grant_table::*;

use super::{Answer, Item};

/// The granting domain, the one that maps and copies, and one that passes grants on.
pub(super) const GRANTER: u16 = 1;
pub(super) const MAPPER: u16 = 2;
pub(super) const MIDDLE: u16 = 3;

/// Frames that grants lead to: three of the granter's and one of the mapper's.
pub(super) const FRAMES: usize = 4;
/// The one of the mapper's, which it also copies from and to.
pub(super) const OWN: usize = 3;
/// Places for mappings; the last one is not in a page table.
pub(super) const SLOTS: u64 = 6;
/// Pieces of 64 bytes of each frame that are copied.
pub(super) const CELLS: usize = 4;
/// References below this one outlive a change of version.
const RESERVED: u32 = 8;
/// How many frames the granter may have.
const LIMIT: u64 = 64;

/// An entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Free,
    Access {
        to: u16,
        frame: usize,
        readonly: bool,
        part: Option<(u16, u16)>,
    },
    /// A grant of the granter's, passed on to the mapper.
    Onward(u32),
    /// Ready for a frame of the mapper's.
    Accept,
    /// A frame is on its way.
    Committed,
    Completed,
}

/// What an entry in use leads to, whatever becomes of the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Frame(usize, Option<(u16, u16)>),
    Onward(u32),
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) alive: bool,
    pub(super) version: u32,
    pub(super) frames: u32,
    entries: BTreeMap<u32, Entry>,
    /// By whom entries are in use, and what for.
    captured: BTreeMap<u32, (u16, Target)>,
    /// Each use of an entry, and whether it writes.
    uses: Vec<(u32, bool)>,
}

impl Table {
    fn new(version: u32) -> Self {
        Self {
            alive: true,
            version,
            frames: 1,
            entries: BTreeMap::new(),
            captured: BTreeMap::new(),
            uses: Vec::new(),
        }
    }

    pub(super) fn entry(&self, reference: u32) -> Entry {
        let entry = self.entries.get(&reference);
        entry.copied().unwrap_or(Entry::Free)
    }

    pub(super) fn has(&self, reference: u32) -> bool {
        self.alive && reference < self.frames * (512 / self.version)
    }

    fn is_used(&self, reference: u32) -> bool {
        self.captured.contains_key(&reference)
    }

    fn is_written(&self, reference: u32) -> bool {
        self.uses.contains(&(reference, true))
    }

    /// What an entry grants to a domain; `None` = not that.
    fn grants(&self, reference: u32, to: u16, write: bool, map: bool) -> Option<Target> {
        match self.entry(reference) {
            Entry::Access {
                to: whom,
                frame,
                readonly,
                part,
            } if whom == to && !(write && readonly) && !(map && part.is_some()) => {
                // Version 1 has the flag for a part, but no bounds.
                let part = part.filter(|_| self.version == 2);
                Some(Target::Frame(frame, part))
            }
            Entry::Onward(of) if !map && to == MAPPER => Some(Target::Onward(of)),
            _ => None,
        }
    }

    fn pin(&mut self, reference: u32, to: u16, write: bool, map: bool) -> Result<Target, i16> {
        if !self.has(reference) {
            return Err(GNTST_BAD_GNTREF);
        }
        let granted = self.grants(reference, to, write, map);
        let target = match self.captured.get(&reference) {
            Some((whom, _)) if *whom != to => return Err(GNTST_GENERAL_ERROR),
            Some((_, target)) if map && !matches!(target, Target::Frame(_, None)) => {
                return Err(GNTST_GENERAL_ERROR);
            }
            // The first writer has to be allowed to; other uses follow the first one.
            Some((_, target)) if !write || self.is_written(reference) || granted.is_some() => {
                *target
            }
            Some(_) => return Err(GNTST_GENERAL_ERROR),
            None => granted.ok_or(GNTST_GENERAL_ERROR)?,
        };
        self.captured.entry(reference).or_insert((to, target));
        self.uses.push((reference, write));
        Ok(target)
    }

    fn unpin(&mut self, reference: u32, write: bool) {
        let uses = &mut self.uses;
        if let Some(at) = uses.iter().position(|it| *it == (reference, write)) {
            uses.swap_remove(at);
        }
        if uses.iter().all(|(other, _)| *other != reference) {
            self.captured.remove(&reference);
        }
    }

    /// The domain died.
    fn end(&mut self) {
        *self = Self {
            alive: false,
            frames: 0,
            ..Self::new(self.version)
        };
    }

    /// `GTF_reading` and `GTF_writing` of a reference, and whether it is in use.
    pub(super) fn marks(&self, reference: u32) -> (u16, bool) {
        let used = self.is_used(reference);
        let reading = if used { GTF_READING } else { 0 };
        let writing = if self.is_written(reference) {
            GTF_WRITING
        } else {
            0
        };
        (reading | writing, used)
    }

    pub(super) fn used(&self) -> usize {
        self.captured.len()
    }
}

/// A grant that is mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    reference: u32,
    frame: usize,
    pub(super) flags: u32,
    slot: u64,
}

impl Mapping {
    /// The frame and where it is mapped.
    pub(super) const fn place(&self) -> (usize, u64) {
        (self.frame, self.slot)
    }

    const fn writes(&self) -> bool {
        self.flags & GNTMAP_READONLY == 0
    }
}

/// How far one operation of a batch is.
#[derive(Clone, Debug)]
enum Under {
    Failed(i16),
    Pinned {
        target: Target,
        pins: Vec<(u16, u32)>,
    },
    Committed,
    Taken(Mapping),
    Removed(Mapping, i16),
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) granter: Table,
    pub(super) middle: Table,
    pub(super) mapper_lives: bool,
    pub(super) mappings: BTreeMap<u32, Mapping>,
    /// What the places for mappings hold: frame, and whether it can be written.
    pub(super) slots: BTreeMap<u64, (usize, bool)>,
    pub(super) cells: [[u8; CELLS]; FRAMES],
    /// Frames of the granter's and of the mapper's.
    pub(super) total: [u64; 2],
    /// Handles that an operation works on.
    busy: BTreeSet<u32>,
    under: BTreeMap<(u8, usize), Under>,
}

impl Model {
    pub(super) fn new(mapper_frames: u64, cells: [[u8; CELLS]; FRAMES]) -> Self {
        Self {
            granter: Table::new(1),
            middle: Table::new(2),
            mapper_lives: true,
            mappings: BTreeMap::new(),
            slots: BTreeMap::new(),
            cells,
            total: [3, mapper_frames],
            busy: BTreeSet::new(),
            under: BTreeMap::new(),
        }
    }

    fn table(&mut self, id: u16) -> &mut Table {
        if id == MIDDLE {
            &mut self.middle
        } else {
            &mut self.granter
        }
    }

    /// References, beside the owner's, on a frame and on its type.
    pub(super) fn held(&self, frame: usize) -> (u64, u64) {
        let mappings = self.mappings.values().filter(|it| it.frame == frame);
        let slots = self.slots.values().filter(|it| it.0 == frame);
        let (mut all, mut writable) = (0, 0);
        for writes in mappings.map(Mapping::writes).chain(slots.map(|it| it.1)) {
            all += 1;
            writable += u64::from(writes);
        }
        (all, writable)
    }

    /// The granter or the middle writes an entry that was free.
    pub(super) fn write(&mut self, id: u16, reference: u32, entry: Entry) {
        self.table(id).entries.insert(reference, entry);
    }

    /// Ends a grant, unless it is in use.
    pub(super) fn end(&mut self, id: u16, reference: u32) -> bool {
        let table = self.table(id);
        let idle = !table.is_used(reference) && table.entry(reference) != Entry::Committed;
        if idle {
            table.entries.remove(&reference);
        }
        idle
    }

    pub(super) fn swap(&mut self, (a, b): (u32, u32)) -> i16 {
        let table = &mut self.granter;
        if !table.has(a) || !table.has(b) {
            return GNTST_BAD_GNTREF;
        }
        if a != b && (table.is_used(a) || table.is_used(b)) {
            return GNTST_EAGAIN;
        }
        let (first, second) = (table.entry(a), table.entry(b));
        table.entries.insert(a, second);
        table.entries.insert(b, first);
        GNTST_OKAY
    }

    /// Changes the version; `false` if entries are in use that would be lost.
    pub(super) fn set_version(&mut self, version: u32) -> bool {
        let table = &mut self.granter;
        if version == table.version {
            return true;
        }
        if table.captured.keys().any(|it| *it >= RESERVED) {
            return false;
        }
        table.version = version;
        table.entries.retain(|reference, _| *reference < RESERVED);
        for entry in table.entries.values_mut() {
            if let Entry::Access {
                part: Some(part), ..
            } = entry
            {
                *part = (0, 0);
            }
        }
        true
    }

    /// The end of a domain's grants; `false` if the mapper still has mappings.
    pub(super) fn die(&mut self, id: u16) -> bool {
        match id {
            MAPPER => self.mappings.is_empty(),
            _ => {
                self.table(id).end();
                true
            }
        }
    }

    /// One mapping of the dying mapper's ends; its page tables keep theirs.
    pub(super) fn drop_mapping(&mut self, handle: u32) {
        if let Some(mapping) = self.mappings.remove(&handle) {
            self.granter.unpin(mapping.reference, mapping.writes());
        }
    }

    /// A stage (1, 2, 3) of one operation of a batch. Whether it can have gone so.
    pub(super) fn step(
        &mut self,
        key: (u8, usize),
        stage: u8,
        item: &Item,
        answer: &Answer,
    ) -> bool {
        let under = self.under.remove(&key);
        match (*item, stage) {
            (
                Item::Map {
                    reference, flags, ..
                },
                1,
            ) => {
                let pinned =
                    self.granter
                        .pin(reference, MAPPER, flags & GNTMAP_READONLY == 0, true);
                let pins = [(GRANTER, reference)].to_vec();
                self.go_on(key, pinned.map(|target| Under::Pinned { target, pins }));
                true
            }
            (Item::Map { .. }, 2) => self.map(item, under, answer),
            (
                Item::Copy {
                    from,
                    reference,
                    to,
                    ..
                },
                1,
            ) => {
                let pinned = self.table(from).pin(reference, MAPPER, to, false);
                let pins = [(from, reference)].to_vec();
                self.go_on(key, pinned.map(|target| Under::Pinned { target, pins }));
                true
            }
            (Item::Copy { to, .. }, 2) => {
                let next = match under {
                    Some(Under::Pinned {
                        target: Target::Onward(of),
                        mut pins,
                    }) => {
                        let pinned = self.granter.pin(of, MIDDLE, to, false);
                        if pinned.is_ok() {
                            pins.push((GRANTER, of));
                        } else {
                            self.unpin_all(&pins, to);
                        }
                        pinned.map(|target| Under::Pinned { target, pins })
                    }
                    Some(Under::Failed(status)) => Err(status),
                    other => other.ok_or(0),
                };
                self.go_on(key, next);
                true
            }
            (Item::Copy { .. }, 3) => self.copy(item, under, answer),
            (Item::Give { reference, own, .. }, 1) => {
                let next = if own {
                    self.give(reference)
                } else {
                    Err(GNTST_BAD_PAGE)
                };
                self.go_on(key, next);
                true
            }
            (Item::Give { reference, .. }, 2) => match under {
                Some(Under::Committed) if self.granter.alive => {
                    self.granter.entries.insert(reference, Entry::Completed);
                    self.total[0] += 1;
                    answer.status == GNTST_OKAY
                }
                Some(Under::Failed(status)) => answer.status == status,
                _ => answer.status == GNTST_GENERAL_ERROR,
            },
            (Item::Unmap { handle, .. }, 1) => {
                let free = !self.busy.contains(&handle);
                let mapping = self.mappings.get(&handle).filter(|_| free).copied();
                if mapping.is_some() {
                    self.busy.insert(handle);
                }
                self.go_on(key, mapping.map(Under::Taken).ok_or(GNTST_BAD_HANDLE));
                true
            }
            (
                Item::Unmap {
                    handle,
                    parts,
                    place,
                },
                2,
            ) => match under {
                Some(Under::Taken(mapping)) => {
                    let next = self.unmap(mapping, parts, place);
                    if let Under::Removed(mapping, _) = &next
                        && mapping.flags & (GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP) != 0
                    {
                        // A part of it is left.
                        self.busy.remove(&handle);
                        self.mappings.insert(handle, *mapping);
                    }
                    self.under.insert(key, next);
                    true
                }
                Some(other) => {
                    self.under.insert(key, other);
                    true
                }
                None => false,
            },
            (Item::Unmap { handle, .. }, 3) => match under {
                Some(Under::Removed(mapping, status)) => {
                    if mapping.flags & (GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP) == 0 {
                        self.busy.remove(&handle);
                        self.drop_mapping(handle);
                    }
                    answer.status == status
                }
                Some(Under::Failed(status)) => answer.status == status,
                _ => false,
            },
            _ => true,
        }
    }

    fn go_on(&mut self, key: (u8, usize), next: Result<Under, i16>) {
        let next = next.unwrap_or_else(Under::Failed);
        self.under.insert(key, next);
    }

    fn unpin_all(&mut self, pins: &[(u16, u32)], write: bool) {
        for (id, reference) in pins {
            self.table(*id).unpin(*reference, write);
        }
    }

    fn map(&mut self, item: &Item, under: Option<Under>, answer: &Answer) -> bool {
        let Item::Map {
            reference,
            slot,
            flags,
        } = *item
        else {
            return false;
        };
        let (target, pins) = match under {
            Some(Under::Pinned { target, pins }) => (target, pins),
            Some(Under::Failed(status)) => return answer.status == status,
            _ => return false,
        };
        let write = flags & GNTMAP_READONLY == 0;
        let host = flags & GNTMAP_HOST_MAP != 0;
        let expected = match target {
            Target::Frame(OWN, _) => GNTST_BAD_PAGE,
            Target::Frame(..) if !host || slot < SLOTS => GNTST_OKAY,
            _ => GNTST_GENERAL_ERROR,
        };
        let Target::Frame(frame, _) = target else {
            return false;
        };
        if expected != GNTST_OKAY {
            self.unpin_all(&pins, write);
            return answer.status == expected;
        }
        if host {
            self.slots.insert(slot, (frame, write));
        }
        let mapping = Mapping {
            reference,
            frame,
            flags,
            slot,
        };
        let fresh = self.mappings.insert(answer.handle, mapping).is_none();
        fresh && answer.status == expected && answer.frame == Some(frame)
    }

    fn copy(&mut self, item: &Item, under: Option<Under>, answer: &Answer) -> bool {
        let Item::Copy { cells, to, .. } = *item else {
            return false;
        };
        let (target, pins) = match under {
            Some(Under::Pinned { target, pins }) => (target, pins),
            Some(Under::Failed(status)) => return answer.status == status,
            _ => return false,
        };
        self.unpin_all(&pins, to);
        let Target::Frame(frame, part) = target else {
            return answer.status == GNTST_GENERAL_ERROR;
        };
        if frame == OWN {
            return answer.status == GNTST_BAD_PAGE;
        }
        let at = cells.0 * 64;
        let (theirs, mine) = (usize::from(cells.0), usize::from(cells.1));
        let has = |(first, len): (u16, u16)| at >= first && at + 64 <= first + len;
        if !part.is_none_or(has) {
            return answer.status == GNTST_GENERAL_ERROR;
        }
        if to {
            self.cells[frame][theirs] = self.cells[OWN][mine];
        } else {
            self.cells[OWN][mine] = self.cells[frame][theirs];
        }
        answer.status == GNTST_OKAY
    }

    /// A frame leaves the mapper, to the granter if that has an entry ready.
    fn give(&mut self, reference: u32) -> Result<Under, i16> {
        self.total[1] -= 1;
        let table = &mut self.granter;
        if !table.has(reference)
            || table.entry(reference) != Entry::Accept
            || self.total[0] >= LIMIT
        {
            return Err(GNTST_GENERAL_ERROR);
        }
        table.entries.insert(reference, Entry::Committed);
        Ok(Under::Committed)
    }

    /// Ends the parts of a mapping that are named: 1 the device's, 2 the processor's.
    fn unmap(&mut self, mut mapping: Mapping, parts: u8, (frame, slot): (usize, u64)) -> Under {
        if parts & 1 != 0 && mapping.flags & GNTMAP_DEVICE_MAP != 0 {
            if frame != mapping.frame {
                return Under::Removed(mapping, GNTST_GENERAL_ERROR);
            }
            mapping.flags &= !GNTMAP_DEVICE_MAP;
        }
        let mut status = GNTST_OKAY;
        if parts & 2 != 0 && mapping.flags & GNTMAP_HOST_MAP != 0 {
            let there = self.slots.get(&slot).copied();
            let is_there = there == Some((mapping.frame, mapping.writes()));
            if is_there {
                self.slots.remove(&slot);
            } else {
                status = GNTST_GENERAL_ERROR;
            }
            // Overwritten where it was put, it is no more.
            if is_there || slot == mapping.slot {
                mapping.flags &= !GNTMAP_HOST_MAP;
            }
        }
        Under::Removed(mapping, status)
    }
}
