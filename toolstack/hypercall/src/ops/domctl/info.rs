//! What domains and virtual CPUs do.

use bitflags::bitflags;

use crate::{DomId, Hypervisor, Result, ShutdownReason};

bitflags! {
    /// State of a domain (`XEN_DOMINF_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DomainFlags: u32 {
        /// Being destroyed.
        const DYING = 1 << 0;
        /// Hardware virtualised.
        const HVM = 1 << 1;
        /// Shut down; the reason is in [`DomainInfo::shutdown`].
        const SHUTDOWN = 1 << 2;
        /// Paused by dom0.
        const PAUSED = 1 << 3;
        /// All its virtual CPUs wait for events.
        const BLOCKED = 1 << 4;
        /// At least one virtual CPU runs.
        const RUNNING = 1 << 5;
        /// A debugger is attached.
        const DEBUGGED = 1 << 6;
        /// It runs xenstored.
        const XENSTORE_DOMAIN = 1 << 7;
        /// Hardware-assisted paging.
        const HAP = 1 << 8;
        const _ = !0;
    }
}

/// A domain as the hypervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its id.
    pub domain: DomId,
    /// Its state.
    pub flags: DomainFlags,
    /// Why it shut down, if it did.
    pub shutdown: Option<ShutdownReason>,
    /// Its memory, in pages.
    pub total_pages: u64,
    /// Its limit, in pages.
    pub max_pages: u64,
    /// What it claimed and has not got yet, in pages.
    pub outstanding_pages: u64,
    /// The frame of its shared_info.
    pub shared_info_frame: u64,
    /// CPU time it used, in nanoseconds.
    pub cpu_time: u64,
    /// Virtual CPUs that are online.
    pub online_vcpus: u32,
    /// Highest virtual CPU number; `None` where it has none.
    pub max_vcpu_id: Option<u32>,
    /// Security label; 0 for none.
    pub ssidref: u32,
    /// Its UUID.
    pub handle: [u8; 16],
    /// Its CPU pool; `None` while it has none.
    pub cpu_pool: Option<u32>,
}

/// A virtual CPU as the hypervisor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuInfo {
    /// Its number.
    pub vcpu: u32,
    /// Not unplugged.
    pub online: bool,
    /// Waits for an event.
    pub blocked: bool,
    /// Runs now.
    pub running: bool,
    /// CPU time it used, in nanoseconds.
    pub cpu_time: u64,
    /// The CPU it runs or last ran on.
    pub cpu: u32,
}

impl Hypervisor {
    /// One domain.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn domain_info(&self, domain: DomId) -> Result<DomainInfo> {
        super::super::later("getdomaininfo")
    }

    /// All domains, in the order of their ids.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn domains(&self) -> Result<Vec<DomainInfo>> {
        super::super::later("getdomaininfolist")
    }

    /// One virtual CPU.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], also where there is no such virtual CPU; [`crate::Error::Hypercall`].
    pub fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<VcpuInfo> {
        super::super::later("getvcpuinfo")
    }
}
