//! CPU pools.

use super::physinfo::SchedulerId;
use crate::{Hypervisor, Result};

/// A set of CPUs with a scheduler of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuPool {
    /// Its number; 0 always exists.
    pub id: u32,
    /// Its scheduler.
    pub scheduler: SchedulerId,
    /// Domains in it.
    pub domains: u32,
    /// Its CPUs.
    pub cpus: Vec<u32>,
}

impl Hypervisor {
    /// All pools.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn cpu_pools(&self) -> Result<Vec<CpuPool>> {
        super::super::later("cpupool_op")
    }
}
