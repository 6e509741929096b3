//! `platform_op`: what dom0 does for, and asks of, the machine (platform.h).

mod cpu;
mod firmware;
mod microcode;
mod mtrr;
mod power;
mod resource;
mod symbols;

use oxen_abi::Errno;
use oxen_abi::platform::*;

use super::{Answer, Outcome, check_privilege, take};
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::DomId;

/// `HYPERVISOR_platform_op`. `EACCES` for another version of the interface, `ENOSYS` for an
/// unknown sub-operation.
#[inline(never)]
pub fn platform_op<M: Machine>(cx: &Cx<'_, M>, arg: u64) -> HcResult {
    check_privilege(cx)?;
    let handle = GuestHandle::<PlatformOp>::new(arg);
    let mut op = handle.read(cx.machine())?;
    if op.interface_version != XENPF_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    if op.cmd == XENPF_RESOURCE_OP {
        return resource::access(cx, &op.u);
    }
    if op.cmd == XENPF_MICROCODE_UPDATE {
        return microcode::update(cx, arg, &op.u).map(|()| 0);
    }
    match dispatch(cx, &mut op)? {
        Answer::Done => Ok(0),
        Answer::Reply => {
            handle.write(cx.machine(), &op)?;
            Ok(0)
        }
        Answer::Refuse(errno) => {
            handle.write(cx.machine(), &op)?;
            Err(errno.into())
        }
    }
}

fn dispatch<M: Machine>(cx: &Cx<'_, M>, op: &mut PlatformOp) -> Outcome {
    let u = &mut op.u;
    match op.cmd {
        XENPF_SETTIME32 => {
            let SetTime32 {
                secs,
                nsecs,
                system_time,
            } = take(u);
            set_time(cx, u64::from(secs), nsecs, system_time)
        }
        XENPF_SETTIME64 => {
            let SetTime64 {
                secs,
                nsecs,
                mbz,
                system_time,
            } = take(u);
            if mbz != 0 {
                return Err(Errno::EINVAL.into());
            }
            set_time(cx, secs, nsecs, system_time)
        }
        XENPF_READ_MEMTYPE => mtrr::read(cx, u),
        XENPF_GET_CPUINFO => cpu::info(cx, u),
        XENPF_GET_CPU_VERSION => cpu::version(cx, u),
        XENPF_CPU_ONLINE => cpu::service(cx, u, true),
        XENPF_CPU_OFFLINE => cpu::service(cx, u, false),
        XENPF_GETIDLETIME => cpu::idle_times(cx, u),
        XENPF_ENTER_ACPI_SLEEP => power::sleep(cx, u),
        XENPF_SET_PROCESSOR_PMINFO => power::processor(cx, u),
        XENPF_FIRMWARE_INFO => firmware::info(cx, u),
        XENPF_GET_SYMBOL => symbols::get(cx, u),
        XENPF_EFI_RUNTIME_CALL => Err(Errno::EOPNOTSUPP.into()),
        // Changing MTRRs, hot-plug of hardware, core parking, quirks; and what is newer than 4.17.
        // The book's chapter on hypercalls lists all of them.
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// Sets the wall clock, for all domains.
fn set_time<M: Machine>(cx: &Cx<'_, M>, secs: u64, nsecs: u32, system_time: u64) -> Outcome {
    const NS: u64 = 1_000_000_000;
    let ns = secs
        .checked_mul(NS)
        .and_then(|ns| ns.checked_add(u64::from(nsecs)))
        .filter(|_| u64::from(nsecs) < NS)
        .ok_or(Errno::EINVAL)?;
    cx.hv.wallclock.set(ns, system_time);
    for domain in cx.hv.domains.from(DomId::DOM0) {
        crate::time::update_wallclock(cx.hv, &domain);
    }
    Ok(Answer::Done)
}
