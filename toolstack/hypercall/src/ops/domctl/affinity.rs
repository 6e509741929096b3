//! The CPUs that a virtual CPU may run on.

use crate::{DomId, Hypervisor, Result};

impl Hypervisor {
    /// CPUs that the virtual CPU may run on (hard affinity), as set.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn vcpu_affinity(&self, domain: DomId, vcpu: u32) -> Result<Vec<u32>> {
        super::super::later("getvcpuaffinity")
    }

    /// CPUs that the virtual CPU prefers (soft affinity), as set.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn vcpu_soft_affinity(&self, domain: DomId, vcpu: u32) -> Result<Vec<u32>> {
        super::super::later("getvcpuaffinity")
    }

    /// Sets the CPUs that the virtual CPU may run on. Returns those that can take effect now: what is online and in
    /// its pool.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`] with `EINVAL` where none can.
    pub fn set_vcpu_affinity(&self, domain: DomId, vcpu: u32, cpus: &[u32]) -> Result<Vec<u32>> {
        super::super::later("setvcpuaffinity")
    }

    /// Sets the CPUs that the virtual CPU prefers. Returns those that can take effect now.
    ///
    /// # Errors
    /// As [`Hypervisor::set_vcpu_affinity`].
    pub fn set_vcpu_soft_affinity(
        &self,
        domain: DomId,
        vcpu: u32,
        cpus: &[u32],
    ) -> Result<Vec<u32>> {
        super::super::later("setvcpuaffinity")
    }
}
