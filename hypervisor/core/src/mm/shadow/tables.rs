//! The copies of a domain's page tables.

use alloc::vec::Vec;
use core::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::{Access, give_frame, log};
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::entry::EntryPlace;
use crate::mm::types::{ENTRIES, read_entry};
use crate::mm::{pte, walk};
use crate::sync::atomic::Ordering;
use crate::types::Mfn;

/// Spreads frame numbers, which are the guest's choice only as far as the host has them.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, value: u64) {
        // The bits of the golden ratio. A product's high bits are the better ones, and the map uses both ends.
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

/// The copy of one table.
#[derive(Clone, Copy, Debug)]
struct Copy {
    frame: Mfn,
    level: u8,
    /// The round of the log in which it last lost all rights to write.
    round: u64,
}

/// The copies.
#[derive(Debug, Default)]
pub(super) struct Tables {
    copies: HashMap<Mfn, Copy, BuildHasherDefault<Spread>>,
    /// Zeroed frames for more.
    ready: Vec<Mfn>,
    /// The log's round. In this one, a copy that can be reached with the right to write has been deprived of it first.
    round: u64,
}

/// How it went to copy what an access needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filled {
    /// It is there now.
    Done,
    /// It was there already.
    Nothing,
    /// The guest's own tables don't allow the access.
    Refused,
    /// A frame for a copy is wanted.
    NoFrame,
}

impl Tables {
    /// Frames that copies, and those to come, take.
    pub(super) fn frames(&self) -> u64 {
        (self.copies.len() + self.ready.len()) as u64
    }

    /// Frames that are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Keeps a zeroed frame ready; `false` if there is no memory to note it.
    pub(super) fn add_ready(&mut self, mfn: Mfn) -> bool {
        let fits = self.ready.try_reserve(1).is_ok();
        if fits {
            self.ready.push(mfn);
        }
        fits
    }

    /// The copy of a table, if there is one.
    pub(super) fn copy_of(&self, table: Mfn) -> Option<Mfn> {
        self.copies.get(&table).map(|copy| copy.frame)
    }

    /// A new round: what is writable by way of these roots, which CPUs have loaded, is so no more. Other roots are
    /// looked at when they are loaded.
    pub(super) fn begin_round<M: Machine>(
        &mut self,
        machine: &M,
        loaded: impl Iterator<Item = Mfn>,
    ) {
        self.round += 1;
        for root in loaded {
            if let Some(copy) = self.copies.get_mut(&root) {
                renew(machine, copy, self.round);
            }
        }
    }

    /// The copy of a root, made if there is none. `None` if a frame is wanted for that.
    pub(super) fn root<M: Machine>(&mut self, machine: &M, root: Mfn) -> Option<Mfn> {
        self.obtain(machine, root, 4)
    }

    /// The copy of a table, as it is to be in this round.
    fn obtain<M: Machine>(&mut self, machine: &M, table: Mfn, level: u8) -> Option<Mfn> {
        if let Some(copy) = self.copies.get_mut(&table) {
            debug_assert_eq!(copy.level, level, "{table:?} was another table");
            renew(machine, copy, self.round);
            return Some(copy.frame);
        }
        self.copies.try_reserve(1).ok()?;
        let frame = self.ready.pop()?;
        if level == 4 {
            machine.fill_hypervisor_slots(frame);
            // The machine-to-physical table may be kept from user mode.
            let shown = read_entry(machine, table, pte::FIRST_HYPERVISOR_SLOT);
            put(machine, frame, pte::FIRST_HYPERVISOR_SLOT, shown);
        }
        let copy = Copy {
            frame,
            level,
            round: self.round,
        };
        self.copies.insert(table, copy);
        Some(frame)
    }

    /// Copies what an access at `addr` by way of `root` needs, if the guest's own tables allow it.
    pub(super) fn fill<M: Machine>(
        &mut self,
        hv: &Hypervisor<M>,
        domain: &Domain<M>,
        root: Mfn,
        addr: u64,
        access: Access,
    ) -> Filled {
        let machine = &hv.machine;
        let Some((_, rights)) = walk::translate(machine, root, addr) else {
            return Filled::Refused;
        };
        if rights & pte::USER == 0
            || access.write && rights & pte::RW == 0
            || access.fetch && rights & pte::NX != 0
        {
            return Filled::Refused;
        }
        let Some(mut copy) = self.obtain(machine, root, 4) else {
            return Filled::NoFrame;
        };
        let mut table = root;
        let mut changed = false;
        for level in [4u8, 3, 2] {
            let place = EntryPlace {
                table,
                level,
                index: pte::index(addr, level),
            };
            // What has changed since the look above will be seen at the next fault.
            let Some(entry) = touch(hv, domain, place, pte::ACCESSED) else {
                return Filled::Done;
            };
            let child = pte::frame(entry);
            let Some(below) = self.obtain(machine, child, level - 1) else {
                return Filled::NoFrame;
            };
            let rights = entry & (pte::RW | pte::NX);
            changed |= put(machine, copy, place.index, pte::make(below, LINK | rights));
            (table, copy) = (child, below);
        }
        let place = EntryPlace {
            table,
            level: 1,
            index: pte::index(addr, 1),
        };
        let bits = if access.write {
            pte::ACCESSED | pte::DIRTY
        } else {
            pte::ACCESSED
        };
        let Some(entry) = touch(hv, domain, place, bits) else {
            return Filled::Done;
        };
        let frame = pte::frame(entry);
        if access.write {
            log::mark_for_fault(hv, domain, frame);
        }
        let writable = entry & pte::DIRTY != 0 && log::may_write(machine, domain.id, frame);
        let rights = if writable { entry } else { entry & !pte::RW };
        changed |= put(
            machine,
            copy,
            place.index,
            rights | pte::ACCESSED | pte::DIRTY,
        );
        if changed {
            Filled::Done
        } else {
            Filled::Nothing
        }
    }

