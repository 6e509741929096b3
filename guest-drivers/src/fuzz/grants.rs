//! Grants of the domain to itself: entries, and the operations on them.

use oxen_abi::grant_table as abi;
use oxen_abi::hypercall::HYPERVISOR_GRANT_TABLE_OP;

use super::material::Material;
use super::plan::Plan;
use crate::rng::Rng;

/// References that the fuzzer writes: 8 to 39.
const REFERENCES: u64 = 32;

/// A grant operation, now and then with a new entry before it.
pub(super) fn plan(m: &Material, rng: &mut Rng) -> Plan {
    const COMMANDS: [u32; 12] = [0, 0, 0, 0, 1, 1, 1, 5, 5, 7, 2, 11];
    let command = match rng.below(6) {
        0 => u32::try_from(rng.below(14)).unwrap_or(0),
        _ => rng.pick(&COMMANDS, 0),
    };
    let list = m.address(rng);
    let written = match command {
        abi::GNTTABOP_MAP_GRANT_REF
        | abi::GNTTABOP_UNMAP_GRANT_REF
        | abi::GNTTABOP_COPY
        | abi::GNTTABOP_UNMAP_AND_REPLACE => 1 + rng.below(4),
        _ => 1,
    };
    let said = match rng.below(32) {
        0 => rng.pick(&[0, 100, 0xffff_ffff, 1 << 32, u64::MAX], 0),
        _ => written,
    };
    let mut plan = Plan::new(
        HYPERVISOR_GRANT_TABLE_OP,
        [u64::from(command), list, said, 0, 0, 0],
    );
    for _ in 0..rng.below(3) {
        entry(m, rng, &mut plan);
    }
    for at in 0..written {
        one(m, rng, &mut plan, command, list, at);
    }
    plan
}

/// Writes an entry of the grant table.
fn entry(m: &Material, rng: &mut Rng, plan: &mut Plan) {
    const FLAGS: [u64; 8] = [1, 1, 1, 5, 0, 2, 3, 0x19];
    let value = match rng.below(16) {
        0 => rng.bits(),
        _ => {
            rng.pick(&FLAGS, 1)
                | (m.domain(rng) & 0xffff) << 16
                | (m.frame(rng) & 0xffff_ffff) << 32
        }
    };
    plan.put(m.grants + (8 + rng.below(REFERENCES)) * 8, value);
}

fn reference(m: &Material, rng: &mut Rng) -> u32 {
    8u32.wrapping_add(m.small32(rng, REFERENCES))
}

/// Writes operation number `at` of a list.
fn one(m: &Material, rng: &mut Rng, plan: &mut Plan, command: u32, list: u64, at: u64) {
    match command {
        abi::GNTTABOP_MAP_GRANT_REF => {
            let flags = rng.pick(&[2, 2, 2, 6, 6, 3, 7, 0x12, 0x16, 1, 0, 0x1a, 0x2_0002], 2);
            let op = abi::MapGrantRef {
                host_addr: target(m, rng, flags),
                flags,
                ref_: reference(m, rng),
                dom: m.domid(rng),
                ..abi::MapGrantRef::default()
            };
            plan.put_struct(list.wrapping_add(at * 32), &op);
        }
        abi::GNTTABOP_UNMAP_GRANT_REF => {
            let op = abi::UnmapGrantRef {
                host_addr: match rng.below(4) {
                    0 => 0,
                    _ => target(m, rng, 2),
                },
                dev_bus_addr: match rng.below(4) {
                    0 => m.frame(rng).wrapping_shl(12),
                    _ => 0,
                },
                handle: m.small32(rng, 16),
                ..abi::UnmapGrantRef::default()
            };
            plan.put_struct(list.wrapping_add(at * 24), &op);
        }
        abi::GNTTABOP_UNMAP_AND_REPLACE => {
            let op = abi::UnmapAndReplace {
                host_addr: target(m, rng, 2),
                new_addr: m.place(rng),
                handle: m.small32(rng, 16),
                ..abi::UnmapAndReplace::default()
            };
            plan.put_struct(list.wrapping_add(at * 24), &op);
        }
        abi::GNTTABOP_COPY => {
            let op = abi::Copy {
                source: copy_end(m, rng),
                dest: copy_end(m, rng),
                len: u16::try_from(m.small(rng, 4097) & 0xffff).unwrap_or(0),
                flags: u16::try_from(rng.below(5)).unwrap_or(0),
                ..abi::Copy::default()
            };
            plan.put_struct(list.wrapping_add(at * 40), &op);
        }
        abi::GNTTABOP_SETUP_TABLE => {
            let op = abi::SetupTable {
                dom: m.domid(rng),
                nr_frames: m.small32(rng, 5),
                frame_list: m.address(rng),
                ..abi::SetupTable::default()
            };
            plan.put_struct(list, &op);
        }
        abi::GNTTABOP_SWAP_GRANT_REF => {
            let op = abi::SwapGrantRef {
                ref_a: reference(m, rng),
                ref_b: reference(m, rng),
                ..abi::SwapGrantRef::default()
            };
            plan.put_struct(list, &op);
        }
        _ => {
            for word in 0..5 {
                plan.put(list.wrapping_add(word * 8), m.value(rng));
            }
        }
    }
}

/// Where a grant is to be mapped: an address, or with `GNTMAP_CONTAINS_PTE` an entry.
fn target(m: &Material, rng: &mut Rng, flags: u32) -> u64 {
    match (flags & abi::GNTMAP_CONTAINS_PTE != 0, rng.below(8)) {
        (true, 0) => m.frame(rng).wrapping_shl(12) | (rng.below(512) * 8),
        (true, _) => rng.pick(&m.entries, 0),
        (false, 0) => m.address(rng),
        (false, _) => m.place(rng),
    }
}

fn copy_end(m: &Material, rng: &mut Rng) -> abi::CopyPtr {
    abi::CopyPtr {
        u: match rng.below(2) {
            0 => u64::from(reference(m, rng)),
            _ => m.frame(rng),
        },
        domid: m.domid(rng),
        offset: u16::try_from(m.small(rng, 4096) & 0xffff).unwrap_or(0),
        ..abi::CopyPtr::default()
    }
}
