//! vcpu_op.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::domctl;
use oxen_abi::hypercall::HYPERVISOR_VCPU_OP;
use oxen_abi::sysctl::{PhysInfo, XEN_SYSCTL_PHYSINFO};
use oxen_abi::vcpu as abi;
use oxen_abi::xen::{CtlBitmap, XEN_PVCLOCK_TSC_STABLE_BIT};

use super::events::{bind_ipi, close, send, set_mask};
use super::timers::wait_for;
use super::version::{HYPERVISOR, UNMAPPED};
use super::{Outcome, Suite, ensure, good, same, skip, some};
use crate::domain::control::{on_domain, sysctl};
use crate::event;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, shared, vcpu};
use crate::time;

fn vcpu_op(cmd: u32, vcpu: u64, address: u64) -> hypercall::Result {
    hypercall::call(HYPERVISOR_VCPU_OP, [u64::from(cmd), vcpu, address])
}

fn first(s: &mut Suite<'_>) {
    s.check("vcpu_op/is_up", || {
        same!(vcpu_op(abi::VCPUOP_IS_UP, 0, 0), Ok(1));
        for vcpu in [0x1000, 1 << 31, u64::MAX] {
            same!(vcpu_op(abi::VCPUOP_IS_UP, vcpu, 0), Err(Errno::ENOENT));
        }
        Ok(())
    });
    s.check("vcpu_op/runstate", || {
        let mut info = abi::RunstateInfo::default();
        same!(
            vcpu_op(
                abi::VCPUOP_GET_RUNSTATE_INFO,
                0,
                hypercall::address(&mut info)
            ),
            Ok(0)
        );
        same!(info.state, abi::RUNSTATE_RUNNING);
        ensure!(info.time[0] > 0, "never ran");
        ensure!(
            info.time.iter().sum::<u64>() <= time::now(),
            "more than the time there is"
        );
        same!(
            vcpu_op(abi::VCPUOP_GET_RUNSTATE_INFO, 0, UNMAPPED),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
    s.check("vcpu_op/runstate_area", || {
        let area = Frame::new();
        area.fill(u64::MAX);
        let mut arg = abi::RegisterRunstateMemoryArea {
            addr: area.address(),
        };
        same!(
            vcpu_op(
                abi::VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA,
                0,
                hypercall::address(&mut arg)
            ),
            Ok(0)
        );
        // State in the first word, then its time: running since some time.
        same!(area.words32()[0].load(Ordering::Relaxed), 0);
        ensure!(
            area.words()[2].load(Ordering::Relaxed) != u64::MAX,
            "the area was not written"
        );
        let mut register = |addr| {
            arg.addr = addr;
            let address = hypercall::address(&mut arg);
            vcpu_op(abi::VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA, 0, address)
        };
        for addr in [HYPERVISOR, HYPERVISOR - 8, 1 << 47] {
            same!(register(addr), Err(Errno::EFAULT));
        }
        same!(register(0), Ok(0));
        Ok(())
    });
    s.check("vcpu_op/time_area", || {
        let area = Frame::new();
        let mut arg = abi::RegisterTimeMemoryArea {
            addr: area.address() + 64,
        };
        let result = vcpu_op(
            abi::VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA,
            0,
            hypercall::address(&mut arg),
        );
        same!(result, Ok(0));
        let here = time::read(shared::vcpu_time(area, 64));
        let there = time::now();
        ensure!(
            here <= there && there - here < 1_000_000_000,
            "{here} in the area, {there} in vcpu_info"
        );
        let mut register = |addr| {
            arg.addr = addr;
            let address = hypercall::address(&mut arg);
            vcpu_op(abi::VCPUOP_REGISTER_VCPU_TIME_MEMORY_AREA, 0, address)
        };
        for addr in [HYPERVISOR, HYPERVISOR - 8, 1 << 47] {
            same!(register(addr), Err(Errno::EFAULT));
        }
        same!(register(0), Ok(0));
        Ok(())
    });
    s.check("vcpu_op/register_vcpu_info_refused", || {
        let page = Frame::new();
        let register = |mfn: u64, offset: u32| {
            let mut arg = abi::RegisterVcpuInfo {
                mfn,
                offset,
                rsvd: 0,
            };
            vcpu_op(
                abi::VCPUOP_REGISTER_VCPU_INFO,
                0,
                hypercall::address(&mut arg),
            )
        };
        // It must not cross the page.
        same!(register(page.mfn(), 4096 - 32), Err(Errno::ENXIO));
        same!(register(page.mfn(), u32::MAX), Err(Errno::ENXIO));
        same!(register(super::mappings::NO_FRAME, 0), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("vcpu_op/register_vcpu_info", || {
        let page = Frame::new();
        let mut arg = abi::RegisterVcpuInfo {
            mfn: page.mfn(),
            offset: 128,
            rsvd: 0,
        };
        same!(
            vcpu_op(
                abi::VCPUOP_REGISTER_VCPU_INFO,
                0,
                hypercall::address(&mut arg)
            ),
            Ok(0)
        );
        shared::set_vcpu_info(0, page, 128);
        // Registering makes an event pending, lest one was missed; mask and time came along.
        let info = some!(shared::vcpu_info(0));
        same!(info.upcall_mask.load(Ordering::Relaxed), 1);
        same!(info.upcall_pending.load(Ordering::Relaxed), 1);
        let first = time::now();
        ensure!(first != 0, "no time in the new place");
        same!(
            vcpu_op(
                abi::VCPUOP_REGISTER_VCPU_INFO,
                0,
                hypercall::address(&mut arg)
            ),
            Err(Errno::EINVAL)
        );
        let port = good!(bind_ipi(0));
        set_mask(port, false)?;
        let before = event::count(port);
        good!(send(port));
        wait_for("the event", || event::count(port) == before + 1)?;
        good!(close(port));
        Ok(())
    });
    s.check("vcpu_op/unknown_and_bad_pointer", || {
        for cmd in [14, 100] {
            same!(vcpu_op(cmd, 0, 0), Err(Errno::ENOSYS));
        }
        for cmd in [
            abi::VCPUOP_SET_SINGLESHOT_TIMER,
            abi::VCPUOP_SET_PERIODIC_TIMER,
            abi::VCPUOP_REGISTER_VCPU_INFO,
            abi::VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA,
        ] {
            same!(vcpu_op(cmd, 0, UNMAPPED), Err(Errno::EFAULT));
        }
        Ok(())
    });
    s.check("vcpu_op/initialise_refused", || {
        let mut context = good!(vcpu::context());
        let address = hypercall::address(&mut context);
        same!(
            vcpu_op(abi::VCPUOP_INITIALISE, 0x1000, address),
            Err(Errno::ENOENT)
        );
        // vCPU 0 has its context already.
        same!(
            vcpu_op(abi::VCPUOP_INITIALISE, 0, address),
            Err(Errno::EEXIST)
        );
        Ok(())
    });
}

/// The CPUs, of the first 64, on which vCPU 0 may run.
pub(super) fn hard_affinity() -> Outcome<u64> {
    let mut bits = [0; 1];
    good!(affinity(domctl::XEN_DOMCTL_GETVCPUAFFINITY, 0, &mut bits));
    Ok(bits[0])
}

/// Sets them; `flags` of `XEN_VCPUAFFINITY_*` beside the hard map's.
pub(super) fn set_hard_affinity(mask: u64, flags: u32) -> hypercall::Result {
    affinity(domctl::XEN_DOMCTL_SETVCPUAFFINITY, flags, &mut [mask])
}

fn affinity(cmd: u32, flags: u32, bits: &mut [u64; 1]) -> hypercall::Result {
    let mut arg = domctl::VcpuAffinity {
        flags: flags | domctl::XEN_VCPUAFFINITY_HARD,
        cpumap_hard: CtlBitmap {
            bitmap: hypercall::slice_address(bits),
            nr_bits: 64,
            ..CtlBitmap::default()
        },
        ..domctl::VcpuAffinity::default()
    };
    on_domain(cmd, 0, &mut arg)
}

fn physid(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("vcpu_op/get_physid", || {
        let mut id = abi::GetPhysid::default();
        let mut ask = || vcpu_op(abi::VCPUOP_GET_PHYSID, 0, hypercall::address(&mut id));
        if !privileged {
            same!(ask(), Err(Errno::EINVAL));
            return Ok(());
        }
        let mut physical = PhysInfo::default();
        good!(sysctl(XEN_SYSCTL_PHYSINFO, &mut physical));
        let before = hard_affinity()?;
        // A vCPU that may run on several CPUs has none of its own.
        if physical.nr_cpus > 1 && before.count_ones() > 1 {
            same!(ask(), Err(Errno::EINVAL));
        }
        good!(set_hard_affinity(1, 0));
        let pinned = ask();
        let unmapped = vcpu_op(abi::VCPUOP_GET_PHYSID, 0, UNMAPPED);
        good!(set_hard_affinity(before, 0));
        same!(pinned, Ok(0));
        same!(unmapped, Err(Errno::EFAULT));
        // APIC id 0 of the boot CPU, and ACPI's number of it.
        same!(id.phys_id & 0xffff_ffff, 0);
        Ok(())
    });
    s.check("vcpu_op/get_physid_of_the_only_cpu", || {
        let mut physical = PhysInfo::default();
        if !privileged || sysctl(XEN_SYSCTL_PHYSINFO, &mut physical) != Ok(0) {
            skip!("dom0 only");
        }
        if physical.nr_cpus > 1 {
            skip!("the host has {} CPUs", physical.nr_cpus);
        }
        let mut id = abi::GetPhysid::default();
        same!(
            vcpu_op(abi::VCPUOP_GET_PHYSID, 0, hypercall::address(&mut id)),
            Ok(0)
        );
        Ok(())
    });
}

fn second(s: &mut Suite<'_>) {
    if vcpu_op(abi::VCPUOP_IS_UP, 1, 0) != Ok(0) {
        s.check("smp/second_vcpu", || skip!("the domain has one vCPU"));
        return;
    }
    let rounds = || vcpu::ROUNDS.load(Ordering::SeqCst);
    s.check("smp/second_vcpu", || {
        let mut context = good!(vcpu::context());
        context.user_regs.rip = 1 << 47;
        let address = hypercall::address(&mut context);
        same!(vcpu_op(abi::VCPUOP_UP, 1, 0), Err(Errno::EINVAL));
        let mut context = good!(vcpu::context());
        same!(
            vcpu_op(abi::VCPUOP_INITIALISE, 1, hypercall::address(&mut context)),
            Ok(0)
        );
        same!(
            vcpu_op(abi::VCPUOP_INITIALISE, 1, address),
            Err(Errno::EEXIST)
        );
        same!(vcpu_op(abi::VCPUOP_IS_UP, 1, 0), Ok(0));
        same!(vcpu_op(abi::VCPUOP_UP, 1, 0), Ok(0));
        same!(vcpu_op(abi::VCPUOP_IS_UP, 1, 0), Ok(1));
        wait_for("the second vCPU's first round", || rounds() > 0)
    });
    s.check("smp/time_of_both_agrees", || {
        // Monotonic over vCPUs where the hypervisor vouches for the TSCs; elsewhere (an emulator
        // with a thread for each processor) within what a guest can smooth out.
        let flags = some!(shared::vcpu_info(0))
            .time
            .flags
            .load(Ordering::SeqCst);
        let slack = if flags & XEN_PVCLOCK_TSC_STABLE_BIT != 0 {
            0
        } else {
            50_000_000
        };
        for _ in 0..1000 {
            let seen = rounds();
            wait_for("another round", || rounds() > seen)?;
            let there = vcpu::TIME.load(Ordering::SeqCst);
            let here = time::now();
            ensure!(
                there <= here + slack,
                "{there} on the other vCPU is after {here} here"
            );
        }
        Ok(())
    });
    s.check("smp/ipi", || {
        let port = good!(bind_ipi(1));
        set_mask(port, false)?;
        // It blocks now; only the event brings it round again.
        vcpu::COMMAND.store(1, Ordering::SeqCst);
        let before = event::count(port);
        for sent in 1..=100 {
            good!(send(port));
            wait_for("the event on the other vCPU", || {
                event::count(port) >= before + sent
            })?;
        }
        vcpu::COMMAND.store(0, Ordering::SeqCst);
        good!(send(port));
        let seen = rounds();
        wait_for("another round", || rounds() > seen)?;
        good!(close(port));
        Ok(())
    });
    super::roots::run(s);
    s.check("smp/down", || {
        vcpu::COMMAND.store(2, Ordering::SeqCst);
        wait_for("the vCPU to go down", || {
            vcpu_op(abi::VCPUOP_IS_UP, 1, 0) == Ok(0)
        })?;
        let seen = rounds();
        vcpu::COMMAND.store(0, Ordering::SeqCst);
        same!(vcpu_op(abi::VCPUOP_UP, 1, 0), Ok(0));
        wait_for("another round", || rounds() > seen)?;
        vcpu::COMMAND.store(2, Ordering::SeqCst);
        wait_for("the vCPU to go down", || {
            vcpu_op(abi::VCPUOP_IS_UP, 1, 0) == Ok(0)
        })
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    first(s);
    physid(s);
    second(s);
}
