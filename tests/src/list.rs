//! The list of sessions: what `cargo xtask test` boots, what only `--full` boots, and on which hypervisor.

use std::time::Duration;

use crate::boots::Step::{Ends, InGuest, Monitor, Never, Shows, Stands, Types};
use crate::boots::{BootRun, Kernel};
use crate::checks::{faults, hardware, isolation, leaks, lifecycle, registers, stress, vcpus, xl};
use crate::guest::GuestRun;
use crate::qemu::{Clock, Port};
use crate::session::Hypervisor::{DebianXen, Oxen};
use crate::session::When::{Always, Full};
use crate::session::{Check, End, Linux, Session, Tools};

const AHCI: Check = Check {
    name: "AHCI disk",
    run: hardware::disk_data,
};

const E1000E: Check = Check {
    name: "e1000e network",
    run: hardware::network,
};

const CREATE_AND_LIST: Check = Check {
    name: "create and list",
    run: lifecycle::create_and_list,
};

const CONSOLE: Check = Check {
    name: "console",
    run: lifecycle::console,
};

const CLEAN_GUEST: Check = Check {
    name: "the guest's dmesg is clean",
    run: lifecycle::clean_guest,
};

const GUEST_CLOCK: Check = Check {
    name: "the guest's clock",
    run: lifecycle::guest_clock,
};

const SHUTDOWN: Check = Check {
    name: "shutdown",
    run: lifecycle::shutdown,
};

const BIOS: Check = Check {
    name: "what the BIOS says of the disk",
    run: hardware::bios,
};

const HARDWARE: &[Check] = &[BIOS, AHCI, E1000E, SYMBOLS, CLEAN];

/// With interrupts as devices have them that know no messages.
const LINES: &[Check] = &[
    Check {
        name: "disk by a line",
        run: hardware::disk_data_by_line,
    },
    Check {
        name: "network by a line",
        run: hardware::network_by_line,
    },
    INTERRUPTS,
    CLEAN,
];

const SYMBOLS: Check = Check {
    name: "the hypervisor's symbols",
    run: hardware::symbols,
};

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
        name: "CPUs out of service and back",
        run: vcpus::out_of_service,
    },
    Check {
        name: "1,000 forks, busy processes, signals, memory",
        run: stress::short,
    },
    XEND,
    REGISTERS,
    CLEAN,
];

const XEND: Check = Check {
    name: "xend starts",
    run: lifecycle::xend,
};

const REGISTERS: Check = Check {
    name: "registers keep their values",
    run: registers::patterns,
};

const STRESS: &[Check] = &[
    Check {
        name: "10,000 forks, busy processes, signals, memory",
        run: stress::long,
    },
    Check {
        name: "clock and RTC agree",
        run: stress::clocks,
    },
    XEND,
    REGISTERS,
    CLEAN,
];

const TOOLSTACK: &[Check] = &[
    XEND,
    CREATE_AND_LIST,
    CONSOLE,
    CLEAN_GUEST,
    GUEST_CLOCK,
    Check {
        name: "pause and unpause",
        run: lifecycle::pause_and_unpause,
    },
    REGISTERS,
    Check {
        name: "reboot",
        run: lifecycle::reboot,
    },
    SHUTDOWN,
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
    CLEAN,
];

/// Debian's own tools of Xen 4.17.
const XL: &[Check] = &[
    Check {
        name: "xenstored and xenconsoled",
        run: xl::daemons,
    },
    Check {
        name: "xl info",
        run: xl::info,
    },
    Check {
        name: "xl list and vcpu-list",
        run: xl::lists,
    },
    Check {
        name: "xentop",
        run: xl::xentop,
    },
    Check {
        name: "xl dmesg and debug-keys",
        run: xl::dmesg,
    },
    Check {
        name: "xl create and console",
        run: xl::create,
    },
    Check {
        name: "the guest's clock",
        run: xl::clock,
    },
    Check {
        name: "types recounted",
        run: xl::types,
    },
    Check {
        name: "xl migrate",
        run: xl::migrate,
    },
    Check {
        name: "xl pause and unpause",
        run: xl::pause_and_unpause,
    },
    Check {
        name: "xl destroy",
        run: xl::destroy,
    },
    CLEAN,
];

