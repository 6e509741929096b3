//! Pausing, resuming, ending.

use crate::{DomId, Hypervisor, Result};

impl Hypervisor {
    /// Stops all virtual CPUs of a domain. Pauses count: as many unpauses let it run again.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn pause_domain(&self, domain: DomId) -> Result<()> {
        super::super::later("pausedomain")
    }

    /// Takes one pause back.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`] with `EINVAL` where it was not paused.
    pub fn unpause_domain(&self, domain: DomId) -> Result<()> {
        super::super::later("unpausedomain")
    }

    /// Ends a domain and frees its memory. Asks again while the hypervisor says that there is more to do. Pages that
    /// others still map keep a dying domain around until they are unmapped.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn destroy_domain(&self, domain: DomId) -> Result<()> {
        super::super::later("destroydomain")
    }

    /// Lets a domain that suspended run on in place.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn resume_domain(&self, domain: DomId) -> Result<()> {
        super::super::later("resumedomain")
    }

    /// Shifts the domain's wall clock by `seconds`.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_time_offset(&self, domain: DomId, seconds: i64) -> Result<()> {
        super::super::later("settimeoffset")
    }
}
