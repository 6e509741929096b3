//! What the C headers must say about `oxen_abi::sched`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::sched as abi;
    constants!(table, abi;
        SCHEDOP_YIELD = "SCHEDOP_yield",
        SCHEDOP_BLOCK = "SCHEDOP_block",
        SCHEDOP_SHUTDOWN = "SCHEDOP_shutdown",
        SCHEDOP_POLL = "SCHEDOP_poll",
        SCHEDOP_REMOTE_SHUTDOWN = "SCHEDOP_remote_shutdown",
        SCHEDOP_SHUTDOWN_CODE = "SCHEDOP_shutdown_code",
        SCHEDOP_WATCHDOG = "SCHEDOP_watchdog",
        SCHEDOP_PIN_OVERRIDE = "SCHEDOP_pin_override",
        SHUTDOWN_POWEROFF = "SHUTDOWN_poweroff",
        SHUTDOWN_REBOOT = "SHUTDOWN_reboot",
        SHUTDOWN_SUSPEND = "SHUTDOWN_suspend",
        SHUTDOWN_CRASH = "SHUTDOWN_crash",
        SHUTDOWN_WATCHDOG = "SHUTDOWN_watchdog",
        SHUTDOWN_SOFT_RESET = "SHUTDOWN_soft_reset",
        SHUTDOWN_MAX = "SHUTDOWN_MAX",
    );
    structs!(table, abi::Shutdown, "struct sched_shutdown";
        reason = "reason",
    );
    structs!(table, abi::Poll, "struct sched_poll";
        ports = "ports",
        nr_ports = "nr_ports",
        timeout = "timeout",
    );
    structs!(table, abi::RemoteShutdown, "struct sched_remote_shutdown";
        domain_id = "domain_id",
        reason = "reason",
    );
    structs!(table, abi::Watchdog, "struct sched_watchdog";
        id = "id",
        timeout = "timeout",
    );
    structs!(table, abi::PinOverride, "struct sched_pin_override";
        pcpu = "pcpu",
    );
}
