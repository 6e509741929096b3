//! What domains and virtual CPUs do.

use bitflags::bitflags;

use oxen_abi::domctl as abi;
use oxen_abi::sysctl::{GetDomainInfoList, XEN_SYSCTL_GETDOMAININFOLIST};
use zerocopy::FromBytes as _;

use super::Plain;
use crate::{DomId, Error, Hypervisor, Result, ShutdownReason};

/// Domains asked about in one hypercall.
const BATCH: usize = 128;

// SAFETY: figures only.
unsafe impl Plain for abi::GetDomainInfo {}
// SAFETY: figures only.
unsafe impl Plain for abi::GetVcpuInfo {}

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

impl From<abi::GetDomainInfo> for DomainInfo {
    fn from(info: abi::GetDomainInfo) -> Self {
        // The reason and what is above it are not flags; they are all ones while the domain runs.
        let flags = info.flags & ((1 << abi::XEN_DOMINF_SHUTDOWNSHIFT) - 1);
        let flags = DomainFlags::from_bits_retain(flags);
        let [.., reason, _] = info.flags.to_le_bytes();
        Self {
            domain: DomId(info.domain),
            flags,
            shutdown: flags
                .contains(DomainFlags::SHUTDOWN)
                .then(|| ShutdownReason::from_code(reason)),
            total_pages: info.tot_pages,
            max_pages: info.max_pages,
            outstanding_pages: info.outstanding_pages,
            shared_info_frame: info.shared_info_frame,
            cpu_time: info.cpu_time,
            online_vcpus: info.nr_online_vcpus,
            max_vcpu_id: (info.max_vcpu_id != abi::XEN_INVALID_MAX_VCPU_ID)
                .then_some(info.max_vcpu_id),
            ssidref: info.ssidref,
            handle: info.handle,
            cpu_pool: (info.cpupool != u32::MAX).then_some(info.cpupool),
        }
    }
}

impl Hypervisor {
    /// One domain.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn domain_info(&self, domain: DomId) -> Result<DomainInfo> {
        let payload = abi::GetDomainInfo::default();
        // The hypervisor answers for the next domain where this one does not exist.
        let info = self.domctl(
            "getdomaininfo",
            abi::XEN_DOMCTL_GETDOMAININFO,
            domain,
            payload,
        )?;
        if info.domain == domain.0 {
            Ok(DomainInfo::from(info))
        } else {
            Err(Error::NoSuchDomain(domain))
        }
    }

    /// All domains, in the order of their ids.
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`].
    pub fn domains(&self) -> Result<Vec<DomainInfo>> {
        let op = "getdomaininfolist";
        let mut all = Vec::new();
        let mut first = 0u16;
        loop {
            let mut buffer = self.buffer(op, BATCH * size_of::<abi::GetDomainInfo>())?;
            let mut payload = GetDomainInfoList {
                first_domain: first,
                max_domains: u32::try_from(BATCH).unwrap_or(0),
                buffer: buffer.address(),
                ..Default::default()
            };
            // SAFETY: the handle is of a buffer that is held mutably and has `max_domains` entries.
            unsafe { self.sysctl_with_handles(op, XEN_SYSCTL_GETDOMAININFOLIST, &mut payload)? };
            let got = usize::try_from(payload.num_domains).unwrap_or(0).min(BATCH);
            let entries = buffer
                .bytes()
                .chunks_exact(size_of::<abi::GetDomainInfo>())
                .take(got);
            all.extend(
                entries
                    .filter_map(|b| abi::GetDomainInfo::read_from_bytes(b).ok())
                    .map(DomainInfo::from),
            );
            let next = all.last().and_then(|d| d.domain.0.checked_add(1));
            match next {
                Some(next) if got == BATCH && next > first => first = next,
                _ => return Ok(all),
            }
        }
    }

    /// One virtual CPU.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], also where there is no such virtual CPU; [`crate::Error::Hypercall`].
    pub fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<VcpuInfo> {
        let payload = abi::GetVcpuInfo {
            vcpu,
            ..Default::default()
        };
        let info = self.domctl("getvcpuinfo", abi::XEN_DOMCTL_GETVCPUINFO, domain, payload)?;
        Ok(VcpuInfo {
            vcpu,
            online: info.online != 0,
            blocked: info.blocked != 0,
            running: info.running != 0,
            cpu_time: info.cpu_time,
            cpu: info.cpu,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shutdown_reason_is_taken_apart() {
        let raw = abi::GetDomainInfo {
            domain: 5,
            flags: 3 << 16 | 4 | 8,
            cpupool: u32::MAX,
            ..Default::default()
        };
        let info = DomainInfo::from(raw);
        assert_eq!(info.shutdown, Some(ShutdownReason::Crash));
        assert_eq!(info.flags, DomainFlags::SHUTDOWN | DomainFlags::PAUSED);
        assert_eq!(info.cpu_pool, None);
        let running = abi::GetDomainInfo {
            flags: 0xffff_0020,
            ..Default::default()
        };
        assert_eq!(DomainInfo::from(running).shutdown, None);
        assert_eq!(DomainInfo::from(running).flags, DomainFlags::RUNNING);
    }
}