/// A guest that is no Linux.
const GRUB_GUEST: &[Check] = &[
    Check {
        name: "xenstored and xenconsoled",
        run: xl::daemons,
    },
    Check {
        name: "GRUB as a guest",
        run: xl::grub,
    },
    CLEAN,
];

/// With the guests' page tables isolated, whatever the processor.
const ISOLATED: &[Check] = &[
    XEND,
    CREATE_AND_LIST,
    CONSOLE,
    CLEAN_GUEST,
    REGISTERS,
    SHUTDOWN,
    CLEAN,
];

/// Another kernel, in dom0 and as a guest.
const KERNEL: &[Check] = &[
    INTERRUPTS,
    HOTPLUG,
    BIOS,
    AHCI,
    E1000E,
    XEND,
    CREATE_AND_LIST,
    CONSOLE,
    CLEAN_GUEST,
    GUEST_CLOCK,
    SHUTDOWN,
    CLEAN,
];

/// A boot of the test guest without anything special.
const GUEST: GuestRun = GuestRun {
    name: "",
    args: "",
    hypervisor_args: "",
    on: &[],
    cpus: 1,
    cpu: "",
    clock: Clock::Host,
    two_nodes: false,
    time: Duration::from_secs(300),
};

/// A processor that is open to Meltdown: not AMD's, and without RDCL_NO.
const OPEN_TO_MELTDOWN: &str = ",vendor=GenuineIntel";

/// One of AMD's whose updates Xen does not compare with a list of known ones, as it does from family 17h on.
const PILEDRIVER: &str = ",vendor=AuthenticAMD,family=21,model=2,stepping=0";

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
        name: "conformance, isolated page tables",
        args: "mode=conformance debug exit=reboot",
        cpu: OPEN_TO_MELTDOWN,
        on: &[(Oxen, Always)],
        cpus: 2,
        ..GUEST
    },
    GuestRun {
        name: "two domains, isolated page tables",
        args: "mode=pair debug exit=reboot",
        cpu: OPEN_TO_MELTDOWN,
        on: &[(Oxen, Always)],
        cpus: 2,
        ..GUEST
    },
    GuestRun {
        name: "20,000 random hypercalls, isolated page tables",
        args: "mode=fuzz count=20000 seed=77 exit=reboot",
        cpu: OPEN_TO_MELTDOWN,
        on: &[(Oxen, Always)],
        cpus: 2,
        time: Duration::from_secs(600),
        ..GUEST
    },
    GuestRun {
        name: "isolated page tables of dom0 alone",
        args: "mode=pair exit=reboot",
        hypervisor_args: "xpti=dom0,no-domu",
        cpu: OPEN_TO_MELTDOWN,
        on: &[(Oxen, Full)],
        cpus: 2,
        ..GUEST
    },
    GuestRun {
        name: "isolated page tables of guests alone",
        args: "mode=pair exit=reboot",
        hypervisor_args: "xpti=no-dom0",
        cpu: OPEN_TO_MELTDOWN,
        on: &[(Oxen, Full)],
        cpus: 2,
        ..GUEST
    },
    GuestRun {
        name: "conformance, 32 CPUs",
        args: "mode=conformance debug exit=reboot",
        hypervisor_args: "",
        on: &[(Oxen, Full)],
        cpus: 32,
        time: Duration::from_secs(900),
        ..GUEST
    },
    GuestRun {
        name: "the BIOS is not asked",
        args: "mode=conformance only=platform_op/firmware asked= exit=reboot",
        hypervisor_args: "no-real-mode",
        on: &[(Oxen, Always), (DebianXen, Full)],
        ..GUEST
    },
    GuestRun {
        name: "the BIOS is asked of disks and reads none",
        args: "mode=conformance only=platform_op/firmware asked=edd exit=reboot",
        hypervisor_args: "edd=skipmbr edid=no",
        on: &[(Oxen, Always), (DebianXen, Full)],
        ..GUEST
    },
    GuestRun {
        name: "microcode of Intel's format",
        args: "mode=conformance only=platform_op/microcode exit=reboot",
        cpu: OPEN_TO_MELTDOWN,
        on: &[(Oxen, Always), (DebianXen, Full)],
        ..GUEST
    },
    GuestRun {
        name: "microcode, 4 CPUs",
        args: "mode=conformance only=platform_op/microcode exit=reboot",
        cpu: OPEN_TO_MELTDOWN,
        on: &[(Oxen, Always)],
        cpus: 4,
        ..GUEST
    },
    GuestRun {
        name: "microcode of AMD's format",
        args: "mode=conformance only=platform_op/microcode exit=reboot",
        cpu: PILEDRIVER,
        on: &[(Oxen, Always), (DebianXen, Full)],
        ..GUEST
    },
    GuestRun {
        name: "VGA text",
        args: "mode=conformance only=console_io/vga exit=reboot",
        hypervisor_args: "console=com1,vga vga=current,keep",
        on: &[(Oxen, Always)],
        cpus: 1,
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
    GuestRun {
        name: "two NUMA nodes",
        args: "mode=conformance only=numa exit=reboot",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 2,
        two_nodes: true,
        ..GUEST
    },
];

