//! What tools may know about domains and vCPUs.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::*;
use oxen_abi::vcpu::RUNSTATE_RUNNING;

use super::super::{Outcome, Union, put, take};
use crate::domain::{Domain, Life};
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, VcpuId};
use crate::vcpu::{Paused, Vcpu};

/// `getdomaininfo`: of the domain, or of the next one if there is none with that number. `ESRCH`
/// if there is none after it either.
pub(super) fn next<M: Machine>(cx: &Cx<'_, M>, op: &mut Domctl) -> Outcome {
    let domain = cx.hv.domains.from(DomId(op.domain)).next();
    let domain = domain.ok_or(Errno::ESRCH)?;
    let info = domain_info(cx, &domain);
    op.domain = info.domain;
    put(&mut op.u, &info)
}

/// Nanoseconds that a vCPU has run.
fn cpu_time<M: Machine>(vcpu: &Vcpu<M>, now: u64) -> u64 {
    let times = crate::time::runstate(vcpu, now).time;
    usize::try_from(RUNSTATE_RUNNING)
        .ok()
        .and_then(|n| times.get(n).copied())
        .unwrap_or(0)
}

fn paused<M: Machine>(vcpu: &Vcpu<M>) -> Paused {
    Paused::from_bits_truncate(vcpu.paused.load(Ordering::Acquire))
}

/// All about one domain.
pub(in super::super) fn domain_info<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Domain<M>,
) -> GetDomainInfo {
    let now = cx.machine().now();
    let vcpus = domain.vcpus.read();
    let mut info = GetDomainInfo {
        domain: domain.id.0,
        max_vcpu_id: XEN_INVALID_MAX_VCPU_ID,
        ..GetDomainInfo::default()
    };
    // Blocked unless one vCPU is not, running if one runs.
    let mut blocked = true;
    let mut running = false;
    for vcpu in vcpus.iter() {
        info.cpu_time = info.cpu_time.saturating_add(cpu_time(vcpu, now));
        info.max_vcpu_id = u32::from(vcpu.id.0);
        let paused = paused(vcpu);
        if !paused.contains(Paused::DOWN) {
            blocked &= paused.contains(Paused::BLOCKED);
            running |= vcpu.sched.is_running();
            info.nr_online_vcpus += 1;
        }
    }
    if info.nr_online_vcpus > 0 {
        info.flags |= if blocked { XEN_DOMINF_BLOCKED } else { 0 };
        info.flags |= if running { XEN_DOMINF_RUNNING } else { 0 };
    }
    {
        let state = domain.state.lock();
        info.flags |= if state.life == Life::Dead {
            XEN_DOMINF_DYING
        } else {
            0
        };
        info.flags |= match state.shutdown {
            Some(code) => {
                XEN_DOMINF_SHUTDOWN | (code & XEN_DOMINF_SHUTDOWNMASK) << XEN_DOMINF_SHUTDOWNSHIFT
            }
            // The reason of a domain that has none is all ones.
            None => u32::MAX << XEN_DOMINF_SHUTDOWNSHIFT,
        };
        info.handle = state.handle;
    }
    if domain.controller_paused.load(Ordering::Acquire) {
        info.flags |= XEN_DOMINF_PAUSED;
    }
    info.tot_pages = domain.memory.total_frames();
    info.outstanding_pages = domain.memory.claim.frames();
    info.max_pages = domain.memory.max.load(Ordering::Acquire);
    info.shared_info_frame = domain
        .memory
        .shared_info
        .get()
        .map_or(u64::MAX, |mfn| mfn.0);
    info.gpaddr_bits = (cx.machine().cpuid(0x8000_0008, 0)[0] & 0xff) as u8;
    info
}

/// `getvcpuinfo`.
pub(super) fn vcpu<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &mut Union) -> Outcome {
    let mut info: GetVcpuInfo = take(u);
    let vcpu = find_vcpu(domain, info.vcpu)?;
    let state = paused(&vcpu);
    info.online = u8::from(!state.contains(Paused::DOWN));
    info.blocked = u8::from(state.contains(Paused::BLOCKED));
    info.running = u8::from(vcpu.sched.is_running());
    info.cpu_time = cpu_time(&vcpu, cx.machine().now());
    info.cpu = u32::from(vcpu.sched.cpu().0);
    put(u, &info)
}

/// A vCPU by the number that a tool gives: `EINVAL` for one that no domain could have, `ESRCH`
/// for one that this domain has not.
pub(super) fn find_vcpu<M: Machine>(domain: &Domain<M>, id: u32) -> Result<Arc<Vcpu<M>>, Errno> {
    if id >= domain.max_vcpus {
        return Err(Errno::EINVAL);
    }
    let id = VcpuId(u16::try_from(id).map_err(|_| Errno::EINVAL)?);
    domain.vcpu(id).ok_or(Errno::ESRCH)
}
