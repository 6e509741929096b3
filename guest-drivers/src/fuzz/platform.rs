//! Calls that are dom0's, or that ask about the machine.

use oxen_abi::domctl::{Domctl, XEN_DOMCTL_INTERFACE_VERSION};
use oxen_abi::hypercall as number;
use oxen_abi::sysctl::{Sysctl, XEN_SYSCTL_INTERFACE_VERSION};

use super::material::Material;
use super::plan::Plan;
use crate::rng::Rng;

/// A call that asks for more than the caller may have, or just asks.
pub(super) fn plan(m: &Material, rng: &mut Rng) -> Plan {
    let arg = m.address(rng);
    match rng.below(8) {
        0 | 1 => {
            let mut plan = Plan::new(number::HYPERVISOR_DOMCTL, [arg, 0, 0, 0, 0, 0]);
            plan.put_struct(
                arg,
                &Domctl {
                    cmd: m.small32(rng, 90),
                    interface_version: XEN_DOMCTL_INTERFACE_VERSION,
                    domain: m.domid(rng),
                    u: core::array::from_fn(|_| m.value(rng)),
                    ..Domctl::default()
                },
            );
            plan
        }
        2 => {
            let mut plan = Plan::new(number::HYPERVISOR_SYSCTL, [arg, 0, 0, 0, 0, 0]);
            plan.put_struct(
                arg,
                &Sysctl {
                    cmd: m.small32(rng, 32),
                    interface_version: XEN_SYSCTL_INTERFACE_VERSION,
                    u: core::array::from_fn(|_| m.value(rng)),
                },
            );
            plan
        }
        3 | 4 => {
            let mut plan = Plan::new(
                number::HYPERVISOR_PHYSDEV_OP,
                [m.small(rng, 34), arg, 0, 0, 0, 0],
            );
            words(m, rng, &mut plan, arg, 6);
            plan
        }
        5 => {
            let mut plan = Plan::new(number::HYPERVISOR_PLATFORM_OP, [arg, 0, 0, 0, 0, 0]);
            // Command and interface version.
            plan.put(arg, m.small(rng, 66) | 0x0300_0000 << 32);
            words(m, rng, &mut plan, arg.wrapping_add(8), 8);
            plan
        }
        6 => {
            let command = m.small(rng, 14);
            let mut plan = Plan::new(number::HYPERVISOR_XEN_VERSION, [command, arg, 0, 0, 0, 0]);
            words(m, rng, &mut plan, arg, 2);
            plan
        }
        // Reading the console, and writing nothing to it: what a guest writes is on the log.
        _ => Plan::new(
            number::HYPERVISOR_CONSOLE_IO,
            [
                rng.pick(&[1, 2, u64::MAX], 1),
                m.small(rng, 5000),
                arg,
                0,
                0,
                0,
            ],
        ),
    }
}

fn words(m: &Material, rng: &mut Rng, plan: &mut Plan, at: u64, count: u64) {
    for word in 0..count {
        plan.put(at.wrapping_add(word * 8), m.value(rng));
    }
}
