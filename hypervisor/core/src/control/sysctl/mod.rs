//! `sysctl`: the machine as a whole (sysctl.h, version 0x15).

mod cpu;
mod host;
mod pool;

pub(super) use cpu::idle_time;

use oxen_abi::Errno;
use oxen_abi::sysctl::*;

use super::{Answer, Outcome, check_privilege};
use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::growth::with_room;
use crate::percpu::Cx;

/// `HYPERVISOR_sysctl`. `EACCES` for another version of the interface, `ENOSYS` for an unknown
/// sub-operation.
#[inline(never)]
pub fn sysctl<M: Machine>(cx: &Cx<'_, M>, arg: u64) -> HcResult {
    check_privilege(cx)?;
    let handle = GuestHandle::<Sysctl>::new(arg);
    let mut op = handle.read(cx.machine())?;
    if op.interface_version != XEN_SYSCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    match dispatch(cx, &mut op) {
        Ok(Answer::Done) => Ok(0),
        Ok(Answer::Reply) => {
            handle.write(cx.machine(), &op)?;
            Ok(0)
        }
        Ok(Answer::Refuse(errno)) => {
            handle.write(cx.machine(), &op)?;
            Err(errno.into())
        }
        Err(Stop::Restart(_)) => Err(Stop::Restart([arg, 0, 0, 0, 0, 0])),
        Err(stop) => Err(stop),
    }
}

fn dispatch<M: Machine>(cx: &Cx<'_, M>, op: &mut Sysctl) -> Outcome {
    let u = &mut op.u;
    match op.cmd {
        XEN_SYSCTL_READCONSOLE => host::read_console(cx, u),
        XEN_SYSCTL_PHYSINFO => host::physical(cx, u),
        XEN_SYSCTL_GETDOMAININFOLIST => host::domains(cx, u),
        XEN_SYSCTL_DEBUG_KEYS => host::debug_keys(cx, u),
        XEN_SYSCTL_AVAILHEAP => host::free_memory(cx, u),
        XEN_SYSCTL_NUMAINFO => host::nodes(cx, u),
        XEN_SYSCTL_GETCPUINFO => cpu::idle_times(cx, u),
        XEN_SYSCTL_CPUTOPOINFO => cpu::topology(cx, u),
        XEN_SYSCTL_PCITOPOINFO => cpu::pci_topology(cx, u),
        XEN_SYSCTL_GET_CPU_LEVELLING_CAPS => cpu::levelling(u),
        XEN_SYSCTL_GET_CPU_FEATURESET => cpu::featureset(cx, u),
        XEN_SYSCTL_GET_CPU_POLICY => with_room(cx.cpu, || cpu::policy(cx, u)),
        XEN_SYSCTL_SCHED_ID => pool::scheduler_id(u),
        XEN_SYSCTL_SCHEDULER_OP => pool::scheduler(u),
        XEN_SYSCTL_CPUPOOL_OP => pool::pool(cx, u),
        // The power states that dom0 uploads are not kept.
        XEN_SYSCTL_GET_PMSTAT | XEN_SYSCTL_PM_OP => Err(Errno::ENODEV.into()),
        XEN_SYSCTL_CPU_HOTPLUG => cpu::service(cx, u),
        XEN_SYSCTL_PAGE_OFFLINE_OP
        | XEN_SYSCTL_PSR_CMT_OP
        | XEN_SYSCTL_COVERAGE_OP
        | XEN_SYSCTL_PSR_ALLOC => Err(Errno::EOPNOTSUPP.into()),
        // Trace buffers, performance and lock counters, live patching: not built in. The book's
        // chapter on hypercalls lists all of them.
        _ => Err(Errno::ENOSYS.into()),
    }
}
