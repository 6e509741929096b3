//! Physical CPUs: idle times, topology, features.

use oxen_abi::Errno;
use oxen_abi::physdev::PciDevice;
use oxen_abi::sysctl::*;

use super::super::cpu_policy::{self, Kind, Place};
use super::super::{Answer, Outcome, Union, put, take};
use crate::guest::GuestHandle;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::CpuId;

/// Nanoseconds for which a CPU had nothing to run.
pub(in super::super) fn idle_time<M: Machine>(hv: &Hypervisor<M>, cpu: CpuId) -> u64 {
    hv.cpu(cpu).idle_time.until(hv.machine.now())
}

fn count<M: Machine>(hv: &Hypervisor<M>) -> u32 {
    u32::try_from(hv.cpu_count()).unwrap_or(u32::MAX)
}

/// `getcpuinfo`.
pub(super) fn idle_times<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: GetCpuInfo = take(u);
    request.nr_cpus = request.max_cpus.min(count(cx.hv));
    let handle = GuestHandle::<CpuInfo>::new(request.info);
    for cpu in 0..request.nr_cpus {
        let id = CpuId(u16::try_from(cpu).unwrap_or(u16::MAX));
        let info = CpuInfo {
            idletime: idle_time(cx.hv, id),
        };
        handle.write_at(cx.machine(), u64::from(cpu), &info)?;
    }
    put(u, &request)
}

/// `cputopoinfo`. CPUs are numbered threads first, then cores, then sockets. A null handle asks
/// for the number.
pub(super) fn topology<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: CpuTopoInfo = take(u);
    let handle = GuestHandle::<CpuTopo>::new(request.cputopo);
    if handle.is_null() {
        request.num_cpus = count(cx.hv);
        return put(u, &request);
    }
    request.num_cpus = request.num_cpus.min(count(cx.hv));
    let threads = cx.hv.host.threads_per_core.max(1);
    let per_socket = threads.saturating_mul(cx.hv.host.cores_per_socket.max(1));
    let node = |cpu| {
        let cpu = u16::try_from(cpu).map_or(CpuId(u16::MAX), CpuId);
        cx.hv.heap.nodes().of_cpu(cpu)
    };
    for cpu in 0..request.num_cpus {
        let topo = CpuTopo {
            core: cpu / threads,
            socket: cpu / per_socket,
            node: u32::try_from(node(cpu)).unwrap_or(0),
        };
        handle.write_at(cx.machine(), u64::from(cpu), &topo)?;
    }
    put(u, &request)
}

/// `cpu_hotplug`: takes a CPU out of service or puts it back; all siblings at once are not
/// supported.
pub(super) fn service<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let CpuHotplug { cpu, op } = take(u);
    let cpu = CpuId(u16::try_from(cpu).map_err(|_| Errno::EINVAL)?);
    match op {
        XEN_SYSCTL_CPU_HOTPLUG_ONLINE => crate::sched::put_back(cx, cpu)?,
        XEN_SYSCTL_CPU_HOTPLUG_OFFLINE => crate::sched::take_out(cx, cpu)?,
        _ => return Err(Errno::EOPNOTSUPP.into()),
    }
    Ok(Answer::Done)
}

/// Most devices asked about in one call.
const MOST_DEVICES: u32 = 4096;

/// `pcitopoinfo`: which node a device is at is not known.
pub(super) fn pci_topology<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let request: PciTopoInfo = take(u);
    if request.devs == 0 || request.nodes == 0 {
        return Err(Errno::EINVAL.into());
    }
    if request.num_devs > MOST_DEVICES {
        return Err(Errno::E2BIG.into());
    }
    let devices = GuestHandle::<PciDevice>::new(request.devs);
    let nodes = GuestHandle::<u32>::new(request.nodes);
    for at in 0..u64::from(request.num_devs) {
        devices.read_at(cx.machine(), at)?;
        nodes.write_at(cx.machine(), at, &XEN_INVALID_NODE_ID)?;
    }
    put(u, &request)
}

/// `get_cpu_levelling_caps`: CPUID is not masked in hardware.
pub(super) fn levelling(u: &mut Union) -> Outcome {
    put(u, &CpuLevellingCaps { caps: 0 })
}

/// `get_cpu_featureset`. A null handle asks for the number of words; `ENOBUFS` when not all had
/// room.
pub(super) fn featureset<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: CpuFeatureset = take(u);
    let words = cpu_policy::featureset(cx.hv, Kind::of_featureset(request.index)?);
    let handle = GuestHandle::<u32>::new(request.features);
    let room = request.nr_features as usize;
    request.nr_features = 16;
    if handle.is_null() {
        return put(u, &request);
    }
    for (at, word) in (0u64..).zip(words.iter().take(room)) {
        handle.write_at(cx.machine(), at, word)?;
    }
    if room < words.len() {
        request.nr_features = u32::try_from(room).unwrap_or(0);
        put(u, &request)?;
        return Ok(Answer::Refuse(Errno::ENOBUFS));
    }
    put(u, &request)
}

/// `get_cpu_policy`.
pub(super) fn policy<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: CpuPolicy = take(u);
    if request._rsvd != 0 {
        return Err(Errno::EINVAL.into());
    }
    let place = Place {
        leaves: request.leaves,
        nr_leaves: request.nr_leaves,
        msrs: request.msrs,
        nr_msrs: request.nr_msrs,
    };
    let written = cpu_policy::give(cx.hv, Kind::of_policy(request.index)?, place)?;
    request.nr_leaves = written.nr_leaves;
    request.nr_msrs = written.nr_msrs;
    put(u, &request)
}
