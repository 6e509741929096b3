//! `HYPERVISOR_mca`: what dom0's machine-check log asks (xen-mca.h). The hypervisor ends the
//! machine at a machine check it cannot go on after, so there are never any urgent records; those
//! of corrected errors are kept for dom0, which is told by `VIRQ_MCA`.

mod records;

use oxen_abi::Errno;
use oxen_abi::mca::*;
use oxen_abi::xen::VIRQ_MCA;

pub use records::{MachineChecks, Report};

use super::{Outcome, Union, put, take};
use crate::error::HcResult;
use crate::guest::{GuestHandle, zeroed};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::CpuId;

/// Xen's numbers of vendors.
const INTEL: u32 = 1;
const AMD: u32 = 2;
/// "Genu" and "Auth": how the vendors' names begin.
const INTEL_NAME: u32 = 0x756e_6547;
const AMD_NAME: u32 = 0x6874_7541;

/// `HYPERVISOR_mca(arg)`. `EPERM` for others than dom0, `EACCES` for another version of the
/// interface, `EINVAL` for an unknown command and for the injection of errors.
pub fn mca<M: Machine>(cx: &Cx<'_, M>, arg: u64) -> HcResult {
    super::check_privilege(cx)?;
    let handle = GuestHandle::<Mc>::new(arg);
    let mut op = handle.read(cx.machine())?;
    if op.interface_version != XEN_MCA_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    let mut union: Union = [0; 16];
    for (to, from) in union.iter_mut().zip(op.u) {
        *to = from;
    }
    match op.cmd {
        XEN_MC_FETCH => fetch(cx, &mut union)?,
        XEN_MC_PHYSCPUINFO => processors(cx, &mut union)?,
        _ => return Err(Errno::EINVAL.into()),
    };
    for (to, from) in op.u.iter_mut().zip(union) {
        *to = from;
    }
    handle.write(cx.machine(), &op)?;
    Ok(0)
}

/// A bank of `cpu` has reported an error that was corrected: notes it for dom0, and tells it.
pub fn report<M: Machine>(hv: &'static Hypervisor<M>, cpu: CpuId, report: Report) {
    let place = place(hv, u32::from(cpu.0));
    if hv.machine_checks.note(&place, report) {
        crate::event::send_global_virq(hv, VIRQ_MCA);
    }
}

/// `XEN_MC_fetch`: the oldest record that was not fetched yet; or, acknowledging, forgets one.
/// Records are not urgent.
fn fetch<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: McFetch = take(u);
    let urgent = match request.flags & (XEN_MC_NONURGENT | XEN_MC_URGENT) {
        XEN_MC_NONURGENT => false,
        XEN_MC_URGENT => true,
        _ => return Err(Errno::EINVAL.into()),
    };
    let records = &cx.hv.machine_checks;
    if request.flags & XEN_MC_ACK != 0 {
        if !urgent {
            records.forget(request.fetch_id);
        }
        request.flags = XEN_MC_OK;
        return put(u, &request);
    }
    if request.data == 0 {
        return Err(Errno::EINVAL.into());
    }
    let record = if urgent { None } else { records.oldest() };
    (request.flags, request.fetch_id) = match record {
        None => (XEN_MC_NODATA, 0),
        Some((id, info)) => {
            GuestHandle::new(request.data).write(cx.machine(), &info)?;
            records.fetched(id);
            (XEN_MC_OK, id)
        }
    };
    put(u, &request)
}

/// `XEN_MC_physcpuinfo`: the CPUs there are. A null handle asks for the number.
fn processors<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: McPhysCpuInfo = take(u);
    let mut count = u32::try_from(cx.hv.cpu_count()).unwrap_or(u32::MAX);
    if request.info != 0 {
        // The ABI's number is an int.
        let room = i32::try_from(request.ncpus).map_err(|_| Errno::EINVAL)?;
        if room == 0 {
            return Err(Errno::EINVAL.into());
        }
        count = count.min(request.ncpus);
        let handle = GuestHandle::<McLogicalCpu>::new(request.info);
        for cpu in 0..count {
            handle.write_at(cx.machine(), u64::from(cpu), &processor(cx, cpu))?;
        }
    }
    request.ncpus = count;
    put(u, &request)
}

/// Where a CPU is.
struct Place {
    socket: u32,
    core: u16,
    thread: u16,
    apic: u32,
}

fn place<M: Machine>(hv: &Hypervisor<M>, cpu: u32) -> Place {
    let narrow = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let threads = hv.host.threads_per_core.max(1);
    let cores = hv.host.cores_per_socket.max(1);
    let (apic, _) = hv.machine.cpu_ids(CpuId(narrow(cpu)));
    Place {
        socket: cpu / threads.saturating_mul(cores),
        core: narrow(cpu / threads % cores),
        thread: narrow(cpu % threads),
        apic,
    }
}

fn processor<M: Machine>(cx: &Cx<'_, M>, cpu: u32) -> McLogicalCpu {
    let machine = cx.machine();
    let cpuid = |leaf| machine.cpuid(leaf, 0);
    let host = &cx.hv.host;
    let place = place(cx.hv, cpu);
    let [highest, b, c, d] = cpuid(0);
    let [signature, ..] = cpuid(1);
    let base_family = signature >> 8 & 0xf;
    let family = base_family
        + if base_family == 0xf {
            signature >> 20 & 0xff
        } else {
            0
        };
    let wide_model = family >= 0xf || base_family == 6;
    let model = signature >> 4 & 0xf
        | if wide_model {
            signature >> 12 & 0xf0
        } else {
            0
        };
    let [_, _, c1, d1] = cpuid(1);
    let [_, _, ce1, de1] = cpuid(0x8000_0001);
    let mut info: McLogicalCpu = zeroed();
    info.mc_cpunr = cpu;
    info.mc_chipid = place.socket;
    info.mc_coreid = place.core;
    info.mc_threadid = place.thread;
    info.mc_apicid = place.apic;
    info.mc_ncores = host.cores_per_socket.max(1);
    info.mc_ncores_active = info.mc_ncores;
    info.mc_nthreads = host.threads_per_core.max(1);
    info.mc_cpuid_level = i32::try_from(highest).unwrap_or(i32::MAX);
    info.mc_family = family;
    info.mc_vendor = match b {
        INTEL_NAME => INTEL,
        AMD_NAME => AMD,
        _ => 0,
    };
    info.mc_model = model;
    info.mc_step = signature & 0xf;
    fill(&mut info.mc_vendorid, [b, d, c].into_iter());
    let brand = (0x8000_0002..=0x8000_0004).flat_map(cpuid);
    fill(&mut info.mc_brandid, brand);
    info.mc_cpu_caps = [d1, de1, 0, 0, c1, 0, ce1];
    info.mc_cache_alignment = 64;
    info
}

/// Writes words one after the other, as far as there is room.
fn fill(bytes: &mut [u8], words: impl Iterator<Item = u32>) {
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}
