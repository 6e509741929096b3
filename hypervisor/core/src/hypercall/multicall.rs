//! `multicall`: a list of hypercalls in one.

use oxen_abi::errno::Errno;
use oxen_abi::hypercall::{
    HYPERVISOR_IRET, HYPERVISOR_MULTICALL, HYPERVISOR_SCHED_OP, MulticallEntry,
};

use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::hypercall::{call, negated};
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sched::is_runnable;

/// Offset of the result in an entry.
const RESULT: u64 = core::mem::offset_of!(MulticallEntry, result) as u64;

/// Calls after which the time is looked at: that takes as long as a short call, and a long one
/// looks for itself.
const LOOK_EACH: u64 = 4;

/// Whether to go back to the guest for a moment after `done` calls, the last of them `op`.
fn must_stop<M: Machine>(cx: &Cx<'_, M>, done: u64, op: u64) -> bool {
    if op == HYPERVISOR_SCHED_OP && !is_runnable(cx.vcpu) {
        // It sleeps before the list goes on.
        true
    } else if done.is_multiple_of(LOOK_EACH) {
        cx.cpu.preempt_needed()
    } else {
        cx.cpu.has_work()
    }
}

/// Carries out `count` calls of the list at `list`, each with its result written to its entry.
/// It can stop between two calls, and within one that has a continuation of its own: then the
/// entry is written back with the arguments it goes on with. An iret ends the list: what comes
/// after it would run on behalf of user mode.
#[inline(never)]
pub(super) fn multicall<M: Machine>(cx: &Cx<'_, M>, list: u64, count: u64) -> HcResult {
    let list = GuestHandle::<MulticallEntry>::new(list);
    if count > u64::from(u32::MAX) {
        return Err(Errno::EINVAL.into());
    }
    let mut entry = MulticallEntry::default();
    for done in 0..count {
        let at = list.at(done)?;
        if done != 0 && must_stop(cx, done, entry.op) {
            return Err(Stop::Restart([at.addr(), count - done, 0, 0, 0, 0]));
        }
        at.read_into(cx.machine(), &mut entry)?;
        let outcome = match entry.op {
            // A list in a list, and a call that leaves it.
            HYPERVISOR_MULTICALL => Err(Errno::EINVAL.into()),
            HYPERVISOR_IRET => return Err(Stop::Iret),
            op => call(cx, op, entry.args),
        };
        let result = match outcome {
            Ok(value) => value,
            Err(Stop::Errno(errno)) => negated(errno),
            Err(Stop::NoReturn) => continue,
            Err(Stop::Restart(args)) => {
                entry.args = args;
                at.write(cx.machine(), &entry)?;
                return Err(Stop::Restart([at.addr(), count - done, 0, 0, 0, 0]));
            }
            Err(stop @ (Stop::Crash(_) | Stop::Iret)) => return Err(stop),
        };
        GuestHandle::<u64>::new(at.addr() + RESULT).write(cx.machine(), &result)?;
    }
    Ok(0)
}