/// All boots that are judged by the hypervisor's own lines.
pub const BOOT_RUNS: &[BootRun] = &[
    BootRun {
        // A machine whose clock counts instructions has a TSC of 1 GHz.
        name: "the TSC by the PM timer",
        machine: ",hpet=off",
        clock: Clock::Instructions,
        steps: &[
            Shows(r"TSC: (1000\.[0-4]|999\.[5-9])\d* MHz by the ACPI PM timer"),
            Shows("CHECK xen_version/version ok"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "the TSC by the PIT",
        hypervisor_args: "clocksource=pit",
        clock: Clock::Instructions,
        steps: &[
            Shows(r"TSC: (1000\.[0-4]|999\.[5-9])\d* MHz by the PIT"),
            Shows("CHECK xen_version/version ok"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "no module",
        steps: &[Shows(
            "Oxen cannot start: dom0: the boot loader loaded no dom0 kernel",
        )],
        kernel: Kernel::Missing,
        ..PLAIN
    },
    BootRun {
        name: "a truncated ELF kernel",
        steps: &[Shows(
            "Oxen cannot start: dom0: the dom0 kernel cannot be used: ",
        )],
        kernel: Kernel::HalfElf,
        ..PLAIN
    },
    BootRun {
        name: "a truncated bzImage",
        steps: &[Shows(
            "Oxen cannot start: dom0: the dom0 kernel cannot be used: ",
        )],
        kernel: Kernel::HalfBzImage,
        ..PLAIN
    },
    BootRun {
        name: "a hostile command line",
        hypervisor_args: HOSTILE,
        steps: &[
            Shows(r"boot option '=' is not known and is ignored"),
            Shows(r"boot option 'dom0_mem=-99999999999999999999G' has a wrong value: expected "),
            Shows(r"boot option '\?\[2J' is not known"),
            Shows(r"boot option 'loglvl=' has a wrong value: expected "),
            Shows("VERDICT passed=1 failed=0"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a command line that is too long",
        hypervisor_args: LONG,
        steps: &[
            Shows("WARNING: the command line is longer than 2047 bytes, the rest is ignored"),
            Shows("boot option 'yyyyyyyyy"),
            Shows("VERDICT passed=1 failed=0"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a processor open to Meltdown",
        cpu: OPEN_TO_MELTDOWN,
        hypervisor_args: "nmi=ignore",
        kernel: FUZZING,
        steps: &[
            Shows(r"XPTI \(64-bit PV only\): Dom0 enabled, DomU enabled \(without PCID\)"),
            Shows("XPTI: a guest's page tables have 2[0-9] pages of the hypervisor's"),
            Shows("Serial input goes to DOM0"),
            InGuest(isolation::hidden),
            Monitor("nmi"),
            InGuest(isolation::hidden),
        ],
        ..PLAIN
    },
    BootRun {
        name: "the same without isolation",
        cpu: OPEN_TO_MELTDOWN,
        hypervisor_args: "xpti=no",
        kernel: FUZZING,
        steps: &[
            Shows(r"XPTI \(64-bit PV only\): Dom0 disabled, DomU disabled"),
            Shows("WARNING: this processor is open to Meltdown: any domain could read all memory"),
            Shows("Serial input goes to DOM0"),
            InGuest(isolation::shown),
        ],
        ..PLAIN
    },
    BootRun {
        name: "console on com2",
        hypervisor_args: "console=com2 com2=115200,8n1,0x2f8,3 com1=auto",
        port: Port::Com2,
        steps: &[Shows(r"\(XEN\) Oxen "), Shows("VERDICT passed=1 failed=0")],
        ..PLAIN
    },
    BootRun {
        name: "console on com2, with the top bit",
        hypervisor_args: "console=com2H com2=115200,8n1,0x2f8,3",
        port: Port::Com2,
        // "(XEN) Oxen " and "VERDICT".
        steps: &[
            Shows(r"(?-u)\xa8\xd8\xc5\xce\xa9\xa0\xcf\xf8\xe5\xee\xa0"),
            Shows(r"(?-u)\xd6\xc5\xd2\xc4\xc9\xc3\xd4"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "debug keys",
        hypervisor_args: "conswitch=bx sync_console",
        kernel: FUZZING,
        cpus: 2,
        steps: &[
            Shows(r"Serial input goes to Xen \(CTRL-b three times switches it\)"),
            Types("h"),
            Shows("key '0': registers of dom0"),
            Types("0"),
            Shows("d0v0: rip [0-9a-f]{16}"),
            Types("d"),
            Shows("'d' pressed -> registers of all vCPUs"),
            Shows("d[01]v0: rip [0-9a-f]{16} rsp [0-9a-f]{16}"),
            Shows("  r13 [0-9a-f]{16} r14 [0-9a-f]{16} r15 [0-9a-f]{16} cr3 [0-9a-f]{16}"),
            Types("q"),
            Shows("d0: privileged, pause count 0"),
            Shows("  v0: up"),
            Types("r"),
            Shows(r"Credit scheduler, system time \d+ ns"),
            Shows(r" CPU 0(, idle)?: \d+ waiting"),
            Shows(r" CPU 1(, idle)?: \d+ waiting"),
            Types("m"),
            Shows(r"20\d\d MiB of RAM, \d+ MiB \(\d+ frames\) free"),
            Shows(r" d0: \d{6} frames, at most \d+, \d+ shared by the hypervisor"),
            Types("a"),
            Shows(r"Timers, system time \d+ ns"),
            Shows(r"  d[01]v\d \w+(\(\d+\))? in -?\d+ ns"),
            // With copies there are channels.
            Shows(r"copy \d+ ended"),
            Types("e"),
            Shows("'e' pressed -> event channels"),
            Shows(r"2-level event channels, \d+ ports in use"),
            Shows(r"  +\d+ v\d+(, pending)?: (unbound, for d|to port \d|VIRQ \d|IPI)"),
            Types("o"),
            Shows(r"\d+ page tables; 0 frames with a wrong count"),
            Types("\u{2}\u{2}\u{2}"),
            Shows("Serial input goes to DOM0"),
            Types("\u{2}\u{2}\u{2}"),
            Shows("Serial input goes to Xen"),
            Types("C"),
            Shows("the debug key 'C' was pressed"),
            Shows("oxen_core::console"),
            Shows("Reboot in 5 seconds"),
            Ends(20),
        ],
        ..PLAIN
    },
    BootRun {
        name: "the reboot key",
        kernel: FUZZING,
        steps: &[
            Shows("Serial input goes to DOM0"),
            Types("\u{1}\u{1}\u{1}"),
            Shows(r"Serial input goes to Xen \(CTRL-a three times switches it\)"),
            Types("R"),
            Shows("'R' pressed -> reboot the machine"),
            Ends(20),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a panic with noreboot",
        hypervisor_args: "noreboot conswitch=ax",
        kernel: FUZZING,
        steps: &[
            Shows("Serial input goes to Xen"),
            Types("C"),
            Shows("the debug key 'C' was pressed"),
            Shows(r"Halted \(noreboot\)"),
            Stands(6),
        ],
        ..PLAIN
    },
    BootRun {
        name: "dom0's watchdog",
        hypervisor_args: "noreboot",
        kernel: Kernel::TestGuest("mode=watchdog"),
        steps: &[
            Shows(r"WATCHDOG Ok\(1\)"),
            Shows("d0: its watchdog expired"),
            Shows("Domain 0's watchdog expired: the machine is rebooted"),
            Ends(20),
        ],
        ..PLAIN
    },
    BootRun {
        name: "dom0 ends for an unknown reason",
        kernel: Kernel::TestGuest("mode=end code=77"),
        steps: &[Shows("Domain 0 ended for the unknown reason 77"), Ends(20)],
        ..PLAIN
    },
    BootRun {
        name: "the same with noreboot",
        hypervisor_args: "noreboot",
        kernel: Kernel::TestGuest("mode=end code=77"),
        steps: &[
            Shows("Domain 0 ended for the unknown reason 77"),
            Shows("'noreboot' set: the machine stands still"),
            Stands(3),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a fatal NMI",
        kernel: FUZZING,
        cpus: 2,
        steps: &[
            Shows("Serial input goes to DOM0"),
            Monitor("nmi"),
            Shows(r"\*\*\* Fatal NMI on CPU [01], of unknown origin \*\*\*"),
            Shows("rip 0x[0-9a-f]{16} cs 0x"),
            Shows("The machine hangs"),
            Stands(7),
            Never("in the hypervisor|Reboot in"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "an NMI for dom0",
        hypervisor_args: "nmi=dom0",
        kernel: Kernel::TestGuest("mode=nmi exit=reboot"),
        steps: &[
            Shows("WAITING for an NMI"),
            Monitor("nmi"),
            Shows("1 NMIs came"),
            Ends(20),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a policy before the initrd",
        modules: &[POLICY, b"hello", INITRD],
        kernel: Kernel::TestGuest("mode=conformance only=expected expect=module:12 exit=reboot"),
        steps: &[
            Shows(r"Module 0, \d+ KiB: dom0's kernel"),
            Shows("Module 1, 1 KiB: an sHype/ACM policy, which is not enforced yet"),
            Shows("Module 2, 1 KiB: of no known kind or one too many, ignored"),
            Shows(r"Module 3, 1 KiB: dom0's initrd \(cpio\)"),
            Shows("VERDICT passed=1 failed=0"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "levels of messages about guests",
        hypervisor_args: "guest_loglvl=error/debug",
        kernel: Kernel::TestGuest("mode=refused exit=reboot"),
        steps: &[
            Shows("(?s)(d0: v0: RDMSR 0x12345 is refused.*){10}REFUSED\n"),
            Shows("2[0-9] messages were dropped by the rate limit"),
            Shows("RDMSR 0x12345 is refused"),
            Shows("REFUSED AGAIN"),
            Never("(?s)(RDMSR 0x12345 is refused.*){12}"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "all messages about guests",
        when: Full,
        hypervisor_args: "guest_loglvl=all",
        kernel: Kernel::TestGuest("mode=refused exit=reboot"),
        steps: &[
            Shows("(?s)(d0: v0: RDMSR 0x12345 is refused.*){31}REFUSED AGAIN"),
            Never("dropped by the rate limit"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "no messages about guests",
        when: Full,
        kernel: Kernel::TestGuest("mode=refused exit=reboot"),
        steps: &[Shows("REFUSED AGAIN"), Never("RDMSR 0x12345")],
        ..PLAIN
    },
    BootRun {
        name: "options that shape the machine",
        hypervisor_args: "mem=1536M badpage=0x28000,0x28001 dom0_mem=-64M maxcpus=2 dom0_max_vcpus=2-8 \
                          dom0_vcpus_pin console_to_ring dma_bits=29 dma_emergency_pool=128M acpi=noirq \
                          acpi_skip_timer_override noapic console=com1,vga vga=current",
        kernel: Kernel::TestGuest(
            "mode=conformance only=expected exit=reboot expect=cpus:2,vcpus:2,pinned:yes,total:1536,free:180-240,\
             absent:0x28000,absent:0x28001,low:29/384,ring:yes,word:acpi=noirq,word:acpi_skip_timer_override,\
             word:noapic,screen:left",
        ),
        cpus: 3,
        steps: &[Shows("VERDICT passed=1 failed=0")],
        ..PLAIN
    },
    BootRun {
        name: "nosmp, bounds of dom0's memory, no messages",
        hypervisor_args: "nosmp dom0_mem=min:300M,max:400M loglvl=none frobnicate dom0_max_vcpus=3 console=com1,vga \
                          vga=current,keep",
        kernel: Kernel::TestGuest(
            "mode=conformance only=expected exit=reboot \
             expect=cpus:1,vcpus:3,pages:102400,maxpages:102400,low:30/0,ring:no,screen:kept",
        ),
        cpus: 2,
        steps: &[
            Shows("VERDICT passed=1 failed=0"),
            Never("frobnicate is not|'frobnicate'"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "ignorebiostables, least memory of dom0, errors alone",
        when: Full,
        hypervisor_args: "ignorebiostables dom0_mem=512M,min:600M,max:800M loglvl=error frobnicate",
        kernel: Kernel::TestGuest(
            "mode=conformance only=expected exit=reboot expect=cpus:1,vcpus:1,pages:153600,maxpages:204800",
        ),
        cpus: 2,
        steps: &[Shows("VERDICT passed=1 failed=0"), Never("'frobnicate'")],
        ..PLAIN
    },
    BootRun {
        name: "a polled serial line",
        hypervisor_args: "com1=115200,8n1,0x3f8,0 conswitch=ax",
        kernel: FUZZING,
        steps: &[
            Shows("Serial input goes to Xen"),
            Types("h"),
            Shows("key 'h': list the keys"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "the watchdog",
        hypervisor_args: "watchdog watchdog_timeout=1 conswitch=ax",
        kernel: FUZZING,
        cpus: 2,
        steps: &[
            Shows("Watchdog: a CPU that is stuck for 1 s ends in a panic"),
            Types("W"),
            Shows(r"\*\*\* Oxen panics on CPU 0 \*\*\*"),
            Shows("Watchdog: this CPU is stuck"),
            Shows("oxen_core::console"),
            Shows("Reboot in 5 seconds"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a machine check",
        kernel: FUZZING,
        steps: &[
            Shows("Serial input goes to DOM0"),
            Monitor("mce 0 9 0xbd00000000000134 0x5 0x12345000 0x8c"),
            Shows("Machine check: the hardware has lost data or control"),
            Shows("bank 9: status 0xbd00000000000134 .uncorrected.*address 0x12345000"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a corrected error of the hardware",
        kernel: Kernel::TestGuest("mode=machine-check exit=reboot"),
        steps: &[
            Shows("WAITING for a machine check"),
            Monitor("mce 0 9 0x9c00000000000134 0x0 0x12345000 0x8c"),
            Shows("Machine check, CPU 0: bank 9: status 0x9c00000000000134 .corrected"),
            Shows(
                "RECORD of 2 entries, flags 0x9: bank 9 status 0x9c00000000000134 address 0x12345000 misc 0x8c",
            ),
            Shows("NO FURTHER RECORD"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "the watchdog, isolated page tables",
        hypervisor_args: "xpti=yes watchdog watchdog_timeout=1 conswitch=ax",
        kernel: FUZZING,
        cpus: 2,
        steps: &[
            Shows("Watchdog: a CPU that is stuck for 1 s ends in a panic"),
            InGuest(isolation::hidden),
            Types("W"),
            Shows(r"\*\*\* Oxen panics on CPU 0 \*\*\*"),
            Shows("Watchdog: this CPU is stuck"),
            Shows("oxen_core::console"),
            Shows("Reboot in 5 seconds"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "a machine check, isolated page tables",
        hypervisor_args: "xpti=yes",
        kernel: FUZZING,
        steps: &[
            Shows("Serial input goes to DOM0"),
            InGuest(isolation::hidden),
            Monitor("mce 0 9 0xbd00000000000134 0x5 0x12345000 0x8c"),
            Shows("Machine check: the hardware has lost data or control"),
            Shows("bank 9: status 0xbd00000000000134 .uncorrected.*address 0x12345000"),
        ],
        ..PLAIN
    },
    BootRun {
        name: "options without effect and wrong ones",
        hypervisor_args: "vga=text-80x50 noirqbalance edid=perhaps edd=maybe tbuf_size=4 apic=summit dma_bits=eleven \
                          dma_emergency_pool=lots hap noapic lapic nmi=perhaps watchdog=sometimes \
                          spec-ctrl=l1d-flush xpti=perhaps frobnicate",
        steps: &[
            Shows("boot option 'vga=<mode>' has no effect: "),
            Shows("boot option 'noirqbalance' has no effect: "),
            Shows(
                "boot option 'edid=perhaps' has a wrong value: expected no or force; the default is taken",
            ),
            Shows(
                "boot option 'edd=maybe' has a wrong value: expected off, on or skipmbr; the default is taken",
            ),
            Shows("boot option 'tbuf_size' has no effect: "),
            Shows("boot option 'apic' has no effect: "),
            Shows("boot option 'dma_bits=eleven' has a wrong value: expected a number of bits"),
            Shows("boot option 'dma_emergency_pool=lots' has a wrong value: expected "),
            Shows("boot option 'hap' has no effect: "),
            Shows("boot option 'noapic' has no effect: "),
            Shows("boot option 'lapic' has no effect: "),
            Shows("boot option 'nmi=perhaps' has a wrong value: expected fatal, dom0 or ignore"),
            Shows("boot option 'watchdog=sometimes' has a wrong value: expected yes, no or force"),
            Shows("boot option 'spec-ctrl=l1d-flush, psfd, srb-lock, unpriv-mmio' has no effect: "),
            Shows("boot option 'xpti=perhaps' has a wrong value"),
            Shows("boot option 'frobnicate' is not known and is ignored"),
            Shows("VERDICT passed=1 failed=0"),
        ],
        ..PLAIN
    },
];

/// Keeps dom0 busy for as long as the boot lasts.
const FUZZING: Kernel = Kernel::TestGuest("mode=fuzz count=1000000000 seed=1 exit=reboot");

/// Boots the test guest for one short check.
const PLAIN: BootRun = BootRun {
    name: "",
    when: Always,
    hypervisor_args: "",
    kernel: Kernel::TestGuest("mode=conformance only=xen_version/version exit=reboot"),
    modules: &[],
    cpus: 1,
    cpu: "",
    machine: "",
    clock: Clock::Host,
    port: Port::Com1,
    steps: &[],
};

/// How a binary policy of Xen 3.0 begins: version, magic, length.
const POLICY: &[u8] = &[0, 0, 0, 3, 0, 1, 0xde, 0xbc, 0, 0, 0, 12];

/// How an initrd begins.
const INITRD: &[u8] = b"070701000000";

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
    linux: Linux::Stock,
    tools: Tools::Ours,
    hypervisor_args: "",
    dom0_args: "",
    grub: false,
    disk: false,
    checks: &[],
    end: End::PowerOff,
};

/// A boot that only has to come up cleanly.
const fn size(name: &'static str, cpus: u32, memory: &'static str) -> Session {
    Session {
        name,
        on: &[(Oxen, Full)],
        cpus,
        memory,
        disk: true,
        checks: VCPUS,
        ..SESSION
    }
}

/// The same in a machine of 1 GiB.
const fn small(name: &'static str, cpus: u32) -> Session {
    Session {
        hypervisor_args: SMALL,
        ..size(name, cpus, "1024M")
    }
}

/// With the newer kernel.
const fn newer(session: Session) -> Session {
    Session {
        linux: Linux::V6_12,
        ..session
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
        name: "Linux 6.12",
        on: &[(Oxen, Always), (DebianXen, Full)],
        cpus: 2,
        linux: Linux::V6_12,
        disk: true,
        checks: KERNEL,
        ..SESSION
    },
    Session {
        name: "Linux 5.10",
        on: &[(Oxen, Full), (DebianXen, Full)],
        cpus: 2,
        linux: Linux::V5_10,
        disk: true,
        checks: KERNEL,
        ..SESSION
    },
    Session {
        name: "lines instead of messages",
        on: &[(Oxen, Always), (DebianXen, Full)],
        dom0_args: "pci=nomsi",
        disk: true,
        checks: LINES,
        ..SESSION
    },
    Session {
        name: "isolated page tables",
        on: &[(Oxen, Always)],
        cpus: 2,
        hypervisor_args: "xpti=yes",
        checks: ISOLATED,
        ..SESSION
    },
    Session {
        name: "isolated page tables, Linux 6.12, 4 CPUs",
        on: &[(Oxen, Full)],
        cpus: 4,
        linux: Linux::V6_12,
        hypervisor_args: "xpti=yes",
        disk: true,
        checks: BUSY,
        ..SESSION
    },
    Session {
        name: "Debian's tools",
        on: &[(Oxen, Always), (DebianXen, Full)],
        tools: Tools::Debian,
        checks: XL,
        ..SESSION
    },
    Session {
        name: "GRUB for PV",
        on: &[(Oxen, Full), (DebianXen, Full)],
        tools: Tools::Debian,
        checks: GRUB_GUEST,
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
    small("1 CPU, 1 GiB", 1),
    small("2 CPUs, 1 GiB", 2),
    small("8 CPUs, 1 GiB", 8),
    size("4 CPUs, 4 GiB", 4, "4096M"),
    size("8 CPUs, 4 GiB", 8, "4096M"),
    size("1 CPU, 16 GiB", 1, "16384M"),
    size("2 CPUs, 16 GiB", 2, "16384M"),
    size("4 CPUs, 16 GiB", 4, "16384M"),
    size("8 CPUs, 16 GiB", 8, "16384M"),
    newer(small("Linux 6.12, 1 CPU, 1 GiB", 1)),
    newer(small("Linux 6.12, 2 CPUs, 1 GiB", 2)),
    newer(small("Linux 6.12, 4 CPUs, 1 GiB", 4)),
    newer(small("Linux 6.12, 8 CPUs, 1 GiB", 8)),
    newer(size("Linux 6.12, 1 CPU, 4 GiB", 1, "4096M")),
    newer(size("Linux 6.12, 4 CPUs, 4 GiB", 4, "4096M")),
    newer(size("Linux 6.12, 8 CPUs, 4 GiB", 8, "4096M")),
    newer(size("Linux 6.12, 1 CPU, 16 GiB", 1, "16384M")),
    newer(size("Linux 6.12, 2 CPUs, 16 GiB", 2, "16384M")),
    newer(size("Linux 6.12, 4 CPUs, 16 GiB", 4, "16384M")),
    newer(size("Linux 6.12, 8 CPUs, 16 GiB", 8, "16384M")),
];
