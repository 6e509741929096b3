//! How a domain sees the TSC.

use crate::{DomId, Hypervisor, Result};

/// A domain's TSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TscInfo {
    /// Mode (`TSC_MODE_*`): 0 default, 1 always emulated, 2 never emulated.
    pub mode: u32,
    /// Frequency that the guest sees, in kHz.
    pub khz: u32,
    /// How often the guest moved to another host.
    pub incarnation: u32,
    /// Time that the guest has seen, in nanoseconds.
    pub elapsed_ns: u64,
}

impl Hypervisor {
    /// Reads a domain's TSC mode and frequency.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn tsc_info(&self, domain: DomId) -> Result<TscInfo> {
        super::super::later("gettscinfo")
    }

    /// Sets a domain's TSC mode and frequency, before it runs.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_tsc_info(&self, domain: DomId, info: TscInfo) -> Result<()> {
        super::super::later("settscinfo")
    }
}
