//! How a domain sees the TSC.

use oxen_abi::domctl as abi;

use super::Plain;
use crate::{DomId, Hypervisor, Result};

// SAFETY: figures only.
unsafe impl Plain for abi::TscInfo {}

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
        let info = self.domctl(
            "gettscinfo",
            abi::XEN_DOMCTL_GETTSCINFO,
            domain,
            abi::TscInfo::default(),
        )?;
        Ok(TscInfo {
            mode: info.tsc_mode,
            khz: info.gtsc_khz,
            incarnation: info.incarnation,
            elapsed_ns: info.elapsed_nsec,
        })
    }

    /// Sets a domain's TSC mode and frequency, before it runs.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_tsc_info(&self, domain: DomId, info: TscInfo) -> Result<()> {
        let payload = abi::TscInfo {
            tsc_mode: info.mode,
            gtsc_khz: info.khz,
            incarnation: info.incarnation,
            pad: 0,
            elapsed_nsec: info.elapsed_ns,
        };
        self.domctl("settscinfo", abi::XEN_DOMCTL_SETTSCINFO, domain, payload)
            .map(drop)
    }
}
