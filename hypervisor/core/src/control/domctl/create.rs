//! `createdomain` and `max_vcpus`.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::arch_x86::XEN_X86_MSR_RELAXED;
use oxen_abi::domctl::*;

use super::super::{Answer, Outcome, Union, take};
use crate::domain::{self, Domain, Limits};
use crate::grant::Version;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::{DomId, MAX_VCPUS};

/// Highest event-channel port there can be.
const MAX_PORT: u32 = (1 << 17) - 1;
/// Most frames of grant entries and of maptrack entries, and what is taken for "default".
const GRANT_FRAMES: (u32, u32) = (1024, 64);
const MAPTRACK_FRAMES: (u32, u32) = (65_536, 1024);
/// Flags that mean something for a PV domain.
const FLAGS: u32 = XEN_DOMCTL_CDF_XS_DOMAIN | XEN_DOMCTL_CDF_S3_INTEGRITY;

/// Creates a domain, paused and empty. `EINVAL` for what is not possible here (HVM, an IOMMU,
/// flags that are not known), `EEXIST` for a number that is taken, `ENOMEM`.
pub(super) fn create<M: Machine>(cx: &Cx<'_, M>, op: &mut Domctl) -> Outcome {
    let request: CreateDomain = take(&op.u);
    let limits = limits(&request)?;
    let wanted = DomId(op.domain);
    let id = if wanted.0 != 0 && wanted.is_ordinary() {
        wanted
    } else {
        cx.hv.domains.next_id().ok_or(Errno::ENOMEM)?
    };
    let domain = domain::create(cx.cpu, id, false, &limits)?;
    op.domain = domain.id.0;
    Ok(Answer::Reply)
}

/// Checks a request and takes the limits out of it.
fn limits(request: &CreateDomain) -> Result<Limits, Errno> {
    let number = |wanted: i32, (most, usual): (u32, u32)| match u32::try_from(wanted) {
        Err(_) => Ok(usual),
        Ok(n) if n <= most => Ok(n),
        Ok(_) => Err(Errno::EINVAL),
    };
    let version = Version::from_number(request.grant_opts & XEN_DOMCTL_GRANT_VERSION_MASK)
        .ok_or(Errno::EINVAL)?;
    if request.flags & !FLAGS != 0
        || request.iommu_opts != 0
        || request.vmtrace_size != 0
        || request.cpupool_id != 0
        || request.max_vcpus == 0
        || request.max_vcpus as usize > MAX_VCPUS
        || request.grant_opts & !XEN_DOMCTL_GRANT_VERSION_MASK != 0
        || request.arch.emulation_flags != 0
        || request.arch.misc_flags & !XEN_X86_MSR_RELAXED != 0
    {
        return Err(Errno::EINVAL);
    }
    Ok(Limits {
        handle: request.handle,
        max_event_port: request.max_evtchn_port.min(MAX_PORT),
        grant_frames: number(request.max_grant_frames, GRANT_FRAMES)?,
        maptrack_frames: number(request.max_maptrack_frames, MAPTRACK_FRAMES)?,
        grant_version: version,
        max_vcpus: request.max_vcpus,
    })
}

/// Gives a domain the vCPUs that it was created for.
pub(super) fn max_vcpus<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let MaxVcpus { max } = take(u);
    if Arc::ptr_eq(domain, cx.domain()) || max != domain.max_vcpus {
        return Err(Errno::EINVAL.into());
    }
    domain::add_vcpus(cx.cpu, domain, max as usize)?;
    Ok(Answer::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: CreateDomain = CreateDomain {
        ssidref: 0,
        handle: [7; 16],
        flags: 0,
        iommu_opts: 0,
        max_vcpus: 2,
        max_evtchn_port: 1023,
        max_grant_frames: -1,
        max_maptrack_frames: 100,
        grant_opts: 1,
        vmtrace_size: 0,
        cpupool_id: 0,
        arch: oxen_abi::arch_x86::ArchDomainConfig {
            emulation_flags: 0,
            misc_flags: 0,
        },
    };

    #[test]
    fn defaults_and_limits() {
        let taken = limits(&GOOD).unwrap();
        assert_eq!((taken.grant_frames, taken.maptrack_frames), (64, 100));
        assert_eq!(taken.max_event_port, 1023);
        let all = CreateDomain {
            max_evtchn_port: u32::MAX,
            ..GOOD
        };
        assert_eq!(limits(&all).unwrap().max_event_port, MAX_PORT);
    }

    #[test]
    fn what_is_not_possible_is_refused() {
        for bad in [
            CreateDomain {
                flags: XEN_DOMCTL_CDF_HVM,
                ..GOOD
            },
            CreateDomain {
                flags: 1 << 20,
                ..GOOD
            },
            CreateDomain {
                max_vcpus: 0,
                ..GOOD
            },
            CreateDomain {
                max_vcpus: 129,
                ..GOOD
            },
            CreateDomain {
                grant_opts: 0,
                ..GOOD
            },
            CreateDomain {
                grant_opts: 3,
                ..GOOD
            },
            CreateDomain {
                max_grant_frames: 1 << 20,
                ..GOOD
            },
            CreateDomain {
                cpupool_id: 1,
                ..GOOD
            },
        ] {
            assert_eq!(limits(&bad).unwrap_err(), Errno::EINVAL, "{bad:?}");
        }
    }
}
