//! domctl, sysctl and platform_op at their edges.

use oxen_abi::Errno;
use oxen_abi::domctl::{self, Domctl, GetDomainInfo};
use oxen_abi::hypercall::{HYPERVISOR_DOMCTL, HYPERVISOR_PLATFORM_OP, HYPERVISOR_SYSCTL};
use oxen_abi::platform::{
    PcpuInfo, PlatformOp, XENPF_GET_CPUINFO, XENPF_INTERFACE_VERSION, XENPF_SETTIME64,
};
use oxen_abi::sysctl::{self as abi, Sysctl};
use zerocopy::FromBytes;

use super::version::UNMAPPED;
use super::{Suite, ensure, good, same, skip};
use crate::domain::control::{
    domain_info, domctl as domain_control, free_pages, on_domain, sysctl,
};
use crate::sys::hypercall;

fn domctls(s: &mut Suite<'_>) {
    s.check("domctl/interface_version", || {
        let mut call = Domctl {
            cmd: domctl::XEN_DOMCTL_GETDOMAININFO,
            interface_version: domctl::XEN_DOMCTL_INTERFACE_VERSION + 1,
            ..Domctl::default()
        };
        same!(
            hypercall::call(HYPERVISOR_DOMCTL, [hypercall::address(&mut call)]),
            Err(Errno::EACCES)
        );
        same!(
            hypercall::call(HYPERVISOR_DOMCTL, [UNMAPPED]),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
    s.check("domctl/dom0", || {
        let info = good!(domain_info(0));
        same!(info.domain, 0);
        ensure!(
            info.flags & domctl::XEN_DOMINF_RUNNING != 0,
            "flags {:#x}",
            info.flags
        );
        ensure!(info.tot_pages > 0 && info.nr_online_vcpus >= 1, "{info:?}");
        Ok(())
    });
    s.check("domctl/no_such_domain", || {
        same!(
            domain_control(
                domctl::XEN_DOMCTL_GETDOMAININFO,
                &mut 0x1234,
                &mut GetDomainInfo::default()
            ),
            Err(Errno::ESRCH)
        );
        for cmd in [
            domctl::XEN_DOMCTL_PAUSEDOMAIN,
            domctl::XEN_DOMCTL_DESTROYDOMAIN,
            domctl::XEN_DOMCTL_MAX_MEM,
            domctl::XEN_DOMCTL_GETVCPUINFO,
        ] {
            same!(on_domain(cmd, 0x1234, &mut [0u64; 2]), Err(Errno::ESRCH));
        }
        Ok(())
    });
    s.check("domctl/unknown", || {
        for cmd in [0, 999, 0x7fff_ffff] {
            ensure!(on_domain(cmd, 0, &mut [0u64; 2]).is_err(), "{cmd}");
        }
        Ok(())
    });
    s.check("domctl/create_refused", || {
        for (flags, max_vcpus) in [(1 << 31, 1), (0, 0), (0, 100_000)] {
            let mut create = domctl::CreateDomain {
                flags,
                max_vcpus,
                max_evtchn_port: u32::MAX,
                max_grant_frames: -1,
                max_maptrack_frames: -1,
                grant_opts: 1,
                ..domctl::CreateDomain::default()
            };
            let result = on_domain(domctl::XEN_DOMCTL_CREATEDOMAIN, 0, &mut create);
            ensure!(result.is_err(), "flags {flags:#x}, {max_vcpus} vCPUs");
        }
        Ok(())
    });
    s.check("domctl/not_on_oneself", || {
        ensure!(
            on_domain(domctl::XEN_DOMCTL_PAUSEDOMAIN, 0, &mut [0u64; 1]).is_err(),
            "dom0 paused itself"
        );
        ensure!(
            on_domain(domctl::XEN_DOMCTL_DESTROYDOMAIN, 0, &mut [0u64; 1]).is_err(),
            "dom0 destroyed itself"
        );
        Ok(())
    });
}

fn sysctls(s: &mut Suite<'_>) {
    s.check("sysctl/interface_version", || {
        let mut call = Sysctl {
            cmd: abi::XEN_SYSCTL_PHYSINFO,
            interface_version: abi::XEN_SYSCTL_INTERFACE_VERSION + 1,
            ..Sysctl::default()
        };
        same!(
            hypercall::call(HYPERVISOR_SYSCTL, [hypercall::address(&mut call)]),
            Err(Errno::EACCES)
        );
        same!(sysctl(999, &mut [0u64; 2]), Err(Errno::ENOSYS));
        Ok(())
    });
    s.check("sysctl/physinfo", || {
        let mut info = abi::PhysInfo::default();
        same!(sysctl(abi::XEN_SYSCTL_PHYSINFO, &mut info), Ok(0));
        ensure!(
            info.nr_cpus >= 1 && info.cpu_khz > 0,
            "{} CPUs, {} kHz",
            info.nr_cpus,
            info.cpu_khz
        );
        ensure!(
            info.free_pages < info.total_pages && info.total_pages > 0,
            "{} of {} pages free",
            info.free_pages,
            info.total_pages
        );
        ensure!(
            info.capabilities & abi::XEN_SYSCTL_PHYSCAP_PV != 0,
            "no PV guests"
        );
        same!(free_pages(), Ok(info.free_pages));
        Ok(())
    });
    s.check("sysctl/scheduler", || {
        let mut id = abi::SchedId::default();
        same!(sysctl(abi::XEN_SYSCTL_SCHED_ID, &mut id), Ok(0));
        same!(id.sched_id, domctl::XEN_SCHEDULER_CREDIT);
        Ok(())
    });
    s.check("sysctl/topology", || {
        let mut cpus = [abi::CpuTopo::default(); 64];
        let mut arg = abi::CpuTopoInfo {
            num_cpus: 64,
            cputopo: hypercall::slice_address(&mut cpus),
            ..abi::CpuTopoInfo::default()
        };
        same!(sysctl(abi::XEN_SYSCTL_CPUTOPOINFO, &mut arg), Ok(0));
        ensure!((1..=64).contains(&arg.num_cpus), "{} CPUs", arg.num_cpus);
        let mut ask = abi::CpuTopoInfo::default();
        same!(sysctl(abi::XEN_SYSCTL_CPUTOPOINFO, &mut ask), Ok(0));
        same!(ask.num_cpus, arg.num_cpus);
        let mut numa = abi::NumaInfo::default();
        same!(sysctl(abi::XEN_SYSCTL_NUMAINFO, &mut numa), Ok(0));
        ensure!(numa.num_nodes >= 1, "no node");
        Ok(())
    });
    s.check("sysctl/domain_list", || {
        let mut list = [GetDomainInfo::default(); 1];
        let mut arg = abi::GetDomainInfoList {
            max_domains: 1,
            buffer: hypercall::slice_address(&mut list),
            ..abi::GetDomainInfoList::default()
        };
        same!(sysctl(abi::XEN_SYSCTL_GETDOMAININFOLIST, &mut arg), Ok(0));
        same!(arg.num_domains, 1);
        same!(list[0].domain, 0);
        arg.buffer = UNMAPPED;
        same!(
            sysctl(abi::XEN_SYSCTL_GETDOMAININFOLIST, &mut arg),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
    s.check("sysctl/cpupool_info", || {
        let mut bits = [0u64; 16];
        let mut arg = abi::CpupoolOp {
            op: abi::XEN_SYSCTL_CPUPOOL_OP_INFO,
            ..abi::CpupoolOp::default()
        };
        arg.cpumap.bitmap = hypercall::address(&mut bits);
        arg.cpumap.nr_bits = 1024;
        same!(sysctl(abi::XEN_SYSCTL_CPUPOOL_OP, &mut arg), Ok(0));
        same!(arg.cpupool_id, 0);
        ensure!(
            bits[0] & 1 == 1 && arg.n_dom >= 1,
            "CPUs {:#x}, {} domains",
            bits[0],
            arg.n_dom
        );
        Ok(())
    });
    s.check("sysctl/console_ring", || {
        let mut buffer = [0u8; 64];
        let mut arg = abi::ReadConsole {
            buffer: hypercall::address(&mut buffer),
            count: 64,
            ..abi::ReadConsole::default()
        };
        same!(sysctl(abi::XEN_SYSCTL_READCONSOLE, &mut arg), Ok(0));
        ensure!(arg.count > 0 && arg.count <= 64, "{} bytes", arg.count);
        arg.buffer = UNMAPPED;
        arg.count = 64;
        same!(
            sysctl(abi::XEN_SYSCTL_READCONSOLE, &mut arg),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
    s.check("sysctl/console_ring_begins_with_the_banner", || {
        let mut buffer = [0u8; 2048];
        let mut arg = abi::ReadConsole {
            buffer: hypercall::address(&mut buffer),
            count: 2048,
            ..abi::ReadConsole::default()
        };
        same!(sysctl(abi::XEN_SYSCTL_READCONSOLE, &mut arg), Ok(0));
        let length = (arg.count as usize).min(buffer.len());
        let text = core::str::from_utf8(&buffer[..length]).unwrap_or("");
        // Xen draws its name in large letters first.
        ensure!(
            text.starts_with("(XEN) Oxen ") || text.contains("Xen version "),
            "it begins with {:?}",
            text.lines().next()
        );
        Ok(())
    });
    s.check("sysctl/available_heap", || {
        let mut arg = abi::AvailHeap {
            node: -1,
            ..abi::AvailHeap::default()
        };
        same!(sysctl(abi::XEN_SYSCTL_AVAILHEAP, &mut arg), Ok(0));
        same!(arg.avail_bytes / 4096, good!(free_pages()));
        // Two halves of the addresses. (The machine has less than 4 GiB.)
        let all = arg.avail_bytes;
        let mut of = |min_bitwidth, max_bitwidth| {
            arg = abi::AvailHeap {
                node: -1,
                min_bitwidth,
                max_bitwidth,
                avail_bytes: 1,
                ..abi::AvailHeap::default()
            };
            sysctl(abi::XEN_SYSCTL_AVAILHEAP, &mut arg).map(|_| arg.avail_bytes)
        };
        let (low, high) = (good!(of(0, 29)), good!(of(30, 0)));
        same!(low + high, all);
        ensure!(high > 0, "none of {all} bytes is above 512 MiB");
        same!(of(0, 12), Ok(0));
        same!(of(40, 0), Ok(0));
        Ok(())
    });
    s.check("sysctl/cpu_policy", || {
        let mut arg = abi::CpuPolicy {
            index: abi::XEN_SYSCTL_CPU_POLICY_HOST,
            ..abi::CpuPolicy::default()
        };
        same!(sysctl(abi::XEN_SYSCTL_GET_CPU_POLICY, &mut arg), Ok(0));
        ensure!(arg.nr_leaves > 0, "no leaves");
        Ok(())
    });
}

fn platform_ops(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("platform_op/refused", || {
        let platform = |cmd: u32, interface_version: u32| {
            let mut call = PlatformOp {
                cmd,
                interface_version,
                ..PlatformOp::default()
            };
            // settime64: must be zero, and is not.
            call.u[1] = u64::MAX;
            hypercall::call(HYPERVISOR_PLATFORM_OP, [hypercall::address(&mut call)])
        };
        if !privileged {
            ensure!(
                platform(XENPF_GET_CPUINFO, XENPF_INTERFACE_VERSION).is_err(),
                "allowed to a domain without privileges"
            );
            return Ok(());
        }
        same!(platform(XENPF_GET_CPUINFO, 0), Err(Errno::EACCES));
        same!(platform(1000, XENPF_INTERFACE_VERSION), Err(Errno::ENOSYS));
        same!(
            platform(XENPF_SETTIME64, XENPF_INTERFACE_VERSION),
            Err(Errno::EINVAL)
        );
        Ok(())
    });
    s.check("platform_op/get_cpuinfo", || {
        if !privileged {
            skip!("dom0 only");
        }
        let mut call = PlatformOp {
            cmd: XENPF_GET_CPUINFO,
            interface_version: XENPF_INTERFACE_VERSION,
            ..PlatformOp::default()
        };
        same!(
            hypercall::call(HYPERVISOR_PLATFORM_OP, [hypercall::address(&mut call)]),
            Ok(0)
        );
        let bytes = zerocopy::IntoBytes::as_bytes(&call.u);
        let Ok((info, _)) = PcpuInfo::read_from_prefix(bytes) else {
            skip!("no answer");
        };
        same!(info.xen_cpuid, 0);
        same!(info.flags & 1, 1);
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    if s.privileged {
        domctls(s);
        sysctls(s);
    } else {
        s.check("domctl/unprivileged", || {
            ensure!(domain_info(0).is_err(), "dom0's state is told");
            same!(free_pages(), Err(Errno::EPERM));
            Ok(())
        });
    }
    platform_ops(s);
}
