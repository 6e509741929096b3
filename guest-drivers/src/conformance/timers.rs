//! Waiting: VIRQ_TIMER, set_timer_op, single-shot timers, block, poll.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::hypercall::{
    HYPERVISOR_MMUEXT_OP, HYPERVISOR_MULTICALL, HYPERVISOR_SCHED_OP, HYPERVISOR_SET_TIMER_OP,
    HYPERVISOR_VCPU_OP, MulticallEntry,
};
use oxen_abi::mmu::{MMUEXT_CLEAR_PAGE, MmuextOp};
use oxen_abi::sched::{Poll, SCHEDOP_BLOCK, SCHEDOP_POLL, SCHEDOP_YIELD};
use oxen_abi::vcpu as abi;
use oxen_abi::xen::{DOMID_SELF, VIRQ_TIMER};

use super::events::{bind_ipi, bind_virq, close, let_in, send, set_mask};
use super::{Outcome, Suite, ensure, good, same, some};
use crate::sys::frame::Frame;
use crate::sys::{cpu, hypercall, shared};
use crate::time::now;
use crate::{event, pagetable};

pub(super) const MILLISECOND: u64 = 1_000_000;
/// Far more than a timer may be late on a slow emulator.
const LATE: u64 = 3_000 * MILLISECOND;
/// How often something is tried that proves nothing when the vCPU, or the whole emulator, does not run for a while in
/// the midst of it.
const TRIES: u32 = 5;

fn set_timer(at: u64) -> hypercall::Result {
    hypercall::call(HYPERVISOR_SET_TIMER_OP, [at])
}

fn vcpu_op<T>(cmd: u32, vcpu: u64, arg: &mut T) -> hypercall::Result {
    hypercall::call(
        HYPERVISOR_VCPU_OP,
        [u64::from(cmd), vcpu, hypercall::address(arg)],
    )
}

/// Lets events in until the condition holds; fails the check when it takes too long.
pub(super) fn wait_for(what: &str, condition: impl Fn() -> bool) -> Outcome {
    let end = now() + LATE;
    loop {
        // Asked first: what came while this vCPU did not run counts.
        let over = now() >= end;
        let_in();
        if condition() {
            return Ok(());
        }
        ensure!(!over, "{what} did not happen");
        let _ = hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_YIELD), 0]);
    }
}

/// Does it until it proves what it is to prove.
fn try_some_times(what: &str, mut once: impl FnMut() -> Outcome<bool>) -> Outcome {
    for _ in 0..TRIES {
        if once()? {
            return Ok(());
        }
    }
    ensure!(false, "{what} in none of {TRIES} tries");
    Ok(())
}

/// Runs the body with VIRQ_TIMER bound.
fn with_timer(body: impl FnOnce(u32) -> Outcome) -> Outcome {
    let port = good!(bind_virq(VIRQ_TIMER, 0));
    set_mask(port, false)?;
    let outcome = body(port);
    good!(set_timer(0));
    good!(close(port));
    outcome
}

