//! Scheduler operations (sched.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Let others run.
pub const SCHEDOP_YIELD: u32 = 0;
/// Unmask events and wait for one.
pub const SCHEDOP_BLOCK: u32 = 1;
/// Stop the domain.
pub const SCHEDOP_SHUTDOWN: u32 = 2;
/// Wait for given ports.
pub const SCHEDOP_POLL: u32 = 3;
/// Stop another domain.
pub const SCHEDOP_REMOTE_SHUTDOWN: u32 = 4;
/// Say why, before stopping.
pub const SCHEDOP_SHUTDOWN_CODE: u32 = 5;
/// Start, kick or stop a watchdog.
pub const SCHEDOP_WATCHDOG: u32 = 6;
/// Pin the vCPU for a while (dom0).
pub const SCHEDOP_PIN_OVERRIDE: u32 = 7;

/// Arguments of `SCHEDOP_SHUTDOWN`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Shutdown {
    /// `SHUTDOWN_*`.
    pub reason: u32,
}
crate::layout!(Shutdown, 4, {reason @ 0});

/// Arguments of `SCHEDOP_POLL`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Poll {
    /// Handle of the ports.
    pub ports: u64,
    /// Ports, at most 128.
    pub nr_ports: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// System time in nanoseconds, 0: none.
    pub timeout: u64,
}
crate::layout!(Poll, 24, {ports @ 0, nr_ports @ 8, timeout @ 16});

/// Arguments of `SCHEDOP_REMOTE_SHUTDOWN`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RemoteShutdown {
    /// The domain.
    pub domain_id: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// `SHUTDOWN_*`.
    pub reason: u32,
}
crate::layout!(RemoteShutdown, 8, {domain_id @ 0, reason @ 4});

/// Arguments of `SCHEDOP_WATCHDOG`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Watchdog {
    /// 0: new one.
    pub id: u32,
    /// Seconds, 0 stops.
    pub timeout: u32,
}
crate::layout!(Watchdog, 8, {id @ 0, timeout @ 4});

/// Arguments of `SCHEDOP_PIN_OVERRIDE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PinOverride {
    /// CPU, negative: undo.
    pub pcpu: i32,
}
crate::layout!(PinOverride, 4, {pcpu @ 0});
/// Power off.
pub const SHUTDOWN_POWEROFF: u32 = 0;
/// Reboot.
pub const SHUTDOWN_REBOOT: u32 = 1;
/// Suspended for saving.
pub const SHUTDOWN_SUSPEND: u32 = 2;
/// Crashed.
pub const SHUTDOWN_CRASH: u32 = 3;
/// Watchdog expired.
pub const SHUTDOWN_WATCHDOG: u32 = 4;
/// Soft reset.
pub const SHUTDOWN_SOFT_RESET: u32 = 5;
/// The last reason.
pub const SHUTDOWN_MAX: u32 = 5;

/// Most ports of one `SCHEDOP_POLL`.
pub const SCHED_POLL_MAX_PORTS: u32 = 128;
