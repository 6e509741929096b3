//! CPUs and NUMA nodes of the host.

use oxen_abi::sysctl::{
    CpuInfo, CpuTopo, CpuTopoInfo, GetCpuInfo, MemInfo, NumaInfo as AbiNumaInfo,
    XEN_INVALID_CORE_ID, XEN_INVALID_MEM_SZ, XEN_INVALID_NODE_DIST, XEN_INVALID_NODE_ID,
    XEN_INVALID_SOCKET_ID, XEN_SYSCTL_CPUTOPOINFO, XEN_SYSCTL_GETCPUINFO, XEN_SYSCTL_NUMAINFO,
};
use zerocopy::FromBytes as _;

use crate::{Hypervisor, Result};

/// Most CPUs and nodes that are asked about, to keep buffers sane.
const MOST: u32 = 4096;
const MOST_NODES: u32 = 64;

/// Where a CPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTopology {
    /// The CPU's number.
    pub cpu: u32,
    /// Its core; `None` where the hypervisor does not know.
    pub core: Option<u32>,
    /// Its socket; `None` where the hypervisor does not know.
    pub socket: Option<u32>,
    /// Its NUMA node; `None` where the hypervisor does not know.
    pub node: Option<u32>,
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
    /// Where each CPU is, in the order of their numbers.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn cpu_topology(&self) -> Result<Vec<CpuTopology>> {
        let op = "cputopoinfo";
        let mut payload = CpuTopoInfo::default();
        // SAFETY: the handle is 0, which asks for the number of CPUs.
        unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_CPUTOPOINFO, &mut payload)? };
        let wanted = payload.num_cpus.min(MOST);
        let mut buffer = self.buffer(
            op,
            usize::try_from(wanted).unwrap_or(0) * size_of::<CpuTopo>(),
        )?;
        payload = CpuTopoInfo {
            num_cpus: wanted,
            cputopo: buffer.address(),
            ..Default::default()
        };
        // SAFETY: the handle is of a buffer that is held mutably and has `num_cpus` entries.
        unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_CPUTOPOINFO, &mut payload)? };
        let entries = buffer.bytes().chunks_exact(size_of::<CpuTopo>());
        let entries = entries.filter_map(|bytes| CpuTopo::read_from_bytes(bytes).ok());
        let numbered = (0..payload.num_cpus.min(wanted)).zip(entries);
        let known = |id: u32, unknown: u32| (id != unknown).then_some(id);
        let place = |(cpu, t): (u32, CpuTopo)| CpuTopology {
            cpu,
            core: known(t.core, XEN_INVALID_CORE_ID),
            socket: known(t.socket, XEN_INVALID_SOCKET_ID),
            node: known(t.node, XEN_INVALID_NODE_ID),
        };
        Ok(numbered.map(place).collect())
    }

    /// The NUMA nodes.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn numa_info(&self) -> Result<NumaInfo> {
        let op = "numainfo";
        let mut payload = AbiNumaInfo::default();
        // SAFETY: the handles are 0, which asks for the number of nodes.
        unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_NUMAINFO, &mut payload)? };
        let wanted = payload.num_nodes.min(MOST_NODES);
        let count = usize::try_from(wanted).unwrap_or(0);
        let mut memory = self.buffer(op, count * size_of::<MemInfo>())?;
        let mut distances = self.buffer(op, count * count * 4)?;
        payload = AbiNumaInfo {
            num_nodes: wanted,
            meminfo: memory.address(),
            distance: distances.address(),
            ..Default::default()
        };
        // SAFETY: the handles are of buffers that are held mutably; one has `num_nodes` entries, the other its square.
        unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_NUMAINFO, &mut payload)? };
        let written = payload.num_nodes.min(wanted);
        let (words, _) = distances.bytes().as_chunks::<4>();
        let distance = |word: &[u8; 4]| match u32::from_le_bytes(*word) {
            XEN_INVALID_NODE_DIST => None,
            d => Some(d),
        };
        let mut rows = words.chunks(usize::try_from(written).unwrap_or(0).max(1));
        let memory = memory.bytes().chunks_exact(size_of::<MemInfo>());
        let memory = memory.filter_map(|bytes| MemInfo::read_from_bytes(bytes).ok());
        let node = |(node, info): (u32, MemInfo)| NumaNode {
            node,
            size: (info.memsize != u64::from(XEN_INVALID_MEM_SZ)).then_some(info.memsize),
            free: info.memfree,
            distances: rows
                .next()
                .unwrap_or_default()
                .iter()
                .map(distance)
                .collect(),
        };
        Ok(NumaInfo {
            nodes: (0..written).zip(memory).map(node).collect(),
        })
    }

    /// How long each CPU has been idle, in nanoseconds.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn cpu_idle_times(&self) -> Result<Vec<u64>> {
        let op = "getcpuinfo";
        let max_cpus = self.phys_info()?.max_cpu_id.saturating_add(1).min(MOST);
        let mut buffer = self.buffer(
            op,
            usize::try_from(max_cpus).unwrap_or(0) * size_of::<CpuInfo>(),
        )?;
        let mut payload = GetCpuInfo {
            max_cpus,
            info: buffer.address(),
            ..Default::default()
        };
        // SAFETY: the handle is of a buffer that is held mutably and has `max_cpus` entries.
        unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_GETCPUINFO, &mut payload)? };
        let (entries, _) = buffer.bytes().as_chunks::<8>();
        let count = usize::try_from(payload.nr_cpus).unwrap_or(0);
        Ok(entries
            .iter()
            .take(count)
            .map(|b| u64::from_le_bytes(*b))
            .collect())
    }
}
