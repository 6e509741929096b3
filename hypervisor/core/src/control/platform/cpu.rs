//! What dom0 may know of physical CPUs.

use oxen_abi::Errno;
use oxen_abi::platform::*;
use oxen_abi::xen::CtlBitmap;

use super::super::sysctl::idle_time;
use super::super::{Answer, Outcome, Union, bitmap, put, take};
use crate::guest::GuestHandle;
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Machine};
use crate::percpu::Cx;
use crate::types::CpuId;

fn last<M: Machine>(hv: &Hypervisor<M>) -> u32 {
    u32::try_from(hv.cpu_count().saturating_sub(1)).unwrap_or(u32::MAX)
}

/// A CPU by the number that dom0 gives.
fn find<M: Machine>(hv: &Hypervisor<M>, id: u32) -> Option<CpuId> {
    u16::try_from(id).ok().filter(|_| id <= last(hv)).map(CpuId)
}

/// Whether there is such a CPU, and it is in service.
pub(super) fn is_online<M: Machine>(cx: &Cx<'_, M>, id: u32) -> bool {
    find(cx.hv, id).is_some_and(|cpu| cx.hv.serving().contains(cpu))
}

/// `cpu_online` and `cpu_offline`.
pub(super) fn service<M: Machine>(cx: &Cx<'_, M>, u: &Union, online: bool) -> Outcome {
    let CpuOl { cpuid } = take(u);
    let cpu = CpuId(u16::try_from(cpuid).map_err(|_| Errno::EINVAL)?);
    if online {
        crate::sched::put_back(cx, cpu)?;
    } else {
        crate::sched::take_out(cx, cpu)?;
    }
    Ok(Answer::Done)
}

/// `get_cpuinfo`.
pub(super) fn info<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut info: PcpuInfo = take(u);
    info.max_present = last(cx.hv);
    match find(cx.hv, info.xen_cpuid) {
        Some(cpu) => {
            let online = cx.hv.serving().contains(cpu);
            info.flags = if online { XEN_PCPU_FLAGS_ONLINE } else { 0 };
            (info.apic_id, info.acpi_id) = cx.machine().cpu_ids(cpu);
        }
        None => info.flags = XEN_PCPU_FLAGS_INVALID,
    }
    put(u, &info)
}

/// `get_cpu_version`: vendor and signature. All CPUs are of one kind.
pub(super) fn version<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut info: PcpuVersion = take(u);
    info.max_present = last(cx.hv);
    (info.vendor_id, info.family, info.model, info.stepping) = ([0; 12], 0, 0, 0);
    if is_online(cx, info.xen_cpuid) {
        let [_, b, c, d] = cx.machine().cpuid(0, 0);
        let name = [b, d, c].into_iter().flat_map(u32::to_le_bytes);
        for (to, from) in info.vendor_id.iter_mut().zip(name) {
            *to = from;
        }
        (info.family, info.model, info.stepping) = signature(cx.machine().cpuid(1, 0)[0]);
    }
    put(u, &info)
}

/// Family, model and stepping of a signature (CPUID 1, EAX).
const fn signature(eax: u32) -> (u32, u32, u32) {
    let family = eax >> 8 & 0xf;
    let model = eax >> 4 & 0xf;
    let extended = if family == 6 || family == 0xf {
        eax >> 12 & 0xf0
    } else {
        0
    };
    let family = if family == 0xf {
        family + (eax >> 20 & 0xff)
    } else {
        family
    };
    (family, model | extended, eax & 0xf)
}

/// `getidletime`: of the CPUs in the map; the map is cut to those that are up.
pub(super) fn idle_times<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: GetIdleTime = take(u);
    let map = CtlBitmap {
        bitmap: request.cpumap_bitmap,
        nr_bits: request.cpumap_nr_cpus,
        _pad0: [0; 4],
    };
    let wanted = bitmap::read(cx.machine(), &map)?;
    let handle = GuestHandle::<u64>::new(request.idletime);
    let mut answered = CpuMask::EMPTY;
    for cpu in wanted.iter().filter(|cpu| cx.hv.serving().contains(*cpu)) {
        let time = idle_time(cx.hv, cpu);
        handle.write_at(cx.machine(), u64::from(cpu.0), &time)?;
        answered.insert(cpu);
    }
    bitmap::write(cx.machine(), &map, &answered)?;
    request.now = cx.machine().now();
    put(u, &request)
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn signatures() {
        // Skylake client, Zen 2.
        assert_eq!(signature(0x0005_06e3), (6, 0x5e, 3));
        assert_eq!(signature(0x0083_0f10), (0x17, 0x31, 0));
    }
}
