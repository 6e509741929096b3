//! Where a domain's vCPUs run and how much of the CPUs they get.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::*;
use zerocopy::{FromBytes, IntoBytes};

use super::super::{Answer, Outcome, Union, bitmap, put, take};
use super::info::find_vcpu;
use crate::domain::Domain;
use crate::machine::{CpuMask, Machine};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

/// All CPUs there can be, for "no restriction".
fn all<M: Machine>(cx: &Cx<'_, M>) -> CpuMask {
    let mut mask = CpuMask::EMPTY;
    let cpus = u16::try_from(cx.hv.cpu_count()).unwrap_or(u16::MAX);
    (0..cpus).for_each(|cpu| mask.insert(crate::CpuId(cpu)));
    mask
}

fn and(a: CpuMask, b: CpuMask) -> CpuMask {
    let mut both = a;
    for (to, from) in both.0.iter_mut().zip(b.0) {
        *to &= from;
    }
    both
}

/// `setvcpuaffinity`. `EINVAL` without flags, or when no CPU in service would be left; `EBUSY` for
/// the hard one while the guest has tied the vCPU to a CPU, which is undone by force. The maps that
/// are in force then are written back.
pub(super) fn set<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &mut Union) -> Outcome {
    let request: VcpuAffinity = take(u);
    if request.flags == 0 {
        return Err(Errno::EINVAL.into());
    }
    let vcpu = find_vcpu(domain, request.vcpu)?;
    let (machine, every) = (cx.machine(), all(cx));
    let (mut hard, mut soft) = vcpu.sched.affinity();
    // A map of all CPUs is no restriction, also for CPUs that come up later.
    let given = |mask: CpuMask| {
        let mask = and(mask, every);
        if mask == every { None } else { Some(mask) }
    };
    if request.flags & XEN_VCPUAFFINITY_HARD != 0 {
        hard = given(bitmap::read(machine, &request.cpumap_hard)?);
    }
    if request.flags & XEN_VCPUAFFINITY_SOFT != 0 {
        soft = given(bitmap::read(machine, &request.cpumap_soft)?);
        if soft.is_some_and(|mask| mask.is_empty()) {
            return Err(Errno::EINVAL.into());
        }
    }
    cx.hv.with_serving(|serving| {
        if and(hard.unwrap_or(every), *serving).is_empty() {
            return Err(Errno::EINVAL);
        }
        if request.flags & XEN_VCPUAFFINITY_FORCE != 0 {
            let _ = vcpu.sched.untie();
        }
        if request.flags & XEN_VCPUAFFINITY_HARD != 0 {
            vcpu.sched.set_hard_affinity(hard)?;
        }
        if request.flags & XEN_VCPUAFFINITY_SOFT != 0 {
            vcpu.sched.set_soft_affinity(soft);
        }
        Ok(())
    })?;
    if !vcpu.sched.allows(vcpu.sched.cpu()) {
        // It leaves the CPU it may not use when that CPU next looks whom to run.
        crate::sched::stop(cx.cpu, &vcpu);
        crate::sched::wake_paused(cx.hv, &vcpu, cx.cpu.id);
    }
    let hard = and(hard.unwrap_or(every), cx.hv.serving());
    if request.flags & XEN_VCPUAFFINITY_HARD != 0 {
        bitmap::write(machine, &request.cpumap_hard, &hard)?;
    }
    if request.flags & XEN_VCPUAFFINITY_SOFT != 0 {
        bitmap::write(
            machine,
            &request.cpumap_soft,
            &and(soft.unwrap_or(every), hard),
        )?;
    }
    Ok(Answer::Reply)
}

/// `getvcpuaffinity`.
pub(super) fn get<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let request: VcpuAffinity = take(u);
    if request.flags == 0 {
        return Err(Errno::EINVAL.into());
    }
    let vcpu = find_vcpu(domain, request.vcpu)?;
    let (hard, soft) = vcpu.sched.affinity();
    for (flag, map, mask) in [
        (XEN_VCPUAFFINITY_HARD, &request.cpumap_hard, hard),
        (XEN_VCPUAFFINITY_SOFT, &request.cpumap_soft, soft),
    ] {
        if request.flags & flag != 0 {
            bitmap::write(cx.machine(), map, &mask.unwrap_or(all(cx)))?;
        }
    }
    Ok(Answer::Done)
}

/// All nodes there are.
fn all_nodes<M: Machine>(cx: &Cx<'_, M>) -> CpuMask {
    let mut mask = CpuMask::EMPTY;
    let count = u16::try_from(cx.hv.heap.nodes().count()).unwrap_or(u16::MAX);
    (0..count).for_each(|node| mask.insert(crate::CpuId(node)));
    mask
}

/// `getnodeaffinity`: memory comes from near the CPU that asks, or from where a request says; no
/// domain has a node of its own.
pub(super) fn get_nodes<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let NodeAffinity { nodemap } = take(u);
    bitmap::write(cx.machine(), &nodemap, &all_nodes(cx))?;
    Ok(Answer::Done)
}

/// `setnodeaffinity`: some node that exists must be in it.
pub(super) fn set_nodes<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let NodeAffinity { nodemap } = take(u);
    let nodes = bitmap::read(cx.machine(), &nodemap)?;
    if all_nodes(cx).iter().any(|node| nodes.contains(node)) {
        Ok(Answer::Done)
    } else {
        Err(Errno::EINVAL.into())
    }
}

/// `scheduler_op`: weight and cap. A weight of 0 and a cap of 65535 leave what is.
pub(super) fn scheduler<M: Machine>(domain: &Domain<M>, u: &mut Union) -> Outcome {
    let mut request: SchedulerOp = take(u);
    if request.sched_id != XEN_SCHEDULER_CREDIT {
        return Err(Errno::EINVAL.into());
    }
    match request.cmd {
        XEN_DOMCTL_SCHEDOP_PUTINFO => {
            let (wanted, _) =
                SchedCredit::read_from_prefix(request.u.as_bytes()).map_err(|_| Errno::EINVAL)?;
            if wanted.weight != 0 {
                domain
                    .sched
                    .weight
                    .store(u32::from(wanted.weight), Ordering::Relaxed);
            }
            if wanted.cap != u16::MAX {
                domain
                    .sched
                    .cap
                    .store(u32::from(wanted.cap), Ordering::Relaxed);
            }
            Ok(Answer::Done)
        }
        XEN_DOMCTL_SCHEDOP_GETINFO => {
            let clamp = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
            let now = SchedCredit {
                weight: clamp(domain.sched.weight.load(Ordering::Relaxed)),
                cap: clamp(domain.sched.cap.load(Ordering::Relaxed)),
            };
            let _ = now.write_to_prefix(request.u.as_mut_bytes());
            put(u, &request)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
