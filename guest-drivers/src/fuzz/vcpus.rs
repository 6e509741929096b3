//! vCPUs, time, traps and what else is about registers.

use oxen_abi::arch_x86::{FLAT_KERNEL_CS, TrapInfo};
use oxen_abi::callback::{CALLBACKTYPE_FAILSAFE, CallbackRegister};
use oxen_abi::hypercall as number;
use oxen_abi::sched::{Poll, SCHEDOP_POLL};
use oxen_abi::vcpu as abi;

use super::material::Material;
use super::plan::Plan;
use crate::rng::Rng;

/// A call that says something of the caller's own vCPUs.
pub(super) fn plan(m: &Material, rng: &mut Rng) -> Plan {
    let plain = |number: u64, args: [u64; 2]| Plan::new(number, [args[0], args[1], 0, 0, 0, 0]);
    match rng.below(16) {
        0..=5 => vcpu_op(m, rng),
        6 | 7 => poll(m, rng),
        8 => plain(
            number::HYPERVISOR_SET_TIMER_OP,
            [rng.bits() >> rng.below(64), 0],
        ),
        9 => trap_table(m, rng),
        10 if rng.below(16) == 0 => failsafe(m, rng),
        11 => plain(
            number::HYPERVISOR_SET_DEBUGREG,
            [m.small(rng, 8), debug_value(m, rng)],
        ),
        10 | 12 => plain(number::HYPERVISOR_GET_DEBUGREG, [m.small(rng, 9), 0]),
        13 => plain(
            number::HYPERVISOR_SET_SEGMENT_BASE,
            [m.small(rng, 5), m.value(rng)],
        ),
        14 => plain(
            number::HYPERVISOR_VM_ASSIST,
            [m.small(rng, 3), m.small(rng, 34)],
        ),
        _ => plain(
            number::HYPERVISOR_STACK_SWITCH,
            [m.value(rng), m.address(rng)],
        ),
    }
}

fn vcpu_op(m: &Material, rng: &mut Rng) -> Plan {
    const COMMANDS: [u32; 12] = [1, 3, 4, 5, 5, 6, 7, 8, 9, 11, 12, 13];
    let command = match rng.below(12) {
        // Down takes effect, so it is not for here.
        0 => match u32::try_from(rng.below(16)).unwrap_or(0) {
            abi::VCPUOP_DOWN => abi::VCPUOP_UP,
            command => command,
        },
        _ => rng.pick(&COMMANDS, 3),
    };
    let arg = m.address(rng);
    let mut plan = Plan::new(
        number::HYPERVISOR_VCPU_OP,
        [u64::from(command), m.small(rng, 3), arg, 0, 0, 0],
    );
    match command {
        abi::VCPUOP_SET_PERIODIC_TIMER => {
            plan.put(arg, rng.pick(&[0, 1, 999_999, 1_000_000, 1 << 32], 0));
        }
        abi::VCPUOP_SET_SINGLESHOT_TIMER => {
            plan.put(arg, rng.bits() >> rng.below(64));
            plan.put(arg.wrapping_add(8), rng.below(3));
        }
        abi::VCPUOP_REGISTER_VCPU_INFO => {
            plan.put(arg, m.frame(rng));
            plan.put(
                arg.wrapping_add(8),
                rng.pick(&[0, 64, 4032, 4096, u64::MAX], 0),
            );
        }
        abi::VCPUOP_INITIALISE => {}
        _ => plan.put(arg, m.address(rng)),
    }
    plan
}

/// A poll that ends: its time is over, or soon will be.
fn poll(m: &Material, rng: &mut Rng) -> Plan {
    let (arg, ports) = (m.buffer(rng), m.address(rng));
    let mut plan = Plan::new(
        number::HYPERVISOR_SCHED_OP,
        [u64::from(SCHEDOP_POLL), arg, 0, 0, 0, 0],
    );
    let count = rng.below(6);
    for at in 0..count {
        plan.put(
            ports.wrapping_add(at * 8),
            rng.below(40) | rng.below(40) << 32,
        );
    }
    plan.put_struct(
        arg,
        &Poll {
            ports,
            nr_ports: match rng.below(8) {
                0 => m.small32(rng, 200),
                _ => u32::try_from(count).unwrap_or(0),
            },
            timeout: 1 + rng.below(1000),
            ..Poll::default()
        },
    );
    plan
}

/// Entries for vectors that nothing raises.
fn trap_table(m: &Material, rng: &mut Rng) -> Plan {
    let list = m.buffer(rng);
    let mut plan = Plan::new(number::HYPERVISOR_SET_TRAP_TABLE, [list, 0, 0, 0, 0, 0]);
    let entries = 1 + rng.below(8);
    for at in 0..entries {
        let vector = u8::try_from(0x90 + rng.below(0x70)).unwrap_or(0x90);
        let entry = TrapInfo {
            vector,
            flags: u8::try_from(rng.below(8)).unwrap_or(0),
            cs: rng.pick(&[FLAT_KERNEL_CS, 0xe008, 0, 0xffff], 0),
            address: m.value(rng) | 1,
            ..TrapInfo::default()
        };
        plan.put_struct(list.wrapping_add(at * 16), &entry);
    }
    plan.put_struct(list.wrapping_add(entries * 16), &TrapInfo::default());
    plan
}

/// The failsafe callback: only a failed return to user mode would call it.
fn failsafe(m: &Material, rng: &mut Rng) -> Plan {
    let arg = m.buffer(rng);
    let mut plan = Plan::new(
        number::HYPERVISOR_CALLBACK_OP,
        [rng.below(3), arg, 0, 0, 0, 0],
    );
    let register = CallbackRegister {
        type_: rng.pick(&[CALLBACKTYPE_FAILSAFE, 6, 8, u16::MAX], 1),
        flags: u16::try_from(rng.below(4)).unwrap_or(0),
        address: m.value(rng),
        ..CallbackRegister::default()
    };
    plan.put_struct(arg, &register);
    plan
}

/// Breakpoints on buffers, which the hypervisor's own accesses meet, and control bits.
fn debug_value(m: &Material, rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => m.value(rng),
        1 => m.address(rng),
        2 => m.buffer(rng),
        // Enable bits, then type and length of each breakpoint; no breakpoint on execution.
        _ => 0x1111_0000 | rng.below(256) | 0x400 | rng.below(1 << 16) << 16,
    }
}
