//! Making domains.

use bitflags::bitflags;

use oxen_abi::arch_x86::ArchDomainConfig;
use oxen_abi::domctl as abi;

use super::Plain;
use crate::{DomId, Error, Hypervisor, Result};

// SAFETY: a number.
unsafe impl Plain for abi::MaxVcpus {}
// SAFETY: a number.
unsafe impl Plain for abi::AddressSize {}
// SAFETY: a frame number of the domain, not an address of this process.
unsafe impl Plain for abi::HypercallInit {}
// SAFETY: a UUID.
unsafe impl Plain for abi::SetDomainHandle {}

bitflags! {
    /// What kind of domain (`XEN_DOMCTL_CDF_*`). None of them: a PV domain.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CreateFlags: u32 {
        /// Hardware virtualised.
        const HVM = 1 << 0;
        /// With hardware-assisted paging.
        const HAP = 1 << 1;
        /// Memory integrity over S3.
        const S3_INTEGRITY = 1 << 2;
        /// No out-of-sync shadows.
        const OOS_OFF = 1 << 3;
        /// It runs xenstored.
        const XENSTORE_DOMAIN = 1 << 4;
        /// May have devices behind an IOMMU.
        const IOMMU = 1 << 5;
        /// May virtualise itself.
        const NESTED_VIRT = 1 << 6;
        /// Sees performance counters.
        const VPMU = 1 << 7;
    }
}

/// What a domain is made with (`struct xen_domctl_createdomain`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateDomain {
    /// The domain's UUID.
    pub handle: [u8; 16],
    /// What kind of domain.
    pub flags: CreateFlags,
    /// Security label; 0 for none.
    pub ssidref: u32,
    /// IOMMU options; 0 for the defaults.
    pub iommu_opts: u32,
    /// Virtual CPUs, at least 1.
    pub max_vcpus: u32,
    /// Highest event-channel port.
    pub max_event_port: u32,
    /// Frames of its grant table; `None` for the hypervisor's default.
    pub max_grant_frames: Option<u32>,
    /// Frames for the grants it maps; `None` for the hypervisor's default.
    pub max_maptrack_frames: Option<u32>,
    /// Highest grant-table version it may use: 1 or 2.
    pub grant_version: u8,
    /// CPU pool; 0 always exists.
    pub cpu_pool: u32,
    /// Emulated devices (`XEN_X86_EMU_*`); 0 for PV.
    pub emulation_flags: u32,
    /// `XEN_X86_MSR_RELAXED` and the like.
    pub misc_flags: u32,
}

impl CreateDomain {
    /// A PV domain with `vcpus` virtual CPUs and the usual limits.
    pub fn pv(handle: [u8; 16], vcpus: u32) -> Self {
        Self {
            handle,
            flags: CreateFlags::empty(),
            ssidref: 0,
            iommu_opts: 0,
            max_vcpus: vcpus,
            max_event_port: 1023,
            max_grant_frames: None,
            max_maptrack_frames: None,
            grant_version: 1,
            cpu_pool: 0,
            emulation_flags: 0,
            misc_flags: 0,
        }
    }
}

impl Hypervisor {
    /// Makes an empty, paused domain; `wanted` asks for a certain id. The virtual CPUs come with
    /// [`Hypervisor::set_max_vcpus`].
    ///
    /// # Errors
    /// [`crate::Error::Hypercall`]: a limit is too high, the id is taken, memory ran out, or the security policy
    /// forbids it.
    pub fn create_domain(&self, wanted: Option<DomId>, config: &CreateDomain) -> Result<DomId> {
        let op = "createdomain";
        let frames = |n: Option<u32>| match n {
            None => Ok(-1),
            Some(n) => i32::try_from(n).map_err(|_| Error::Invalid {
                op,
                what: format!("a limit of {n} frames"),
            }),
        };
        let mut payload = abi::CreateDomain {
            ssidref: config.ssidref,
            handle: config.handle,
            flags: config.flags.bits(),
            iommu_opts: config.iommu_opts,
            max_vcpus: config.max_vcpus,
            max_evtchn_port: config.max_event_port,
            max_grant_frames: frames(config.max_grant_frames)?,
            max_maptrack_frames: frames(config.max_maptrack_frames)?,
            grant_opts: u32::from(config.grant_version) & abi::XEN_DOMCTL_GRANT_VERSION_MASK,
            vmtrace_size: 0,
            cpupool_id: config.cpu_pool,
            arch: ArchDomainConfig {
                emulation_flags: config.emulation_flags,
                misc_flags: config.misc_flags,
            },
        };
        // 0 asks for any id.
        let wanted = wanted.unwrap_or(DomId(0));
        // SAFETY: the payload holds no handle.
        let made = unsafe {
            self.domctl_with_handles(op, abi::XEN_DOMCTL_CREATEDOMAIN, wanted, &mut payload)
        };
        made.map_err(|e| match e {
            // There is no domain yet that the error could be about.
            Error::Hypercall { op, errno, .. } if wanted == DomId(0) => Error::Hypercall {
                op,
                domain: None,
                errno,
            },
            other => other,
        })
    }

    /// Allocates the virtual CPUs; `max` is the number in [`CreateDomain`].
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_max_vcpus(&self, domain: DomId, max: u32) -> Result<()> {
        self.domctl(
            "max_vcpus",
            abi::XEN_DOMCTL_MAX_VCPUS,
            domain,
            abi::MaxVcpus { max },
        )
        .map(drop)
    }

    /// Sets the width of a PV domain's addresses, 64 or 32 bits, before it has memory.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_address_size(&self, domain: DomId, bits: u32) -> Result<()> {
        let size = abi::AddressSize { size: bits };
        self.domctl(
            "set_address_size",
            abi::XEN_DOMCTL_SET_ADDRESS_SIZE,
            domain,
            size,
        )
        .map(drop)
    }

    /// Writes the hypercall page into the frame `gmfn` of the domain.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn init_hypercall_page(&self, domain: DomId, gmfn: u64) -> Result<()> {
        let page = abi::HypercallInit { gmfn };
        self.domctl(
            "hypercall_init",
            abi::XEN_DOMCTL_HYPERCALL_INIT,
            domain,
            page,
        )
        .map(drop)
    }

    /// Sets the domain's UUID.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchDomain`], [`crate::Error::Hypercall`].
    pub fn set_domain_handle(&self, domain: DomId, handle: [u8; 16]) -> Result<()> {
        let handle = abi::SetDomainHandle { handle };
        self.domctl(
            "setdomainhandle",
            abi::XEN_DOMCTL_SETDOMAINHANDLE,
            domain,
            handle,
        )
        .map(drop)
    }
}
