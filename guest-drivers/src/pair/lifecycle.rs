//! Life and death of domains: build, run, end, destroy; the unprivileged conformance run.

use oxen_abi::Errno;
use oxen_abi::domctl as abi;
use oxen_abi::sched::{SHUTDOWN_CRASH, SHUTDOWN_POWEROFF};
use oxen_abi::sysctl::{GetDomainInfoList, XEN_SYSCTL_GETDOMAININFOLIST};

use super::{free_pages, memory_is_back, run_to_end};
use crate::conformance::{Outcome, Suite, ensure, good, same};
use crate::domain::control::{self, Nothing, on_domain};
use crate::domain::{Domain, Spec, create_idle, destroy};
use crate::sys::hypercall;

fn build(command_line: &[u8]) -> Outcome<Domain> {
    Ok(good!(Domain::build(&Spec::new(command_line))))
}

/// Builds, runs to the end, destroys.
fn whole_life(command_line: &[u8], seconds: u64, line: impl FnMut(&str)) -> Outcome<u32> {
    let mut domain = build(command_line)?;
    good!(domain.unpause());
    let reason = run_to_end(&mut domain, seconds, line);
    good!(domain.destroy());
    reason
}

/// More domains than the hypervisor has bytes for from the start.
const MANY: usize = 600;

/// Creates many domains and destroys them. Free pages while they were there.
fn come_and_go() -> Outcome<u64> {
    let mut ids = [None; MANY];
    let mut created = Ok(0);
    for slot in &mut ids {
        created = create_idle();
        let Ok(id) = created else {
            break;
        };
        *slot = Some(id);
    }
    let least = good!(control::free_pages());
    for id in ids.into_iter().flatten() {
        good!(destroy(id));
    }
    good!(created);
    Ok(least)
}

pub(super) fn run(s: &mut Suite<'_>) {
    // The first domain leaves this kernel with a few more page tables, so it is not counted.
    s.check("domain/hello", || {
        let mut said_hello = false;
        let reason = whole_life(b"mode=hello", 30, |line| {
            said_hello |= line.starts_with("HELLO");
        })?;
        same!(reason, SHUTDOWN_POWEROFF);
        ensure!(said_hello, "the copy did not say hello");
        Ok(())
    });
    s.check("domain/memory_comes_back", || {
        let before = free_pages()?;
        for _ in 0..5 {
            same!(whole_life(b"mode=hello", 30, |_| {})?, SHUTDOWN_POWEROFF);
        }
        memory_is_back(before)
    });
    s.check("domain/destroyed_before_its_start", || {
        let before = free_pages()?;
        let domain = build(b"mode=hello")?;
        ensure!(
            good!(control::free_pages()) < before,
            "a domain takes no memory"
        );
        good!(domain.destroy());
        memory_is_back(before)
    });
    s.check("domain/many_leave_nothing", || {
        // The lists of all domains and vCPUs keep the length that they had once: a MiB at the most.
        let start = free_pages()?;
        come_and_go()?;
        let before = free_pages()?;
        ensure!(
            before + 256 > start,
            "{start} pages free at the start, {before} after the first round"
        );
        let least = come_and_go()?;
        ensure!(
            least + 600 < before,
            "{before} pages free before, {least} with the domains"
        );
        memory_is_back(before)
    });
    s.check("domain/destroyed_twice", || {
        let domain = build(b"mode=hello")?;
        let id = domain.id;
        good!(domain.destroy());
        let again = on_domain::<Nothing>(abi::XEN_DOMCTL_DESTROYDOMAIN, id, &mut []);
        // Gone, or on its way.
        ensure!(again == Err(Errno::ESRCH) || again == Ok(0), "{again:?}");
        Ok(())
    });
    s.check("domain/crash", || {
        let reason = whole_life(b"mode=crash", 30, |_| {})?;
        same!(reason, SHUTDOWN_CRASH);
        Ok(())
    });
    s.check("domain/list", || {
        let domain = build(b"mode=hello")?;
        let mut list = [abi::GetDomainInfo::default(); 4];
        let mut arg = GetDomainInfoList {
            max_domains: 4,
            buffer: hypercall::slice_address(&mut list),
            ..GetDomainInfoList::default()
        };
        same!(
            control::sysctl(XEN_SYSCTL_GETDOMAININFOLIST, &mut arg),
            Ok(0)
        );
        same!(arg.num_domains, 2);
        same!([list[0].domain, list[1].domain], [0, domain.id]);
        same!(list[1].handle, *b"oxen-test-guest!");
        ensure!(
            list[1].flags & abi::XEN_DOMINF_PAUSED != 0,
            "flags {:#x}",
            list[1].flags
        );
        same!(list[1].max_vcpu_id, 0);
        good!(domain.destroy());
        Ok(())
    });
    conformance(s);
}

/// The conformance suite once more, in a domain without privileges.
fn conformance(s: &mut Suite<'_>) {
    let mut failed = 0u32;
    let mut passed = 0u32;
    let mut verdict = false;
    let outcome = whole_life(b"mode=conformance", 120, |line| {
        if let Some(check) = line.strip_prefix("CHECK ") {
            if check.contains(" FAIL") {
                failed += 1;
                crate::println!("in the guest: {check}");
            }
            passed += u32::from(check.ends_with(" ok"));
        }
        verdict |= line.starts_with("VERDICT");
    });
    s.check("domain/unprivileged_conformance", || {
        same!(outcome?, SHUTDOWN_POWEROFF);
        ensure!(verdict, "no verdict");
        ensure!(
            failed == 0 && passed > 0,
            "{failed} failed, {passed} passed"
        );
        Ok(())
    });
}
