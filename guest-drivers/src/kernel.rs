//! What the kernel does, by its command line.

use oxen_abi::hypercall::{HYPERVISOR_SCHED_OP, HYPERVISOR_XEN_VERSION};
use oxen_abi::sched::{SCHEDOP_SHUTDOWN, SHUTDOWN_POWEROFF, SHUTDOWN_REBOOT, Shutdown};
use oxen_abi::version::XENVER_VERSION;

use crate::cmdline::CommandLine;
use crate::println;
use crate::sys::{self, hypercall};

/// Runs the mode of the command line and ends the domain: `exit=reboot` makes a dom0 reboot the
/// machine at the end instead of powering it off.
pub(crate) fn run() -> ! {
    let start_info = sys::start_info();
    let line = CommandLine::new(&start_info.cmd_line);
    match line.value("mode") {
        None | Some("hello") => hello(&line),
        Some(other) => println!("ERROR no such mode: {other}"),
    }
    shutdown(match line.value("exit") {
        Some("reboot") => SHUTDOWN_REBOOT,
        _ => SHUTDOWN_POWEROFF,
    })
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
