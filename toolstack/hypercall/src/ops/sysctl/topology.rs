//! CPUs and NUMA nodes of the host.

use crate::{Hypervisor, Result};

/// Where a CPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTopology {
    /// The CPU's number.
    pub cpu: u32,
    /// Its core.
    pub core: u32,
    /// Its socket.
    pub socket: u32,
    /// Its NUMA node.
    pub node: u32,
}

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number.
    pub node: u32,
    /// Its memory, in bytes; `None` where the node has none.
    pub size: Option<u64>,
    /// Its free memory, in bytes.
    pub free: u64,
    /// Its distance to each node, `None` where unknown.
    pub distances: Vec<Option<u32>>,
}

/// All NUMA nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaInfo {
    /// The nodes in the order of their numbers.
    pub nodes: Vec<NumaNode>,
}

impl Hypervisor {
    /// Where each CPU is; CPUs that do not exist are left out.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn cpu_topology(&self) -> Result<Vec<CpuTopology>> {
        super::super::later("cputopoinfo")
    }

    /// The NUMA nodes.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn numa_info(&self) -> Result<NumaInfo> {
        super::super::later("numainfo")
    }

    /// How long each CPU has been idle, in nanoseconds.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn cpu_idle_times(&self) -> Result<Vec<u64>> {
        super::super::later("getcpuinfo")
    }
}
