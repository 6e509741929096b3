//! The list of sessions: what `cargo xtask test` boots, what only `--full` boots, and on which hypervisor.

use std::time::Duration;

use crate::boots::{BootRun, Kernel};
use crate::checks::{faults, hardware, leaks, lifecycle, registers, stress, vcpus};
use crate::guest::GuestRun;
use crate::qemu::{Clock, Port};
use crate::session::Hypervisor::{DebianXen, Oxen};
use crate::session::When::{Always, Full};
use crate::session::{Check, End, Session};

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

const CLEAN: Check = Check {
    name: "dmesg is clean",
    run: hardware::clean_dmesg,
};

const INTERRUPTS: Check = Check {
    name: "interrupts on all vCPUs",
    run: vcpus::interrupts,
};

const HOTPLUG: Check = Check {
    name: "unplug and plug vCPUs",
    run: vcpus::hotplug,
};

const VCPUS: &[Check] = &[INTERRUPTS, HOTPLUG, CLEAN];

const BUSY: &[Check] = &[
    INTERRUPTS,
    HOTPLUG,
    Check {
        name: "1,000 forks, busy processes, signals, memory",
        run: stress::short,
    },
    CLEAN,
];

const STRESS: &[Check] = &[
    Check {
        name: "10,000 forks, busy processes, signals, memory",
        run: stress::long,
    },
    Check {
        name: "clock and RTC agree",
        run: stress::clocks,
    },
    CLEAN,
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

/// A boot of the test guest without anything special.
const GUEST: GuestRun = GuestRun {
    name: "",
    args: "",
    hypervisor_args: "",
    on: &[],
    cpus: 1,
    clock: Clock::Host,
    time: Duration::from_secs(300),
};

/// All boots of the test guest.
pub const GUEST_RUNS: &[GuestRun] = &[
    GuestRun {
        name: "conformance",
        args: "mode=conformance debug exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Always)],
        cpus: 1,
        time: Duration::from_secs(300),
        ..GUEST
    },
    GuestRun {
        name: "conformance, 2 CPUs",
        args: "mode=conformance debug exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 2,
        time: Duration::from_secs(300),
        ..GUEST
    },
    GuestRun {
        name: "all speculation defences",
        args: "mode=conformance exit=reboot",
        hypervisor_args: "spec-ctrl=rsb,md-clear,ibpb-entry,ssbd",
        on: &[(Oxen, Always)],
        cpus: 2,
        time: Duration::from_secs(300),
        ..GUEST
    },
    GuestRun {
        name: "two domains",
        args: "mode=pair debug exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Always)],
        cpus: 2,
        time: Duration::from_secs(300),
        ..GUEST
    },
    GuestRun {
        name: "200,000 random hypercalls",
        args: "mode=fuzz count=200000 seed=1 exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 2,
        time: Duration::from_secs(600),
        ..GUEST
    },
    GuestRun {
        name: "2,000,000 random hypercalls",
        args: "mode=fuzz count=2000000 seed=1000 exit=reboot",
        on: &[(Oxen, Full)],
        cpus: 2,
        time: Duration::from_secs(3600),
        ..GUEST
    },
    // Instructions between preemption points: the clock counts them.
    GuestRun {
        name: "preemption under random hypercalls",
        args: "mode=fuzz late vcpus=1 count=20000 seed=7 exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 1,
        clock: Clock::Instructions,
        time: Duration::from_secs(600),
        ..GUEST
    },
];

/// All boots that are judged by the hypervisor's own lines.
pub const BOOT_RUNS: &[BootRun] = &[
    BootRun {
        name: "no module",
        shows: &["Oxen cannot start: dom0: the boot loader loaded no dom0 kernel"],
        kernel: Kernel::Missing,
        ..PLAIN
    },
    BootRun {
        name: "a truncated ELF kernel",
        shows: &["Oxen cannot start: dom0: the dom0 kernel cannot be used: "],
        kernel: Kernel::HalfElf,
        ..PLAIN
    },
    BootRun {
        name: "a truncated bzImage",
        shows: &["Oxen cannot start: dom0: the dom0 kernel cannot be used: "],
        kernel: Kernel::HalfBzImage,
        ..PLAIN
    },
    BootRun {
        name: "a hostile command line",
        hypervisor_args: HOSTILE,
        shows: &[
            r"boot option '=' is not known and is ignored",
            r"boot option 'dom0_mem=-99999999999999999999G' has a wrong value: expected ",
            r"boot option '\?\[2J' is not known",
            r"boot option 'loglvl=' has a wrong value: expected ",
            "VERDICT passed=1 failed=0",
        ],
        ..PLAIN
    },
    BootRun {
        name: "a command line that is too long",
        hypervisor_args: LONG,
        shows: &[
            "WARNING: the command line is longer than 2047 bytes, the rest is ignored",
            "boot option 'yyyyyyyyy",
            "VERDICT passed=1 failed=0",
        ],
        ..PLAIN
    },
    BootRun {
        name: "a processor open to Meltdown",
        cpu: ",vendor=GenuineIntel",
        kernel: Kernel::TestGuest("mode=pair exit=reboot"),
        shows: &[
            "WARNING: this processor is open to Meltdown",
            "No further domain: this processor is open to Meltdown",
        ],
        ..PLAIN
    },
    BootRun {
        name: "the same, and guests all the same",
        cpu: ",vendor=GenuineIntel",
        hypervisor_args: "xpti=no",
        kernel: Kernel::TestGuest("mode=pair exit=reboot"),
        shows: &[
            "guests are allowed by the boot options",
            r"VERDICT passed=\d\d+ failed=0",
        ],
        ..PLAIN
    },
];

/// Boots the test guest for one short check.
const PLAIN: BootRun = BootRun {
    name: "",
    when: Always,
    hypervisor_args: "",
    kernel: Kernel::TestGuest("mode=conformance only=xen_version/version exit=reboot"),
    cpus: 1,
    cpu: "",
    port: Port::Com1,
    shows: &[],
};

/// More than the hypervisor keeps.
const LONG: &str = match core::str::from_utf8(&[b'y'; 3000]) {
    Ok(text) => text,
    Err(_) => "",
};

/// Wrong values, control characters, numbers that overflow.
const HOSTILE: &str = concat!(
    "= == --x =x dom0_mem=-99999999999999999999G \u{1b}[2J loglvl= mem=0x badpage=,, com1=,,,, console=com1 ",
    "dom0_max_vcpus=0 maxcpus=-1 conring_size=99999999999999999999 %s%n%x no- no-no-noreboot ",
);

/// A session of two CPUs and 4 GiB that QEMU's own loader boots.
const SESSION: Session = Session {
    name: "",
    on: &[],
    cpus: 2,
    memory: "4096M",
    hypervisor_args: "",
    grub: false,
    disk: false,
    checks: &[],
    end: End::PowerOff,
};

/// A boot that only has to come up cleanly.
const fn size(
    name: &'static str,
    cpus: u32,
    memory: &'static str,
    hypervisor_args: &'static str,
) -> Session {
    Session {
        name,
        on: &[(Oxen, Full)],
        cpus,
        memory,
        hypervisor_args,
        disk: true,
        checks: VCPUS,
        ..SESSION
    }
}

/// What dom0 gets of a machine with 1 GiB.
const SMALL: &str = "dom0_mem=640M";

/// All sessions.
pub const SESSIONS: &[Session] = &[
    Session {
        name: "GRUB, 1 CPU",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 1,
        grub: true,
        disk: true,
        checks: HARDWARE,
        end: End::Reboot,
        ..SESSION
    },
    Session {
        name: "GRUB, 2 CPUs",
        on: &[(Oxen, Always), (DebianXen, Always)],
        grub: true,
        disk: true,
        checks: HARDWARE,
        ..SESSION
    },
    Session {
        name: "toolstack",
        on: &[(Oxen, Always), (DebianXen, Full)],
        checks: TOOLSTACK,
        ..SESSION
    },
    Session {
        name: "4 CPUs, 1 GiB",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 4,
        memory: "1024M",
        hypervisor_args: SMALL,
        disk: true,
        checks: BUSY,
        end: End::Crash,
        ..SESSION
    },
    Session {
        name: "stress",
        on: &[(Oxen, Full), (DebianXen, Full)],
        cpus: 4,
        disk: true,
        checks: STRESS,
        ..SESSION
    },
    size("1 CPU, 1 GiB", 1, "1024M", SMALL),
    size("1 CPU, 16 GiB", 1, "16384M", ""),
    size("2 CPUs, 1 GiB", 2, "1024M", SMALL),
    size("2 CPUs, 16 GiB", 2, "16384M", ""),
    size("4 CPUs, 4 GiB", 4, "4096M", ""),
    size("4 CPUs, 16 GiB", 4, "16384M", ""),
    size("8 CPUs, 1 GiB", 8, "1024M", SMALL),
    size("8 CPUs, 4 GiB", 8, "4096M", ""),
    size("8 CPUs, 16 GiB", 8, "16384M", ""),
];