fn timers(s: &mut Suite<'_>) {
    s.check("timer/starts_with_a_tick", || {
        with_timer(|port| {
            let before = event::count(port);
            wait_for("two ticks", || event::count(port) >= before + 2)?;
            same!(vcpu_op(abi::VCPUOP_STOP_PERIODIC_TIMER, 0, &mut 0), Ok(0));
            Ok(())
        })
    });
    // Not left running when the check above is not among those asked for.
    let _ = vcpu_op(abi::VCPUOP_STOP_PERIODIC_TIMER, 0, &mut 0);
    s.check("timer/set_timer_op", || {
        with_timer(|port| {
            let before = event::count(port);
            let at = now() + 5 * MILLISECOND;
            same!(set_timer(at), Ok(0));
            wait_for("the timer", || event::count(port) != before)?;
            ensure!(now() >= at, "{} ns too early", at - now());
            same!(event::count(port), before + 1);
            Ok(())
        })
    });
    s.check("timer/past_fires_at_once", || {
        with_timer(|port| {
            let before = event::count(port);
            same!(set_timer(now() - MILLISECOND), Ok(0));
            wait_for("the timer", || event::count(port) != before)
        })
    });
    s.check("timer/stop", || {
        with_timer(|port| {
            try_some_times("the timer was stopped in time", || {
                let before = event::count(port);
                let at = now() + 10 * MILLISECOND;
                same!(set_timer(at), Ok(0));
                same!(set_timer(0), Ok(0));
                let in_time = now() < at;
                wait_for("the end", || now() > at + 10 * MILLISECOND)?;
                ensure!(!in_time || event::count(port) == before, "it came");
                Ok(in_time)
            })
        })
    });
    s.check("timer/singleshot", || {
        with_timer(|port| {
            let before = event::count(port);
            let at = now() + 5 * MILLISECOND;
            let mut arg = abi::SetSingleshotTimer {
                timeout_abs_ns: at,
                ..abi::SetSingleshotTimer::default()
            };
            same!(
                vcpu_op(abi::VCPUOP_SET_SINGLESHOT_TIMER, 0, &mut arg),
                Ok(0)
            );
            wait_for("the timer", || event::count(port) != before)?;
            ensure!(now() >= at, "too early");
            arg.timeout_abs_ns = now() + 10 * MILLISECOND;
            arg.flags = abi::VCPU_SSHOTTMR_FUTURE;
            same!(
                vcpu_op(abi::VCPUOP_SET_SINGLESHOT_TIMER, 0, &mut arg),
                Ok(0)
            );
            same!(
                vcpu_op(abi::VCPUOP_STOP_SINGLESHOT_TIMER, 0, &mut arg),
                Ok(0)
            );
            // With the flag, Xen answered ETIME to a time that has passed until 4.16.
            arg.timeout_abs_ns = 1;
            let late = vcpu_op(abi::VCPUOP_SET_SINGLESHOT_TIMER, 0, &mut arg);
            ensure!(late == Ok(0) || late == Err(Errno::ETIME), "{late:?}");
            Ok(())
        })
    });
    s.check("timer/periodic", || {
        with_timer(|port| {
            let before = event::count(port);
            let mut arg = abi::SetPeriodicTimer {
                period_ns: 5 * MILLISECOND,
            };
            same!(vcpu_op(abi::VCPUOP_SET_PERIODIC_TIMER, 0, &mut arg), Ok(0));
            let waited = wait_for("three ticks", || event::count(port) >= before + 3);
            same!(vcpu_op(abi::VCPUOP_STOP_PERIODIC_TIMER, 0, &mut arg), Ok(0));
            waited?;
            arg.period_ns = MILLISECOND - 1;
            same!(
                vcpu_op(abi::VCPUOP_SET_PERIODIC_TIMER, 0, &mut arg),
                Err(Errno::EINVAL)
            );
            Ok(())
        })
    });
}

/// Operations on a page: they fill a list of one page, and the list is done again and again.
const CLEARS: usize = 4096 / size_of::<MmuextOp>();
const AGAIN: usize = 4096 / size_of::<MulticallEntry>();

fn preemption(s: &mut Suite<'_>) {
    s.check("timer/comes_during_a_long_call", || {
        with_timer(|port| {
            let (page, list, calls) = (Frame::new(), Frame::new(), Frame::new());
            let clear = MmuextOp {
                cmd: MMUEXT_CLEAR_PAGE,
                arg1: page.mfn(),
                ..MmuextOp::default()
            };
            let call = MulticallEntry {
                op: HYPERVISOR_MMUEXT_OP,
                args: [
                    list.address(),
                    CLEARS as u64,
                    0,
                    u64::from(DOMID_SELF),
                    0,
                    0,
                ],
                ..MulticallEntry::default()
            };
            list.fill_with(&[clear; CLEARS]);
            calls.fill_with(&[call; AGAIN]);
            // So that nothing but the clearing itself refers to the page.
            same!(pagetable::update_va(page.address(), 0), Ok(0));
            let vcpu = some!(shared::vcpu_info(0));
            // Long before the call is over: it takes tens of milliseconds in an emulator.
            try_some_times("the timer came before the call's last quarter", || {
                let before = event::count(port);
                good!(set_timer(now() + 2 * MILLISECOND));
                vcpu.upcall_mask.store(0, Ordering::SeqCst);
                let start = cpu::rdtsc();
                let result = hypercall::call(HYPERVISOR_MULTICALL, [calls.address(), AGAIN as u64]);
                let end = cpu::rdtsc();
                vcpu.upcall_mask.store(1, Ordering::SeqCst);
                same!(result, Ok(0));
                same!(event::count(port), before + 1);
                Ok((start..end - (end - start) / 4).contains(&event::when(port)))
            })?;
            same!(pagetable::make_writable(page), Ok(0));
            Ok(())
        })
    });
}

pub(super) fn poll(ports: &mut [u32], timeout: u64) -> hypercall::Result {
    let mut arg = Poll {
        ports: hypercall::slice_address(ports),
        nr_ports: u32::try_from(ports.len()).unwrap_or(u32::MAX),
        timeout,
        ..Poll::default()
    };
    hypercall::op(HYPERVISOR_SCHED_OP, SCHEDOP_POLL, &mut arg)
}

