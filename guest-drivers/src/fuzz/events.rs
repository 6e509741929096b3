//! Event channels.

use oxen_abi::event_channel as abi;
use oxen_abi::hypercall::{HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_EVENT_CHANNEL_OP_COMPAT};

use super::material::Material;
use super::plan::Plan;
use crate::rng::Rng;

/// An event-channel operation.
pub(super) fn plan(m: &Material, rng: &mut Rng) -> Plan {
    // A reset, rare as it is, lets the others begin anew.
    const COMMANDS: [u32; 20] = [
        0, 0, 1, 1, 3, 3, 4, 4, 4, 5, 6, 6, 6, 7, 7, 8, 9, 11, 12, 13,
    ];
    let command = match rng.below(16) {
        0 => u32::try_from(rng.below(16)).unwrap_or(0),
        _ => rng.pick(&COMMANDS, 4),
    };
    let arg = m.address(rng);
    if rng.below(32) == 0 {
        // The old form: the command is in the structure.
        let mut plan = Plan::new(HYPERVISOR_EVENT_CHANNEL_OP_COMPAT, [arg, 0, 0, 0, 0, 0]);
        plan.put(arg, u64::from(command) | m.domain(rng) << 32);
        plan.put(arg.wrapping_add(8), m.small(rng, 64));
        return plan;
    }
    let mut plan = Plan::new(
        HYPERVISOR_EVENT_CHANNEL_OP,
        [u64::from(command), arg, 0, 0, 0, 0],
    );
    write(m, rng, &mut plan, command, arg);
    plan
}

fn port(m: &Material, rng: &mut Rng) -> u32 {
    match rng.below(16) {
        0 => rng.pick(&[4095, 4096, 131_071, 131_072, u32::MAX], 0),
        _ => m.small32(rng, 48),
    }
}

fn vcpu(m: &Material, rng: &mut Rng) -> u32 {
    m.small32(rng, 3)
}

fn write(m: &Material, rng: &mut Rng, plan: &mut Plan, command: u32, arg: u64) {
    match command {
        abi::EVTCHNOP_BIND_INTERDOMAIN => plan.put_struct(
            arg,
            &abi::BindInterdomain {
                remote_dom: m.domid(rng),
                remote_port: port(m, rng),
                ..abi::BindInterdomain::default()
            },
        ),
        abi::EVTCHNOP_BIND_VIRQ => plan.put_struct(
            arg,
            &abi::BindVirq {
                virq: m.small32(rng, 25),
                vcpu: vcpu(m, rng),
                port: 0,
            },
        ),
        abi::EVTCHNOP_BIND_IPI => plan.put_struct(
            arg,
            &abi::BindIpi {
                vcpu: vcpu(m, rng),
                port: 0,
            },
        ),
        abi::EVTCHNOP_ALLOC_UNBOUND => plan.put_struct(
            arg,
            &abi::AllocUnbound {
                dom: m.domid(rng),
                remote_dom: m.domid(rng),
                port: 0,
            },
        ),
        abi::EVTCHNOP_STATUS => plan.put_struct(
            arg,
            &abi::Status {
                dom: m.domid(rng),
                port: port(m, rng),
                ..abi::Status::default()
            },
        ),
        abi::EVTCHNOP_BIND_VCPU => plan.put_struct(
            arg,
            &abi::BindVcpu {
                port: port(m, rng),
                vcpu: vcpu(m, rng),
            },
        ),
        abi::EVTCHNOP_RESET => plan.put(arg, m.domain(rng)),
        abi::EVTCHNOP_INIT_CONTROL => plan.put_struct(
            arg,
            &abi::InitControl {
                control_gfn: m.frame(rng),
                offset: rng.pick(&[0, 8, 4096 - 72, 4096 - 64, 4, 4096, u32::MAX], 0),
                vcpu: vcpu(m, rng),
                ..abi::InitControl::default()
            },
        ),
        abi::EVTCHNOP_EXPAND_ARRAY => plan.put(arg, m.frame(rng)),
        abi::EVTCHNOP_SET_PRIORITY => plan.put_struct(
            arg,
            &abi::SetPriority {
                port: port(m, rng),
                priority: m.small32(rng, 17),
            },
        ),
        // Those with a port alone.
        _ => plan.put(arg, u64::from(port(m, rng)) | m.value(rng) << 32),
    }
}
