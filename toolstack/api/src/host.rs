//! The host and xend itself.

use serde::{Deserialize, Serialize};

/// What `xm info` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host name, and release, version and machine of dom0's kernel.
    pub host: String,
    /// Release of dom0's kernel.
    pub release: String,
    /// Version of dom0's kernel.
    pub version: String,
    /// Machine that dom0's kernel is for.
    pub machine: String,
    /// CPUs that are online.
    pub nr_cpus: u32,
    /// NUMA nodes.
    pub nr_nodes: u32,
    /// CPU cores in a socket.
    pub cores_per_socket: u32,
    /// Threads in a core.
    pub threads_per_core: u32,
    /// Frequency of a CPU, in MHz.
    pub cpu_mhz: u32,
    /// Feature words of the CPUs.
    pub hw_caps: Vec<u32>,
    /// Virtualisation of the hardware: "hvm", "pv" and the like.
    pub virt_caps: String,
    /// Memory, in MiB.
    pub total_memory: u64,
    /// Free memory, in MiB.
    pub free_memory: u64,
    /// Free memory, in pages of 4 KiB.
    pub free_pages: u64,
    /// The hypervisor's version.
    pub xen_major: u16,
    /// The hypervisor's version.
    pub xen_minor: u16,
    /// The hypervisor's version.
    pub xen_extra: String,
    /// Kinds of guests.
    pub xen_caps: String,
    /// The scheduler.
    pub xen_scheduler: String,
    /// Bytes in a page.
    pub xen_pagesize: u64,
    /// First address of the hypervisor.
    pub virt_start: u64,
    /// Source of the hypervisor.
    pub xen_changeset: String,
    /// The hypervisor's command line.
    pub xen_commandline: String,
    /// Compiler of the hypervisor.
    pub cc_compiler: String,
    /// Who compiled it.
    pub cc_compile_by: String,
    /// Where it was compiled.
    pub cc_compile_domain: String,
    /// When it was compiled.
    pub cc_compile_date: String,
}

/// xend itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xend {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
}