fn waiting(s: &mut Suite<'_>) {
    s.check("sched_op/block", || {
        with_timer(|port| {
            let before = event::count(port);
            let at = now() + 10 * MILLISECOND;
            good!(set_timer(at));
            let vcpu = some!(shared::vcpu_info(0));
            // Other events (the console's) may end a block too.
            while event::count(port) == before && now() < at + LATE {
                same!(
                    hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]),
                    Ok(0)
                );
                // Blocking lets events in.
                same!(vcpu.upcall_mask.swap(1, Ordering::SeqCst), 0);
            }
            same!(event::count(port), before + 1);
            ensure!(now() >= at, "woke too early");
            Ok(())
        })
    });
    s.check("sched_op/block_in_a_multicall", || {
        with_timer(|port| {
            // The list went on only once the vCPU had woken.
            try_some_times("the vCPU slept between the calls", || {
                let before = event::count(port);
                let at = now() + 10 * MILLISECOND;
                good!(set_timer(at));
                let vcpu = some!(shared::vcpu_info(0));
                let mut slept = 0;
                let mut should = 0;
                while event::count(port) == before && now() < at + LATE {
                    let [mut first, mut last] = [abi::RunstateInfo::default(); 2];
                    should = at.saturating_sub(now());
                    let look = |info: &mut abi::RunstateInfo| MulticallEntry {
                        op: HYPERVISOR_VCPU_OP,
                        args: [
                            u64::from(abi::VCPUOP_GET_RUNSTATE_INFO),
                            0,
                            hypercall::address(info),
                            0,
                            0,
                            0,
                        ],
                        result: 1,
                    };
                    let block = MulticallEntry {
                        op: HYPERVISOR_SCHED_OP,
                        args: [u64::from(SCHEDOP_BLOCK), 0, 0, 0, 0, 0],
                        result: 1,
                    };
                    let mut list = [look(&mut first), block, look(&mut last)];
                    let address = hypercall::slice_address(&mut list);
                    same!(
                        hypercall::call(HYPERVISOR_MULTICALL, [address, 3, 0]),
                        Ok(0)
                    );
                    same!(list.map(|entry| entry.result), [0; 3]);
                    same!(vcpu.upcall_mask.swap(1, Ordering::SeqCst), 0);
                    // All states together are all the time that there was.
                    let all = |info: &abi::RunstateInfo| info.time.iter().sum::<u64>();
                    slept = all(&last) - all(&first);
                }
                same!(event::count(port), before + 1);
                Ok(should > MILLISECOND && slept + MILLISECOND >= should)
            })
        })
    });
    s.check("sched_op/block_with_event_pending", || {
        let port = good!(bind_ipi(0));
        set_mask(port, false)?;
        good!(send(port));
        let before = event::count(port);
        same!(
            hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]),
            Ok(0)
        );
        some!(shared::vcpu_info(0))
            .upcall_mask
            .store(1, Ordering::SeqCst);
        same!(event::count(port), before + 1);
        good!(close(port));
        Ok(())
    });
    s.check("sched_op/poll_pending", || {
        let (a, b) = (good!(bind_ipi(0)), good!(bind_ipi(0)));
        for port in [a, b] {
            set_mask(port, true)?;
        }
        good!(send(b));
        let start = now();
        same!(poll(&mut [a, b], start + LATE), Ok(0));
        ensure!(now() < start + LATE, "the poll waited for its timeout");
        good!(close(a));
        good!(close(b));
        Ok(())
    });
    s.check("sched_op/poll_timeout", || {
        let port = good!(bind_ipi(0));
        set_mask(port, true)?;
        let at = now() + 10 * MILLISECOND;
        same!(poll(&mut [port], at), Ok(0));
        // An event for another port (the console's) ends the poll as well.
        let vcpu = some!(shared::vcpu_info(0));
        ensure!(
            now() >= at || vcpu.upcall_pending.load(Ordering::SeqCst) != 0,
            "returned too early"
        );
        // A timeout in the past returns at once.
        same!(poll(&mut [port], 1), Ok(0));
        good!(close(port));
        Ok(())
    });
    s.check("sched_op/poll_refused", || {
        same!(poll(&mut [1; 129], now() + MILLISECOND), Err(Errno::EINVAL));
        same!(
            poll(&mut [u32::MAX], now() + MILLISECOND),
            Err(Errno::EINVAL)
        );
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    timers(s);
    preemption(s);
    waiting(s);
}
