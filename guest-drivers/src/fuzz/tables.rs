//! Page tables and descriptor tables.

use oxen_abi::hypercall as number;
use oxen_abi::mmu::{self, MmuUpdate, MmuextOp};

use super::material::{Material, PLAY};
use super::plan::Plan;
use crate::rng::Rng;

/// A call on page tables.
pub(super) fn plan(m: &Material, rng: &mut Rng) -> Plan {
    match rng.below(16) {
        0..=3 => mmu_update(m, rng),
        4..=8 => mmuext_op(m, rng),
        9..=13 => update_va_mapping(m, rng),
        14 => set_gdt(m, rng),
        _ => update_descriptor(m, rng),
    }
}

/// How many operations a list has: few, many, or a count that is not true.
fn count(rng: &mut Rng, most: u64) -> (u64, u64) {
    let bound = rng.pick(&[3, 3, 3, most], most);
    let written = 1 + rng.below(bound);
    let said = match rng.below(32) {
        0 => rng.pick(&[0, 200, 0x7fff_ffff, 0x8000_0000, u64::MAX], 0),
        _ => written,
    };
    (written, said)
}

/// Place for the number of operations done.
fn done(m: &Material, rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => m.address(rng),
        _ => 0,
    }
}

/// The domain argument: frames of another domain in the upper half.
fn who(m: &Material, rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => m.domain(rng),
        1 => m.domain(rng) | (m.domain(rng) + 1) << 16,
        _ => 0x7ff0,
    }
}

fn mmu_update(m: &Material, rng: &mut Rng) -> Plan {
    let list = m.address(rng);
    let (written, said) = count(rng, 48);
    let mut plan = Plan::new(
        number::HYPERVISOR_MMU_UPDATE,
        [list, said, done(m, rng), who(m, rng), 0, 0],
    );
    for at in 0..written {
        let place = match rng.below(4) {
            0 => rng.pick(&m.entries, 0),
            // Low slots and those around the hypervisor's, so that tables meet again.
            _ => {
                let slot = rng.pick(&[0, 1, 2, 3, 255, 256, 271, 272, 511], 0);
                match m.frame(rng) {
                    // The kernel itself is in the root's last slot.
                    frame if frame == m.root && slot == 511 => frame << 12,
                    frame => frame.wrapping_shl(12) | (slot * 8),
                }
            }
        };
        let command = rng.pick(&[0, 0, 0, 0, 2, 3, 1, 4], 0);
        // Machine-to-physical entries are put right, lest the copy loses its way.
        let value = if command == mmu::MMU_MACHPHYS_UPDATE {
            place >> 12
        } else {
            m.entry(rng)
        };
        let update = MmuUpdate {
            ptr: place | command,
            val: value,
        };
        plan.put_struct(list.wrapping_add(at * 16), &update);
    }
    plan
}

fn mmuext_op(m: &Material, rng: &mut Rng) -> Plan {
    /// Pins and unpins come most; switching to other tables is for a copy's end.
    const COMMANDS: [u32; 24] = [
        0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 6, 7, 10, 11, 13, 15, 16, 17,
    ];
    let list = m.address(rng);
    let (written, said) = count(rng, 40);
    let mut plan = Plan::new(
        number::HYPERVISOR_MMUEXT_OP,
        [list, said, done(m, rng), who(m, rng), 0, 0],
    );
    for at in 0..written {
        let cmd = match rng.below(12) {
            0 => u32::try_from(6 + rng.below(18)).unwrap_or(0),
            _ => rng.pick(&COMMANDS, 4),
        };
        let address_first = matches!(
            cmd,
            mmu::MMUEXT_INVLPG_LOCAL
                | mmu::MMUEXT_INVLPG_MULTI
                | mmu::MMUEXT_INVLPG_ALL
                | mmu::MMUEXT_SET_LDT
        );
        let arg1 = if address_first {
            match rng.below(3) {
                0 => m.address(rng),
                _ => m.place(rng),
            }
        } else {
            m.frame(rng)
        };
        let arg2 = match cmd {
            mmu::MMUEXT_SET_LDT => m.small(rng, 600),
            mmu::MMUEXT_COPY_PAGE => m.frame(rng),
            _ => m.address(rng),
        };
        let op = MmuextOp {
            cmd,
            arg1,
            arg2,
            ..MmuextOp::default()
        };
        plan.put_struct(list.wrapping_add(at * 24), &op);
    }
    plan
}

fn update_va_mapping(m: &Material, rng: &mut Rng) -> Plan {
    let which = usize::try_from(rng.below(PLAY as u64)).unwrap_or(0);
    let own = m.frames.get(which).copied().unwrap_or(0) << 12;
    let place = match rng.below(16) {
        0 => m.address(rng),
        _ => m.places.get(which).copied().unwrap_or(0),
    };
    // Mostly the frame that belongs there, now to be written, now to be a table.
    let entry = match rng.below(8) {
        0..=2 => own | 0x67,
        3..=5 => own | 0x25,
        6 => 0,
        _ => m.entry(rng),
    };
    let flags = match rng.below(16) {
        0 => m.value(rng),
        _ => rng.pick(&[0, 1, 2, 5, 6], 0),
    };
    let number = match rng.below(16) {
        0 => number::HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN,
        _ => number::HYPERVISOR_UPDATE_VA_MAPPING,
    };
    Plan::new(number, [place, entry, flags, m.domain(rng), 0, 0])
}

fn set_gdt(m: &Material, rng: &mut Rng) -> Plan {
    let list = m.address(rng);
    let entries = match rng.below(4) {
        0 => m.small(rng, 9000),
        1 => 0,
        _ => rng.pick(&[1, 512, 513, 1024, 7168, 7169], 0),
    };
    let mut plan = Plan::new(number::HYPERVISOR_SET_GDT, [list, entries, 0, 0, 0, 0]);
    for at in 0..rng.below(15) {
        plan.put(list.wrapping_add(at * 8), m.frame(rng));
    }
    plan
}

fn update_descriptor(m: &Material, rng: &mut Rng) -> Plan {
    const DESCRIPTORS: [u64; 8] = [
        0,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        // DPL 0, a call gate, a TSS, an LDT, an expand-down segment.
        0x00af_9b00_0000_ffff,
        0x0000_ec00_e008_0000,
        0x0000_8900_0000_0067,
        0x0000_8200_0000_0fff,
        0x00cf_f700_0000_ffff,
    ];
    let place = m.frame(rng).wrapping_shl(12) | (rng.below(512) * 8);
    let descriptor = match rng.below(4) {
        0 => rng.bits(),
        _ => rng.pick(&DESCRIPTORS, 0),
    };
    Plan::new(
        number::HYPERVISOR_UPDATE_DESCRIPTOR,
        [place, descriptor, 0, 0, 0, 0],
    )
}
