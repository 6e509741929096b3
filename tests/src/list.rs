//! The list of sessions: what `cargo xtask test` boots, what only `--full` boots, and on which hypervisor.

use std::time::Duration;

use crate::checks::{faults, hardware, leaks, lifecycle, registers};
use crate::guest::GuestRun;
use crate::session::Hypervisor::{DebianXen, Oxen};
use crate::session::When::{Always, Full};
use crate::session::{Check, Session};

const HARDWARE: &[Check] = &[
    Check {
        name: "AHCI disk",
        run: hardware::disk,
    },
    Check {
        name: "e1000e network",
        run: hardware::network,
    },
    Check {
        name: "dmesg is clean",
        run: hardware::clean_dmesg,
    },
];

const TOOLSTACK: &[Check] = &[
    Check {
        name: "xend starts",
        run: lifecycle::xend,
    },
    Check {
        name: "create and list",
        run: lifecycle::create_and_list,
    },
    Check {
        name: "console",
        run: lifecycle::console,
    },
    Check {
        name: "pause and unpause",
        run: lifecycle::pause_and_unpause,
    },
    Check {
        name: "registers keep their values",
        run: registers::patterns,
    },
    Check {
        name: "reboot",
        run: lifecycle::reboot,
    },
    Check {
        name: "shutdown",
        run: lifecycle::shutdown,
    },
    Check {
        name: "destroy",
        run: lifecycle::destroy,
    },
    Check {
        name: "xend is killed and comes back",
        run: lifecycle::xend_killed,
    },
    Check {
        name: "an error in the file",
        run: faults::config_error,
    },
    Check {
        name: "a missing kernel",
        run: faults::missing_kernel,
    },
    Check {
        name: "a name in use",
        run: faults::name_in_use,
    },
    Check {
        name: "too little memory",
        run: faults::too_little_memory,
    },
    Check {
        name: "create and destroy twenty times",
        run: leaks::twenty,
    },
    Check {
        name: "dmesg is clean",
        run: hardware::clean_dmesg,
    },
];

/// All boots of the test guest.
pub const GUEST_RUNS: &[GuestRun] = &[
    GuestRun {
        name: "conformance",
        args: "mode=conformance debug exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Always)],
        cpus: 1,
        time: Duration::from_secs(300),
    },
    GuestRun {
        name: "conformance, 2 CPUs",
        args: "mode=conformance debug exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 2,
        time: Duration::from_secs(300),
    },
    GuestRun {
        name: "two domains",
        args: "mode=pair debug exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Always)],
        cpus: 2,
        time: Duration::from_secs(300),
    },
    GuestRun {
        name: "50,000 random hypercalls",
        args: "mode=fuzz count=50000 seed=1 exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 1,
        time: Duration::from_secs(600),
    },
];

/// All sessions.
pub const SESSIONS: &[Session] = &[
    Session {
        name: "GRUB, 1 CPU",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 1,
        grub: true,
        disk: true,
        checks: HARDWARE,
    },
    Session {
        name: "GRUB, 2 CPUs",
        on: &[(Oxen, Always), (DebianXen, Always)],
        cpus: 2,
        grub: true,
        disk: true,
        checks: HARDWARE,
    },
    Session {
        name: "toolstack",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 2,
        grub: false,
        disk: false,
        checks: TOOLSTACK,
    },
];
