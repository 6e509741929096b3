//! `SCHEDOP_remote_shutdown`.

use oxen_abi::hypercall::HYPERVISOR_SCHED_OP;
use oxen_abi::sched as abi;

use crate::{DomId, Hypervisor, Result};

/// Why a domain shut down (`SHUTDOWN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// It powered off.
    Poweroff,
    /// It wants to start again.
    Reboot,
    /// It is ready to be saved.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog expired.
    Watchdog,
    /// It wants a new start within the same domain.
    SoftReset,
    /// A number without a name.
    Other(u8),
}

impl ShutdownReason {
    /// The number in the ABI.
    pub fn code(self) -> u8 {
        match self {
            Self::Poweroff => 0,
            Self::Reboot => 1,
            Self::Suspend => 2,
            Self::Crash => 3,
            Self::Watchdog => 4,
            Self::SoftReset => 5,
            Self::Other(code) => code,
        }
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Poweroff,
            1 => Self::Reboot,
            2 => Self::Suspend,
            3 => Self::Crash,
            4 => Self::Watchdog,
            5 => Self::SoftReset,
            other => Self::Other(other),
        }
    }
}

impl core::fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Poweroff => f.write_str("poweroff"),
            Self::Reboot => f.write_str("reboot"),
            Self::Suspend => f.write_str("suspend"),
            Self::Crash => f.write_str("crash"),
            Self::Watchdog => f.write_str("watchdog"),
            Self::SoftReset => f.write_str("soft reset"),
            Self::Other(code) => write!(f, "reason {code}"),
        }
    }
}

impl Hypervisor {
    /// Marks a domain as shut down for `reason`, as if it had asked for it itself. Nothing of it runs afterwards.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn shut_down(&self, domain: DomId, reason: ShutdownReason) -> Result<()> {
        let mut argument = abi::RemoteShutdown {
            domain_id: domain.0,
            reason: reason.code().into(),
            ..Default::default()
        };
        // SAFETY: the argument holds no handle.
        unsafe {
            self.call_with(
                "remote_shutdown",
                Some(domain),
                HYPERVISOR_SCHED_OP,
                &mut argument,
                |at| [abi::SCHEDOP_REMOTE_SHUTDOWN.into(), at, 0, 0, 0],
            )
        }
        .map(drop)
    }
}
