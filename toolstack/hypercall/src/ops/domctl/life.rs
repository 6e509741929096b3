//! Pausing, resuming, ending.

use oxen_abi::domctl as abi;
use rustix::io::Errno;

use super::Plain;
use crate::{DomId, Hypervisor, Result};

// SAFETY: a number of seconds.
unsafe impl Plain for abi::SetTimeOffset {}
// SAFETY: two numbers.
unsafe impl Plain for abi::SendTrigger {}

/// The hypervisor's `ERESTART`: there is more to do.
const RESTART: Errno = Errno::from_raw_os_error(85);

/// What can be sent to a virtual CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A non-maskable interrupt.
    Nmi,
    /// A reset.
    Reset,
    /// INIT.
    Init,
    /// The power button.
    Power,
    /// The sleep button.
    Sleep,
}

impl Hypervisor {
    /// Stops all virtual CPUs of a domain. Pauses count: as many unpauses let it run again.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn pause_domain(&self, domain: DomId) -> Result<()> {
        self.domctl("pausedomain", abi::XEN_DOMCTL_PAUSEDOMAIN, domain, ())
    }

    /// Takes one pause back.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`] with `EINVAL` where it was not paused.
    pub fn unpause_domain(&self, domain: DomId) -> Result<()> {
        self.domctl("unpausedomain", abi::XEN_DOMCTL_UNPAUSEDOMAIN, domain, ())
    }

    /// Ends a domain and frees its memory. Asks again while the hypervisor says that there is more to do. Pages that
    /// others still map keep a dying domain around until they are unmapped.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn destroy_domain(&self, domain: DomId) -> Result<()> {
        loop {
            match self.domctl("destroydomain", abi::XEN_DOMCTL_DESTROYDOMAIN, domain, ()) {
                Err(e) if matches!(e.errno(), Some(Errno::AGAIN | RESTART)) => {}
                other => return other,
            }
        }
    }

    /// Lets a domain that suspended run on in place.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn resume_domain(&self, domain: DomId) -> Result<()> {
        self.domctl("resumedomain", abi::XEN_DOMCTL_RESUMEDOMAIN, domain, ())
    }

    /// Shifts the domain's wall clock by `seconds`.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_time_offset(&self, domain: DomId, seconds: i64) -> Result<()> {
        let offset = abi::SetTimeOffset {
            time_offset_seconds: seconds,
        };
        self.domctl(
            "settimeoffset",
            abi::XEN_DOMCTL_SETTIMEOFFSET,
            domain,
            offset,
        )
        .map(drop)
    }

    /// Sends a virtual CPU a trigger.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`], with `ENOSYS` where the kind of domain does not
    /// have it.
    pub fn send_trigger(&self, domain: DomId, vcpu: u32, trigger: Trigger) -> Result<()> {
        let trigger = match trigger {
            Trigger::Nmi => abi::XEN_DOMCTL_SENDTRIGGER_NMI,
            Trigger::Reset => abi::XEN_DOMCTL_SENDTRIGGER_RESET,
            Trigger::Init => abi::XEN_DOMCTL_SENDTRIGGER_INIT,
            Trigger::Power => abi::XEN_DOMCTL_SENDTRIGGER_POWER,
            Trigger::Sleep => abi::XEN_DOMCTL_SENDTRIGGER_SLEEP,
        };
        let payload = abi::SendTrigger { trigger, vcpu };
        self.domctl("sendtrigger", abi::XEN_DOMCTL_SENDTRIGGER, domain, payload)
            .map(drop)
    }
}
