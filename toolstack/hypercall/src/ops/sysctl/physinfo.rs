//! The host in figures.

use bitflags::bitflags;

use oxen_abi::sysctl as abi;
use oxen_abi::sysctl::{XEN_SYSCTL_AVAILHEAP, XEN_SYSCTL_PHYSINFO, XEN_SYSCTL_SCHED_ID};

use super::super::Plain;
use crate::{Error, Hypervisor, Result};

// SAFETY: figures only.
unsafe impl Plain for abi::PhysInfo {}
// SAFETY: a number.
unsafe impl Plain for abi::SchedId {}
// SAFETY: figures only.
unsafe impl Plain for abi::AvailHeap {}

bitflags! {
    /// What the platform can do (`XEN_SYSCTL_PHYSCAP_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PhysCapabilities: u32 {
        /// HVM guests.
        const HVM = 1 << 0;
        /// PV guests.
        const PV = 1 << 1;
        /// Devices for guests, isolated by an IOMMU.
        const DIRECT_IO = 1 << 2;
        /// Hardware-assisted paging.
        const HAP = 1 << 3;
        /// Shadow paging.
        const SHADOW = 1 << 4;
        /// Page tables shared with the IOMMU.
        const IOMMU_HAP_PT_SHARE = 1 << 5;
        /// Processor trace for guests.
        const VMTRACE = 1 << 6;
        /// Performance counters for guests.
        const VPMU = 1 << 7;
        /// Grant tables version 1.
        const GNTTAB_V1 = 1 << 8;
        /// Grant tables version 2.
        const GNTTAB_V2 = 1 << 9;
        const _ = !0;
    }
}

/// The host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysInfo {
    /// Hardware threads of a core.
    pub threads_per_core: u32,
    /// Cores of a socket.
    pub cores_per_socket: u32,
    /// CPUs that are online.
    pub cpus: u32,
    /// Highest CPU number that there can be.
    pub max_cpu_id: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// Highest node number that there can be.
    pub max_node_id: u32,
    /// Frequency of the TSC, in kHz.
    pub cpu_khz: u32,
    /// What the platform can do.
    pub capabilities: PhysCapabilities,
    /// All memory, in pages.
    pub total_pages: u64,
    /// Free memory, in pages, with what waits to be scrubbed.
    pub free_pages: u64,
    /// Memory that waits to be scrubbed, in pages.
    pub scrub_pages: u64,
    /// Memory that is claimed but not allocated yet, in pages.
    pub outstanding_pages: u64,
    /// The highest machine frame.
    pub max_mfn: u64,
    /// CPUID feature words, as `xm info` shows them.
    pub hw_cap: [u32; 8],
}

/// A scheduler (`XEN_SCHEDULER_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerId {
    /// Simple earliest deadline first.
    Sedf,
    /// Credit.
    Credit,
    /// Credit2.
    Credit2,
    /// ARINC 653.
    Arinc653,
    /// Real-time deferrable server.
    Rtds,
    /// The null scheduler.
    Null,
    /// A number without a name.
    Other(u32),
}

impl SchedulerId {
    /// The number in the ABI.
    pub fn number(self) -> u32 {
        match self {
            Self::Sedf => 4,
            Self::Credit => 5,
            Self::Credit2 => 6,
            Self::Arinc653 => 7,
            Self::Rtds => 8,
            Self::Null => 9,
            Self::Other(number) => number,
        }
    }

    /// The scheduler with this number.
    pub fn from_number(number: u32) -> Self {
        match number {
            4 => Self::Sedf,
            5 => Self::Credit,
            6 => Self::Credit2,
            7 => Self::Arinc653,
            8 => Self::Rtds,
            9 => Self::Null,
            other => Self::Other(other),
        }
    }
}

impl core::fmt::Display for SchedulerId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Sedf => f.write_str("sedf"),
            Self::Credit => f.write_str("credit"),
            Self::Credit2 => f.write_str("credit2"),
            Self::Arinc653 => f.write_str("arinc653"),
            Self::Rtds => f.write_str("rtds"),
            Self::Null => f.write_str("null"),
            Self::Other(number) => write!(f, "scheduler {number}"),
        }
    }
}

impl Hypervisor {
    /// The host in figures.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn phys_info(&self) -> Result<PhysInfo> {
        let info = self.sysctl("physinfo", XEN_SYSCTL_PHYSINFO, abi::PhysInfo::default())?;
        Ok(PhysInfo {
            threads_per_core: info.threads_per_core,
            cores_per_socket: info.cores_per_socket,
            cpus: info.nr_cpus,
            max_cpu_id: info.max_cpu_id,
            nodes: info.nr_nodes,
            max_node_id: info.max_node_id,
            cpu_khz: info.cpu_khz,
            capabilities: PhysCapabilities::from_bits_retain(info.capabilities),
            total_pages: info.total_pages,
            free_pages: info.free_pages,
            scrub_pages: info.scrub_pages,
            outstanding_pages: info.outstanding_pages,
            max_mfn: info.max_mfn,
            hw_cap: info.hw_cap,
        })
    }

    /// The scheduler in use.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn scheduler(&self) -> Result<SchedulerId> {
        let id = self.sysctl("sched_id", XEN_SYSCTL_SCHED_ID, abi::SchedId::default())?;
        Ok(SchedulerId::from_number(id.sched_id))
    }

    /// Free bytes in the heap, of the NUMA node `node` or of all.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn available_heap(&self, node: Option<u32>) -> Result<u64> {
        let op = "availheap";
        let node = match node {
            None => -1,
            Some(n) => i32::try_from(n).map_err(|_| Error::Invalid {
                op,
                what: format!("no node {n}"),
            })?,
        };
        let heap = self.sysctl(
            op,
            XEN_SYSCTL_AVAILHEAP,
            abi::AvailHeap {
                node,
                ..Default::default()
            },
        )?;
        Ok(heap.avail_bytes)
    }
}
