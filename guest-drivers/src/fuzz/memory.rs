//! Memory operations.

use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory as abi;

use super::material::Material;
use super::plan::Plan;
use crate::rng::Rng;

/// A memory operation.
pub(super) fn plan(m: &Material, rng: &mut Rng) -> Plan {
    const COMMANDS: [u32; 12] = [
        abi::XENMEM_INCREASE_RESERVATION,
        abi::XENMEM_DECREASE_RESERVATION,
        abi::XENMEM_DECREASE_RESERVATION,
        abi::XENMEM_POPULATE_PHYSMAP,
        abi::XENMEM_POPULATE_PHYSMAP,
        abi::XENMEM_EXCHANGE,
        abi::XENMEM_EXCHANGE,
        abi::XENMEM_ADD_TO_PHYSMAP,
        abi::XENMEM_REMOVE_FROM_PHYSMAP,
        abi::XENMEM_MACHPHYS_MFN_LIST,
        abi::XENMEM_ACQUIRE_RESOURCE,
        abi::XENMEM_MEMORY_MAP,
    ];
    let command = match rng.below(6) {
        0 => u32::try_from(rng.below(64)).unwrap_or(0),
        _ => rng.pick(&COMMANDS, 0),
    };
    let arg = m.address(rng);
    // Bits above the command: how far an earlier stretch got.
    let start = match rng.below(16) {
        0 => m.small(rng, 64) << abi::MEMOP_EXTENT_SHIFT,
        _ => 0,
    };
    let mut plan = Plan::new(
        HYPERVISOR_MEMORY_OP,
        [u64::from(command) | start, arg, 0, 0, 0, 0],
    );
    match command {
        abi::XENMEM_EXCHANGE => exchange(m, rng, &mut plan, arg),
        abi::XENMEM_ADD_TO_PHYSMAP => add_to_physmap(m, rng, &mut plan, arg),
        abi::XENMEM_ACQUIRE_RESOURCE => acquire_resource(m, rng, &mut plan, arg),
        _ => {
            let list = m.address(rng);
            let extents = extents(m, rng, &mut plan, list);
            plan.put_struct(arg, &reservation(m, rng, list, extents));
        }
    }
    plan
}

/// Writes a list of frames or frame numbers.
fn extents(m: &Material, rng: &mut Rng, plan: &mut Plan, list: u64) -> u64 {
    let extents = 1 + rng.below(6);
    for at in 0..extents {
        let value = match rng.below(4) {
            0 => rng.below(4096),
            _ => m.frame(rng),
        };
        plan.put(list.wrapping_add(at * 8), value);
    }
    extents
}

fn order(rng: &mut Rng) -> u32 {
    match rng.below(12) {
        0 => rng.pick(&[9, 10, 18, 19, 63, 64, u32::MAX], 0),
        1 => u32::try_from(rng.below(10)).unwrap_or(0),
        _ => 0,
    }
}

fn reservation(m: &Material, rng: &mut Rng, list: u64, extents: u64) -> abi::Reservation {
    let flags = match rng.below(6) {
        0 => rng.bits() & 0xffff_ffff,
        1 => rng.below(65),
        _ => 0,
    };
    abi::Reservation {
        extent_start: list,
        nr_extents: match rng.below(12) {
            0 => m.small(rng, 64),
            _ => extents,
        },
        extent_order: order(rng),
        mem_flags: u32::try_from(flags).unwrap_or(0),
        domid: match rng.below(6) {
            0 => m.domid(rng),
            _ => 0x7ff0,
        },
        ..abi::Reservation::default()
    }
}

fn exchange(m: &Material, rng: &mut Rng, plan: &mut Plan, arg: u64) {
    let (gives, gets) = (m.address(rng), m.address(rng));
    let extents_in = extents(m, rng, plan, gives);
    let extents_out = extents(m, rng, plan, gets);
    let mut give = reservation(m, rng, gives, extents_in);
    let mut get = reservation(m, rng, gets, extents_out);
    if rng.below(4) != 0 {
        // One that fits: the same number, of single pages.
        (give.nr_extents, get.nr_extents) = (extents_in, extents_in);
        (give.extent_order, get.extent_order) = (0, 0);
    }
    let exchange = abi::Exchange {
        in_: give,
        out: get,
        nr_exchanged: match rng.below(8) {
            0 => m.small(rng, 6),
            _ => 0,
        },
    };
    plan.put_struct(arg, &exchange);
}

fn add_to_physmap(m: &Material, rng: &mut Rng, plan: &mut Plan, arg: u64) {
    let add = abi::AddToPhysmap {
        domid: m.domid(rng),
        size: u16::try_from(rng.below(8)).unwrap_or(0),
        space: m.small32(rng, 6),
        idx: m.value(rng),
        gpfn: m.value(rng),
    };
    plan.put_struct(arg, &add);
}

fn acquire_resource(m: &Material, rng: &mut Rng, plan: &mut Plan, arg: u64) {
    let acquire = abi::AcquireResource {
        domid: m.domid(rng),
        type_: u16::try_from(rng.below(4)).unwrap_or(0),
        id: m.small32(rng, 3),
        nr_frames: m.small32(rng, 40),
        pad: u32::from(rng.below(16) == 0),
        frame: m.small(rng, 8),
        frame_list: m.address(rng),
    };
    plan.put_struct(arg, &acquire);
}
