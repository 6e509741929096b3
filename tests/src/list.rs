//! The list of sessions: what `cargo xtask test` boots, what only `--full` boots, and on which hypervisor.

use std::time::Duration;

use crate::checks::hardware;
use crate::guest::GuestRun;
use crate::session::Hypervisor::DebianXen;
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

/// All boots of the test guest.
pub const GUEST_RUNS: &[GuestRun] = &[GuestRun {
    name: "conformance",
    args: "mode=conformance debug exit=reboot",
    on: &[(DebianXen, Always)],
    cpus: 1,
    time: Duration::from_secs(240),
}];

/// All sessions.
pub const SESSIONS: &[Session] = &[
    Session {
        name: "GRUB, 1 CPU",
        on: &[(DebianXen, Full)],
        cpus: 1,
        grub: true,
        disk: true,
        checks: HARDWARE,
    },
    Session {
        name: "GRUB, 2 CPUs",
        on: &[(DebianXen, Always)],
        cpus: 2,
        grub: true,
        disk: true,
        checks: HARDWARE,
    },
];
