//! What the kernel does, by its command line.

use oxen_abi::hypercall::{HYPERVISOR_SCHED_OP, HYPERVISOR_VCPU_OP, HYPERVISOR_XEN_VERSION};
use oxen_abi::sched::{
    SCHEDOP_BLOCK, SCHEDOP_SHUTDOWN, SCHEDOP_YIELD, SHUTDOWN_CRASH, SHUTDOWN_POWEROFF,
    SHUTDOWN_REBOOT, Shutdown,
};
use oxen_abi::vcpu::VCPUOP_DOWN;
use oxen_abi::version::XENVER_VERSION;

use crate::cmdline::CommandLine;
use crate::sys::{self, hypercall};
use crate::{bench, conformance, fuzz, machine_check, pair, peer, println, provoke};

/// Runs the mode of the command line and ends the domain: `exit=reboot` makes a dom0 reboot the
/// machine at the end instead of powering it off.
pub(crate) fn run() -> ! {
    let start_info = sys::start_info();
    let line = CommandLine::new(&start_info.cmd_line);
    match line.value("mode") {
        None | Some("hello") => hello(&line),
        Some("conformance") => {
            conformance::run(&line);
        }
        Some("pair") => {
            pair::run(&line);
        }
        Some("fuzz") => {
            fuzz::run(&line);
        }
        Some("bench") => quietly(&line, || bench::run(&line)),
        Some("machine-check") => quietly(&line, machine_check::run),
        Some("nmi") => quietly(&line, provoke::nmi),
        Some("watchdog") => quietly(&line, provoke::watchdog),
        Some("refused") => quietly(&line, provoke::refused),
        Some("peer") => quietly(&line, peer::run),
        Some("fuzzer") => quietly(&line, || fuzz::send(&line)),
        Some("crash") => shutdown(SHUTDOWN_CRASH),
        Some("end") => shutdown(u32::try_from(line.number("code", 0)).unwrap_or(0)),
        Some(other) => println!("ERROR no such mode: {other}"),
    }
    shutdown(match line.value("exit") {
        Some("reboot") => SHUTDOWN_REBOOT,
        _ => SHUTDOWN_POWEROFF,
    })
}

/// Brings up what the body needs, then runs it.
fn quietly(line: &CommandLine<'_>, body: impl FnOnce()) {
    let mut suite = conformance::Suite::new(line);
    conformance::essentials(&mut suite);
    body();
}

/// The least that shows a guest runs: a hypercall in, one out, and the start information.
fn hello(line: &CommandLine<'_>) {
    let start_info = sys::start_info();
    println!("HELLO from oxen-test-guest");
    match hypercall::call(HYPERVISOR_XEN_VERSION, [u64::from(XENVER_VERSION), 0]) {
        Ok(version) => println!("version {}.{}", version >> 16, version & 0xffff),
        Err(error) => println!("xen_version failed: {error}"),
    }
    println!(
        "pages {} flags {:#x} pt_base {:#x} command line: {}",
        start_info.nr_pages,
        start_info.flags,
        start_info.pt_base,
        line.text()
    );
}

/// Ends the domain; a hypervisor that returns from it is asked again.
pub(crate) fn shutdown(reason: u32) -> ! {
    loop {
        let _ = hypercall::op(
            HYPERVISOR_SCHED_OP,
            SCHEDOP_SHUTDOWN,
            &mut Shutdown { reason },
        );
    }
}

/// One round of the second vCPU: yields, blocks, goes down, makes random calls or answers, as the
/// first one says.
pub(crate) fn secondary_round(command: u64) {
    if command == fuzz::COMMAND {
        return fuzz::second();
    }
    if command == bench::ANSWER {
        return bench::answer();
    }
    if command == conformance::LOOK {
        return conformance::look();
    }
    let _ = match command {
        0 => hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_YIELD), 0]),
        1 => hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]),
        _ => hypercall::call(HYPERVISOR_VCPU_OP, [u64::from(VCPUOP_DOWN), 1, 0]),
    };
}
