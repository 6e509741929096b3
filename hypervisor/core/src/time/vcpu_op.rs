//! `vcpu_op`.

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::vcpu::*;
use oxen_abi::xen::VcpuTimeInfo;

use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::{MmError, walk};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::time::runstate::{runstate, write_runstate_area};
use crate::time::timer::{Kind, arm, cancel};
use crate::types::{CpuId, VcpuId};
use crate::vcpu::{Paused, Vcpu};

/// The shortest period of a periodic timer in nanoseconds.
const MIN_PERIOD: u64 = 1_000_000;
/// The longest, so that adding it to a system time does not overflow.
const MAX_PERIOD: u64 = i64::MAX as u64 / 2;

/// `HYPERVISOR_vcpu_op`: operation `op` on vCPU `id` of the calling domain.
#[inline(never)]
pub fn vcpu_op<M: Machine>(cx: &Cx<'_, M>, op: u64, id: u64, arg: u64) -> HcResult {
    let id = u16::try_from(id).map_err(|_| Errno::ENOENT)?;
    let vcpu = cx.domain().vcpu(VcpuId(id)).ok_or(Errno::ENOENT)?;
    let itself = Arc::ptr_eq(&vcpu, cx.vcpu);
    let op = u32::try_from(op).map_err(|_| Errno::ENOSYS)?;
    match op {
        VCPUOP_INITIALISE => initialise(cx, &vcpu, op, arg),
        VCPUOP_UP => up(cx, &vcpu),
        VCPUOP_DOWN => down(cx, &vcpu),
        VCPUOP_IS_UP => Ok(u64::from(!is_down(&vcpu))),
        VCPUOP_GET_RUNSTATE_INFO => {
            GuestHandle::new(arg).write(cx.machine(), &runstate(&vcpu, cx.machine().now()))?;
            Ok(0)
        }
        VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA => {
            let area = GuestHandle::<RegisterRunstateMemoryArea>::new(arg).read(cx.machine())?;
            check_area::<RunstateInfo>(area.addr)?;
            vcpu.time.runstate_area.store(area.addr, Ordering::Release);
            if itself {
                write_runstate_area(cx.machine(), &vcpu);
            } else if area.addr != 0 {
                let now = runstate(&vcpu, cx.machine().now());
                GuestHandle::new(area.addr).write(cx.machine(), &now)?;
            }
            Ok(0)
        }
        VCPUOP_SET_PERIODIC_TIMER => {
            let request = GuestHandle::<SetPeriodicTimer>::new(arg).read(cx.machine())?;
            if request.period_ns < MIN_PERIOD || request.period_ns > MAX_PERIOD {
                return Err(Errno::EINVAL.into());
            }
            vcpu.time.period.store(request.period_ns, Ordering::Release);
            arm(
                cx.cpu,
                &vcpu,
                Kind::Periodic,
                cx.machine().now().saturating_add(request.period_ns),
            );
            Ok(0)
        }
        VCPUOP_STOP_PERIODIC_TIMER => {
            vcpu.time.period.store(0, Ordering::Release);
            cancel(cx.hv, &vcpu, Kind::Periodic);
            Ok(0)
        }
        VCPUOP_SET_SINGLESHOT_TIMER if itself => single_shot(cx, GuestHandle::new(arg)),
        VCPUOP_STOP_SINGLESHOT_TIMER if itself => {
            cancel(cx.hv, &vcpu, Kind::SingleShot);
            Ok(0)
        }
        VCPUOP_SET_SINGLESHOT_TIMER | VCPUOP_STOP_SINGLESHOT_TIMER => Err(Errno::EINVAL.into()),
        VCPUOP_REGISTER_VCPU_INFO => {
            let place = GuestHandle::<RegisterVcpuInfo>::new(arg).read(cx.machine())?;
            match crate::event::register(cx, &vcpu, &place) {
                Ok(()) => {
                    crate::time::publish(cx.hv, &vcpu, true);
                    Ok(0)
                }
                Err(MmError::Errno(errno)) => Err(errno.into()),
                Err(MmError::Restart) => {
                    Err(Stop::Restart([u64::from(op), u64::from(id), arg, 0, 0, 0]))
                }
            }
        }
        VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA => {
            let area = GuestHandle::<RegisterTimeMemoryArea>::new(arg).read(cx.machine())?;
            check_area::<VcpuTimeInfo>(area.addr)?;
            vcpu.time.time_area.store(area.addr, Ordering::Release);
            // A down vCPU's copy is written when it first runs.
            crate::time::unpublish(&vcpu);
            if itself {
                crate::time::publish(cx.hv, &vcpu, true);
            }
            Ok(0)
        }
        VCPUOP_SEND_NMI => {
            vcpu.nmi_pending.store(true, Ordering::Release);
            crate::sched::wake(cx.hv, &vcpu, cx.cpu.id);
            Ok(0)
        }
        VCPUOP_GET_PHYSID => physid(cx, &vcpu, GuestHandle::new(arg)),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// Refuses a place for a `T` that is no guest's (`EFAULT`).
fn check_area<T>(addr: u64) -> Result<(), Errno> {
    let last = addr.checked_add(size_of::<T>() as u64 - 1);
    let whose = |addr: u64| walk::is_canonical(addr) && !walk::is_hypervisor(addr);
    if whose(addr) && last.is_some_and(whose) {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

fn is_down<M: Machine>(vcpu: &Vcpu<M>) -> bool {
    vcpu.paused.load(Ordering::Acquire) & Paused::DOWN.bits() != 0
}

/// Gives a vCPU that is down and has none its context.
fn initialise<M: Machine>(cx: &Cx<'_, M>, vcpu: &Arc<Vcpu<M>>, op: u32, arg: u64) -> HcResult {
    if !crate::event::has_info(cx.machine(), vcpu) {
        return Err(Errno::EINVAL.into());
    }
    let context = GuestHandle::new(arg);
    if vcpu.initialised.load(Ordering::Acquire) {
        // What can't be read is said first.
        context.read(cx.machine())?;
        return Err(Errno::EEXIST.into());
    }
    match crate::vcpu::context::set_from_guest(cx, vcpu, context) {
        Ok(()) => Ok(0),
        Err(MmError::Errno(errno)) => Err(errno.into()),
        Err(MmError::Restart) => Err(Stop::Restart([
            u64::from(op),
            u64::from(vcpu.id.0),
            arg,
            0,
            0,
            0,
        ])),
    }
}

fn up<M: Machine>(cx: &Cx<'_, M>, vcpu: &Arc<Vcpu<M>>) -> HcResult {
    if !vcpu.initialised.load(Ordering::Acquire) {
        return Err(Errno::EINVAL.into());
    }
    vcpu.paused
        .fetch_and(!Paused::DOWN.bits(), Ordering::AcqRel);
    crate::sched::wake(cx.hv, vcpu, cx.cpu.id);
    Ok(0)
}

/// Takes a vCPU down; the last one that is up can't go.
fn down<M: Machine>(cx: &Cx<'_, M>, vcpu: &Arc<Vcpu<M>>) -> HcResult {
    // Under the list's lock, so that two vCPUs can't both be the last but one.
    let vcpus = cx.domain().vcpus.write();
    let others = vcpus
        .iter()
        .filter(|other| !Arc::ptr_eq(other, vcpu) && !is_down(other))
        .count();
    if others == 0 {
        drop(vcpus);
        // Nobody is left to bring any of them up again.
        crate::domain::shutdown(cx.cpu, cx.domain(), oxen_abi::sched::SHUTDOWN_POWEROFF);
        return Ok(0);
    }
    vcpu.paused.fetch_or(Paused::DOWN.bits(), Ordering::AcqRel);
    drop(vcpus);
    crate::sched::stop(cx.cpu, vcpu);
    Ok(0)
}

fn single_shot<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<SetSingleshotTimer>) -> HcResult {
    let request = arg.read(cx.machine())?;
    if request.flags & VCPU_SSHOTTMR_FUTURE != 0 && request.timeout_abs_ns < cx.machine().now() {
        return Err(Errno::ETIME.into());
    }
    if request.timeout_abs_ns <= cx.machine().now() {
        cancel(cx.hv, cx.vcpu, Kind::SingleShot);
        crate::event::send_virq(cx.hv, cx.vcpu, oxen_abi::xen::VIRQ_TIMER, cx.cpu.id);
    } else {
        arm(cx.cpu, cx.vcpu, Kind::SingleShot, request.timeout_abs_ns);
    }
    Ok(0)
}

/// The physical CPU of a pinned vCPU of dom0: APIC id and ACPI id. On a host with one CPU every vCPU
/// counts as pinned, as it does on Xen.
fn physid<M: Machine>(cx: &Cx<'_, M>, vcpu: &Vcpu<M>, arg: GuestHandle<GetPhysid>) -> HcResult {
    let cpu = vcpu
        .sched
        .pinned_to()
        .or_else(|| (cx.hv.cpu_count() == 1).then_some(CpuId(0)))
        .filter(|_| cx.domain().privileged)
        .ok_or(Errno::EINVAL)?;
    let (apic, acpi) = cx.machine().cpu_ids(cpu);
    arg.write(
        cx.machine(),
        &GetPhysid {
            phys_id: u64::from(apic) | u64::from(acpi) << 32,
        },
    )?;
    Ok(0)
}