    /// Takes an entry out of the copies. Returns the copy of its table, if there is one.
    pub(super) fn forget<M: Machine>(&mut self, machine: &M, place: EntryPlace) -> Option<Mfn> {
        let copy = self.copy_of(place.table)?;
        put(machine, copy, place.index, 0);
        Some(copy)
    }

    /// Takes the copy of a table out. Returns its frame, which no entry leads to any more.
    pub(super) fn remove(&mut self, table: Mfn) -> Option<Mfn> {
        self.copies.remove(&table).map(|copy| copy.frame)
    }

    /// Takes all copies out but those of these roots, which are emptied. `None` if there is no memory to note the latter.
    pub(super) fn shed<M: Machine>(
        &mut self,
        machine: &M,
        loaded: impl Iterator<Item = Mfn>,
    ) -> Option<Self> {
        let mut kept = HashMap::default();
        for root in loaded {
            let Some(copy) = self.copies.get(&root).filter(|copy| copy.level == 4) else {
                continue;
            };
            kept.try_reserve(1).ok()?;
            kept.insert(root, *copy);
        }
        for (root, copy) in &kept {
            self.copies.remove(root);
            for index in guest_entries(4) {
                put(machine, copy.frame, index, 0);
            }
        }
        Some(Self {
            copies: core::mem::replace(&mut self.copies, kept),
            ready: Vec::new(),
            round: self.round,
        })
    }

    /// Gives all frames back to the heap.
    pub(super) fn give_back<M: Machine>(self, hv: &Hypervisor<M>) {
        for copy in self.copies.values() {
            give_frame(hv, copy.frame);
        }
        for frame in self.ready {
            give_frame(hv, frame);
        }
    }
}

/// What entries that lead to another copy have set beside the guest's rights. Accessed and dirty are set from the start,
/// so that the processor does not write.
const LINK: u64 = pte::PRESENT | pte::USER | pte::ACCESSED | pte::DIRTY;

/// The entries of a table that are the guest's.
fn guest_entries(level: u8) -> impl Iterator<Item = usize> {
    (0..ENTRIES).filter(move |index| level != 4 || !pte::is_hypervisor_slot(*index))
}

/// Writes an entry of a copy; returns whether it was another one.
fn put<M: Machine>(machine: &M, copy: Mfn, index: usize, value: u64) -> bool {
    let slot = machine.page(copy).and_then(|page| page.get(index));
    slot.is_some_and(|slot| slot.swap(value, Ordering::AcqRel) != value)
}

/// Takes the right to write from all entries of a copy that is from an earlier round.
fn renew<M: Machine>(machine: &M, copy: &mut Copy, round: u64) {
    let Some(page) = machine.page(copy.frame).filter(|_| copy.round != round) else {
        return;
    };
    copy.round = round;
    for slot in guest_entries(copy.level).filter_map(|index| page.get(index)) {
        let entry = slot.load(Ordering::Relaxed);
        if entry & pte::RW != 0 {
            slot.store(entry & !pte::RW, Ordering::Release);
        }
    }
}

/// Sets bits of a present entry of the guest's, as the processor does. Returns the entry as it is then; `None` if it is
/// not present, or is being changed.
fn touch<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain<M>,
    place: EntryPlace,
    bits: u64,
) -> Option<u64> {
    let entry = read_entry(&hv.machine, place.table, place.index);
    if !pte::present(entry) {
        return None;
    }
    // An entry without the right to write never becomes dirty.
    let bits = if entry & pte::RW == 0 {
        bits & !pte::DIRTY
    } else {
        bits
    };
    if entry & bits == bits {
        return Some(entry);
    }
    let slot = hv.machine.page(place.table)?.get(place.index)?;
    slot.compare_exchange(entry, entry | bits, Ordering::AcqRel, Ordering::Relaxed)
        .ok()?;
    log::mark(hv, domain, place.table);
    Some(entry | bits)
}
