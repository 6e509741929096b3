//! Recounting: what a domain's page tables refer to, against what the frame table says. A debug
//! key runs it over all domains, tests after every step.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::frame::{PageType, TypeWord};
use crate::mm::pte;
use crate::mm::types::{ENTRIES, read_entry};
use crate::types::Mfn;

/// A frame whose count is not what its references add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The frame.
    pub frame: Mfn,
    /// Its type word.
    pub found: TypeWord,
    /// Type references that were found by counting.
    pub counted: u64,
}

/// References that are not in page tables: (frame, how many type references).
pub type Others = Vec<Mfn>;

/// Type references that a domain's vCPUs hold: roots and descriptor tables.
pub fn held_by_vcpus<M: Machine>(domain: &Domain<M>) -> Others {
    let mut held = Vec::new();
    for vcpu in domain.vcpus.read().iter() {
        let arch = vcpu.arch.lock();
        held.extend(arch.kernel_root);
        held.extend(arch.user_root);
        held.extend(arch.gdt.iter().flatten());
        held.extend(arch.ldt_pages.iter().flatten());
    }
    held
}

/// Recounts the page-table types of a domain's frames; nothing of the domain runs meanwhile.
/// Types of frames that other domains map (writable), or that grants hold, are not compared.
pub fn recount<M: Machine>(machine: &M, domain: &Domain<M>, held: &[Mfn]) -> Vec<Mismatch> {
    let frames = domain.memory.frames(machine, usize::MAX);
    let mut counts: BTreeMap<Mfn, u64> = BTreeMap::new();
    for mfn in held {
        *counts.entry(*mfn).or_default() += 1;
    }
    for mfn in &frames {
        let Some(frame) = machine.frame(*mfn) else {
            continue;
        };
        let word = frame.types();
        let own = u64::from(word.pinned()) + u64::from(word.partial());
        *counts.entry(*mfn).or_default() += own;
        let Some(level) = word.kind().level().filter(|_| word.count() > 0) else {
            continue;
        };
        let valid = if word.validated() {
            ENTRIES
        } else {
            // The high bit says that the last child's type was dropped already.
            let progress = frame.progress();
            (progress & 0x7fff) - usize::from(progress & 0x8000 != 0)
        };
        count_entries(machine, *mfn, level, valid, &mut counts);
    }
    frames
        .iter()
        .filter_map(|mfn| {
            let found = machine.frame(*mfn)?.types();
            let counted = counts.get(mfn).copied().unwrap_or(0);
            let compared = found.kind() != PageType::Writable || found.count() < counted;
            (compared && found.count() != counted).then_some(Mismatch {
                frame: *mfn,
                found,
                counted,
            })
        })
        .collect()
}

fn count_entries<M: Machine>(
    machine: &M,
    table: Mfn,
    level: u8,
    valid: usize,
    counts: &mut BTreeMap<Mfn, u64>,
) {
    for index in 0..valid.min(ENTRIES) {
        if level == 4 && pte::is_hypervisor_slot(index) {
            continue;
        }
        let entry = read_entry(machine, table, index);
        if pte::present(entry) && (level > 1 || entry & pte::RW != 0) {
            *counts.entry(pte::frame(entry)).or_default() += 1;
        }
    }
}
