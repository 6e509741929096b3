//! Two vCPUs on one processor that wake each other in turn: what a context switch costs, with the event that causes it.

use core::sync::atomic::{AtomicU32, Ordering};

use oxen_abi::Errno;
use oxen_abi::event_channel::{EVTCHNOP_SEND, Send};
use oxen_abi::hypercall::{HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_SCHED_OP, HYPERVISOR_VCPU_OP};
use oxen_abi::sched::SCHEDOP_BLOCK;
use oxen_abi::vcpu::{VCPUOP_INITIALISE, VCPUOP_STOP_PERIODIC_TIMER, VCPUOP_UP};

use super::{FSGSBASE, Meter};
use crate::conformance::bind_ipi;
use crate::event::{self, two_level};
use crate::sys::hypercall::{self, Result};
use crate::sys::{shared, vcpu};

/// What the second vCPU is told to do: to answer.
pub(crate) const ANSWER: u64 = 4;

/// The port that the second vCPU is called on, and the one it answers on.
static CALL: AtomicU32 = AtomicU32::new(0);
static REPLY: AtomicU32 = AtomicU32::new(0);
/// Calls that were answered.
static ANSWERED: AtomicU32 = AtomicU32::new(0);

pub(super) fn run(meter: &Meter) -> Result<()> {
    let (call, reply) = (bind_ipi(1)?, bind_ipi(0)?);
    let page = shared::info().ok_or(Errno::EFAULT)?;
    for port in [call, reply] {
        two_level::set_mask(&page.mask, port, false);
    }
    CALL.store(call, Ordering::SeqCst);
    REPLY.store(reply, Ordering::SeqCst);
    vcpu::COMMAND.store(ANSWER, Ordering::SeqCst);
    let mut context = vcpu::context().map_err(|_| Errno::EFAULT)?;
    context.ctrlreg[4] |= FSGSBASE;
    let vcpu_op =
        |cmd: u32, address: u64| hypercall::call(HYPERVISOR_VCPU_OP, [u64::from(cmd), 1, address]);
    vcpu_op(VCPUOP_INITIALISE, hypercall::address(&mut context))?;
    vcpu_op(VCPUOP_STOP_PERIODIC_TIMER, 0)?;
    vcpu_op(VCPUOP_UP, 0)?;
    // There and back: two switches, two events.
    meter.measure("sched.ping_pong", 1, |_| {
        let before = event::count(reply);
        send(call);
        wait(0, || event::count(reply) != before);
    });
    Ok(())
}

/// One round of the second vCPU.
pub(crate) fn answer() {
    let answered = ANSWERED.load(Ordering::SeqCst);
    let call = CALL.load(Ordering::SeqCst);
    wait(1, || event::count(call) != answered);
    ANSWERED.store(answered.wrapping_add(1), Ordering::SeqCst);
    send(REPLY.load(Ordering::SeqCst));
}

fn send(port: u32) {
    let _ = hypercall::op(
        HYPERVISOR_EVENT_CHANNEL_OP,
        EVTCHNOP_SEND,
        &mut Send { port },
    );
}

/// Blocks until the condition holds. Upcalls are masked while it is looked at, so that no event slips in between; to
/// block opens them again.
fn wait(vcpu: usize, done: impl Fn() -> bool) {
    let Some(info) = shared::vcpu_info(vcpu) else {
        return;
    };
    loop {
        info.upcall_mask.store(1, Ordering::SeqCst);
        if done() {
            break;
        }
        let _ = hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]);
    }
    info.upcall_mask.store(0, Ordering::SeqCst);
    // What came meanwhile is delivered with the next hypercall.
}
