//! `mode=pair`: dom0 builds copies of itself and checks what takes two domains.

mod grants;
mod host;
mod lifecycle;
pub(crate) mod logging;
mod sharing;
mod shortage;
mod tools;

use oxen_abi::hypercall::{HYPERVISOR_SCHED_OP, HYPERVISOR_SET_TIMER_OP};
use oxen_abi::sched::SCHEDOP_BLOCK;
use oxen_abi::xen::{VIRQ_DOM_EXC, VIRQ_TIMER};

use crate::cmdline::CommandLine;
use crate::conformance::version::is_oxen;
use crate::conformance::{Outcome, Suite, bind_virq, ensure, good, let_in, skip};
use crate::domain::{Domain, control};
use crate::sys::hypercall;
use crate::time::now;

const MILLISECOND: u64 = 1_000_000;

/// Binds what dom0 waits for: its timer and the end of domains.
pub(crate) fn prepare() -> Outcome {
    good!(bind_virq(VIRQ_TIMER, 0));
    good!(bind_virq(VIRQ_DOM_EXC, 0));
    Ok(())
}

/// Blocks until an event comes, 100 ms at most.
pub(crate) fn wait() {
    let _ = hypercall::call(HYPERVISOR_SET_TIMER_OP, [now() + 100 * MILLISECOND]);
    let _ = hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]);
    // Takes what is still pending and masks events again.
    let_in();
}

/// Waits for a condition, `seconds` at most.
pub(crate) fn wait_until(
    what: &str,
    seconds: u64,
    mut condition: impl FnMut() -> Outcome<bool>,
) -> Outcome {
    let end = now() + seconds * 1000 * MILLISECOND;
    while !condition()? {
        ensure!(now() < end, "{what}: not within {seconds} s");
        wait();
    }
    Ok(())
}

/// Runs a domain until it shuts down, `seconds` at most; returns the reason.
pub(crate) fn run_to_end(
    domain: &mut Domain,
    seconds: u64,
    mut line: impl FnMut(&str),
) -> Outcome<u32> {
    let mut reason = None;
    wait_until("the domain's end", seconds, || {
        domain.drain_console(&mut line);
        reason = good!(domain.shut_down());
        Ok(reason.is_some())
    })?;
    domain.drain_console(&mut line);
    Ok(reason.unwrap_or(u32::MAX))
}

/// Free pages, once what an earlier domain left behind is freed too: the figure has stood still
/// for half a second.
pub(crate) fn free_pages() -> Outcome<u64> {
    let mut last = good!(control::free_pages());
    let mut steady = 0;
    wait_until("free memory to stand still", 20, || {
        let free = good!(control::free_pages());
        steady = if free == last { steady + 1 } else { 0 };
        last = free;
        Ok(steady >= 5)
    })?;
    Ok(last)
}

/// What Debian's Xen itself needs for a domain, and more: some 20 pages. It frees them when it likes, at times not before
/// another domain has come and gone.
const LATE_ON_XEN: u64 = 32;

/// Checks that the hypervisor has as many free pages as before.
pub(crate) fn memory_is_back(before: u64) -> Outcome {
    let after = free_pages()?;
    let same = after == before || (after.abs_diff(before) <= LATE_ON_XEN && !is_oxen()?);
    if !same {
        // The hypervisor's log tells who has them: memory and domains.
        control::debug_keys(*b"mq");
        // Xen 4.17 has been seen to keep a domain for ever whose two vCPUs called it at random.
        if let Some(id) = control::domain_from(1)
            && !is_oxen()?
        {
            skip!("Xen keeps what is left of domain {id}");
        }
    }
    ensure!(same, "{before} pages free before, {after} after");
    Ok(())
}

/// Runs all two-domain checks.
pub(crate) fn run(line: &CommandLine<'_>) -> bool {
    let mut suite = Suite::new(line);
    if !suite.privileged {
        crate::println!("ERROR mode=pair is for dom0");
        return false;
    }
    crate::conformance::essentials(&mut suite);
    let ready = prepare();
    suite.check("pair/prepare", || ready);
    lifecycle::run(&mut suite);
    sharing::run(&mut suite);
    grants::run(&mut suite);
    tools::run(&mut suite);
    logging::run(&mut suite);
    host::run(&mut suite);
    shortage::run(&mut suite);
    suite.finish()
}
