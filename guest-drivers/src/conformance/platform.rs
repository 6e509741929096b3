//! platform_op, operation by operation.

use oxen_abi::Errno;
use oxen_abi::hypercall::{HYPERVISOR_PLATFORM_OP, HYPERVISOR_SCHED_OP};
use oxen_abi::platform as abi;
use oxen_abi::sched::{PinOverride, SCHEDOP_PIN_OVERRIDE};
use oxen_abi::sysctl::{PhysInfo, XEN_SYSCTL_PHYSINFO};
use oxen_abi::xen::VIRQ_PCPU_STATE;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::events::{bind_virq, close, let_in, set_mask};
use super::vcpus::{hard_affinity, set_hard_affinity};
use super::version::{UNMAPPED, is_oxen};
use super::{Outcome, Suite, Why, ensure, good, same};
use crate::cmdline::CommandLine;
use crate::domain::control;
use crate::event;
use crate::sys::{cpu, hypercall};
use crate::time::now;

/// A platform operation; the argument is read back.
pub(super) fn platform<T: FromBytes + IntoBytes + Immutable>(
    cmd: u32,
    arg: &mut T,
) -> hypercall::Result {
    let mut call = abi::PlatformOp {
        cmd,
        interface_version: abi::XENPF_INTERFACE_VERSION,
        ..abi::PlatformOp::default()
    };
    arg.write_to_prefix(call.u.as_mut_bytes())
        .map_err(|_| Errno::E2BIG)?;
    let result = hypercall::call(HYPERVISOR_PLATFORM_OP, [hypercall::address(&mut call)]);
    if let Ok((out, _)) = T::read_from_prefix(call.u.as_bytes()) {
        *arg = out;
    }
    result
}

fn processors(s: &mut Suite<'_>) {
    s.check("platform_op/get_cpu_version", || {
        let mut info = abi::PcpuVersion::default();
        same!(platform(abi::XENPF_GET_CPU_VERSION, &mut info), Ok(0));
        let [_, b, c, d] = cpu::cpuid(0, 0);
        let name = [b, d, c].map(u32::to_le_bytes);
        same!(info.vendor_id, *name.as_flattened());
        ensure!(info.family >= 5, "family {}", info.family);
        // Past the last one there is nothing to tell.
        info.xen_cpuid = info.max_present + 1;
        same!(platform(abi::XENPF_GET_CPU_VERSION, &mut info), Ok(0));
        same!((info.vendor_id, info.family), ([0; 12], 0));
        Ok(())
    });
    s.check("platform_op/idle_time", || {
        let (mut map, mut times) = ([u64::MAX], [0u64; 64]);
        let mut arg = abi::GetIdleTime {
            cpumap_bitmap: hypercall::slice_address(&mut map),
            cpumap_nr_cpus: 64,
            idletime: hypercall::slice_address(&mut times),
            ..abi::GetIdleTime::default()
        };
        let before = now();
        let result = platform(abi::XENPF_GETIDLETIME, &mut arg);
        if result == Err(Errno::ENOSYS) {
            super::skip!("Xen tells it only where dom0 drives frequencies");
        }
        same!(result, Ok(0));
        // The map is cut to what there is.
        ensure!(
            map[0] & 1 == 1 && map[0] != u64::MAX && arg.now >= before,
            "CPUs {:#x} at {}",
            map[0],
            arg.now
        );
        ensure!(times[0] <= arg.now, "{} idle of {}", times[0], arg.now);
        Ok(())
    });
    s.check("platform_op/unknown_processors", || {
        let mut info = abi::PcpuInfo {
            xen_cpuid: 4000,
            ..abi::PcpuInfo::default()
        };
        same!(platform(abi::XENPF_GET_CPUINFO, &mut info), Ok(0));
        same!(info.flags & abi::XEN_PCPU_FLAGS_INVALID, 2);
        Ok(())
    });
}

/// Whether a CPU runs vCPUs, and how many do.
fn in_service(cpu: u32) -> Outcome<(bool, u32)> {
    let mut info = abi::PcpuInfo {
        xen_cpuid: cpu,
        ..abi::PcpuInfo::default()
    };
    good!(platform(abi::XENPF_GET_CPUINFO, &mut info));
    let mut host = PhysInfo::default();
    good!(control::sysctl(XEN_SYSCTL_PHYSINFO, &mut host));
    Ok((info.flags & abi::XEN_PCPU_FLAGS_ONLINE != 0, host.nr_cpus))
}

/// Takes a CPU out of service and puts it back.
fn out_of_service(s: &mut Suite<'_>) {
    const SECOND: u32 = 1;
    let (offline, online) = (abi::XENPF_CPU_OFFLINE, abi::XENPF_CPU_ONLINE);
    let change = |cmd, cpuid| platform(cmd, &mut abi::CpuOl { cpuid });
    s.check("platform_op/cpu_offline_and_online", || {
        let (_, cpus) = in_service(0)?;
        if cpus < 2 {
            super::skip!("one CPU only");
        }
        let port = good!(bind_virq(VIRQ_PCPU_STATE, 0));
        set_mask(port, false)?;
        same!(change(online, SECOND), Ok(0));
        let_in();
        let before = event::count(port);
        // This vCPU may run nowhere else; then it must.
        let affinity = hard_affinity()?;
        same!(set_hard_affinity(1 << SECOND, 0), Ok(0));
        same!(change(offline, SECOND), Ok(0));
        same!(in_service(SECOND)?, (false, cpus - 1));
        let_in();
        let told = event::count(port) - before;
        same!(told, 1);
        same!(change(offline, SECOND), Ok(0));
        ensure!(hard_affinity()? & 1 == 1, "{:#x}", hard_affinity()?);
        same!(set_hard_affinity(1 << SECOND, 0), Err(Errno::EINVAL));
        let mut pin = PinOverride { pcpu: 1 };
        same!(
            hypercall::op(HYPERVISOR_SCHED_OP, SCHEDOP_PIN_OVERRIDE, &mut pin),
            Err(Errno::EINVAL)
        );

        same!(change(online, SECOND), Ok(0));
        same!(in_service(SECOND)?, (true, cpus));
        let_in();
        same!(event::count(port) - before, 2);
        same!(set_hard_affinity(1 << SECOND, 0), Ok(0));
        same!(set_hard_affinity(affinity, 0), Ok(0));
        good!(close(port));
        Ok(())
    });
    s.check("platform_op/first_cpu_stays", || {
        same!(change(offline, 0), Err(Errno::EOPNOTSUPP));
        same!(change(offline, 4000), Err(Errno::EINVAL));
        same!(change(online, 4000), Err(Errno::EINVAL));
        same!(change(online, 0), Ok(0));
        Ok(())
    });
}

fn power(s: &mut Suite<'_>) {
    s.check("platform_op/sleep_refused", || {
        const START: u16 = 1 << 13;
        let sleep = |sleep_state, val_a, val_b, flags| {
            let mut arg = abi::EnterAcpiSleep {
                val_a,
                val_b,
                sleep_state,
                flags,
            };
            platform(abi::XENPF_ENTER_ACPI_SLEEP, &mut arg)
        };
        for (state, a, b, flags) in [
            // No such state.
            (0, START, START, 0),
            (6, START, START, 0),
            (u32::MAX, START, START, 0),
            // Unknown flags.
            (5, START, START, 2),
            // One register would start to sleep and the other not: Xen does as it is told.
            (5, START, 0, 0),
            (5, 0, START, 0),
            (5, 0, 0, 0),
        ] {
            if state == 5 && flags == 0 && !is_oxen()? {
                continue;
            }
            ensure!(
                sleep(state, a, b, flags).is_err(),
                "S{state} with {a:#x}, {b:#x}, {flags}"
            );
        }
        Ok(())
    });
    s.check("platform_op/capabilities_of_processors", || {
        // _PDC: a revision, a number of words, the words.
        let mut buffer = [1u32, 1, 0xff];
        let pdc = |buffer: u64| {
            let mut arg = abi::SetProcessorPminfo {
                type_: abi::XEN_PM_PDC,
                ..abi::SetProcessorPminfo::default()
            };
            arg.u[0] = buffer;
            platform(abi::XENPF_SET_PROCESSOR_PMINFO, &mut arg)
        };
        same!(pdc(hypercall::slice_address(&mut buffer)), Ok(0));
        same!((buffer[0], buffer[1]), (1, 1));
        buffer[0] = 2;
        same!(
            pdc(hypercall::slice_address(&mut buffer)),
            Err(Errno::EINVAL)
        );
        same!(pdc(UNMAPPED), Err(Errno::EFAULT));
        let mut unknown = abi::SetProcessorPminfo {
            type_: 77,
            ..abi::SetProcessorPminfo::default()
        };
        ensure!(
            platform(abi::XENPF_SET_PROCESSOR_PMINFO, &mut unknown).is_err(),
            "an unknown kind"
        );
        Ok(())
    });
}

/// Reads symbol `number` into `name`.
fn symbol(number: u32, name: &mut [u8]) -> hypercall::Result<abi::SymData> {
    let mut data = abi::SymData {
        namelen: u32::try_from(name.len()).unwrap_or(u32::MAX),
        symnum: number,
        name: hypercall::slice_address(name),
        ..abi::SymData::default()
    };
    platform(abi::XENPF_GET_SYMBOL, &mut data)?;
    Ok(data)
}

fn states(s: &mut Suite<'_>) {
    let upload = |id, type_, words: &[u64]| {
        let mut arg = abi::SetProcessorPminfo {
            id,
            type_,
            ..abi::SetProcessorPminfo::default()
        };
        for (to, from) in arg.u.iter_mut().zip(words) {
            *to = *from;
        }
        platform(abi::XENPF_SET_PROCESSOR_PMINFO, &mut arg)
    };
    s.check("platform_op/states_of_unknown_processors", || {
        for type_ in [abi::XEN_PM_CX, abi::XEN_PM_PX] {
            same!(upload(4000, type_, &[]), Err(Errno::EINVAL));
        }
        same!(upload(0, abi::XEN_PM_TX, &[]), Err(Errno::ENOSYS));
        Ok(())
    });
    s.check("platform_op/states_of_processors", || {
        if !is_oxen()? {
            super::skip!("Xen would idle and change frequencies by what it is told");
        }
        let mut info = abi::PcpuInfo::default();
        good!(platform(abi::XENPF_GET_CPUINFO, &mut info));
        // A list of two, of none, one that is not there, and one that is too long.
        let mut idle = [abi::ProcessorCx::default(); 2];
        let list = hypercall::slice_address(&mut idle);
        let idle = |count, list| upload(info.acpi_id, abi::XEN_PM_CX, &[count, list]);
        same!(idle(2, list), Ok(0));
        same!(idle(0, UNMAPPED), Ok(0));
        same!(idle(1, UNMAPPED), Err(Errno::EFAULT));
        same!(idle(257, list), Err(Errno::EINVAL));
        let mut states = [abi::ProcessorPx::default(); 2];
        let mut performance = abi::ProcessorPerformance {
            flags: abi::XEN_PX_PSS,
            state_count: 2,
            states: hypercall::slice_address(&mut states),
            ..abi::ProcessorPerformance::default()
        };
        let mut speed = |states| {
            performance.states = states;
            let mut words = [0; 13];
            let _ = performance.write_to_prefix(words.as_mut_bytes());
            upload(info.acpi_id, abi::XEN_PM_PX, &words)
        };
        same!(speed(hypercall::slice_address(&mut states)), Ok(0));
        same!(speed(UNMAPPED), Err(Errno::EFAULT));
        Ok(())
    });
}

fn symbols(s: &mut Suite<'_>) {
    s.check("platform_op/get_symbol", || {
        let mut name = [0xffu8; 256];
        let first = symbol(0, &mut name).map_err(|e| Why::new(format_args!("{e}")))?;
        let length = name.iter().position(|byte| *byte == 0);
        same!(
            length.map(|length| length + 1),
            Some(first.namelen as usize)
        );
        same!((first.symnum, first.type_.to_ascii_uppercase()), (1, b'T'));
        ensure!(first.address >= 0xffff_8000_0000_0000, "{first:x?}");
        // Without room for all of it the whole length is told.
        let mut short = [0xffu8; 4];
        let again = symbol(0, short.get_mut(..2).unwrap_or_default());
        same!(again.map(|data| data.namelen), Ok(first.namelen));
        same!(short, [name[0], name[1], 0xff, 0xff]);
        // On to the end, where the number stays.
        let (mut number, mut last) = (0, 0);
        loop {
            let data = symbol(number, &mut name).map_err(|e| Why::new(format_args!("{e}")))?;
            if data.symnum == number {
                break;
            }
            ensure!(data.address >= last, "{data:x?} behind {last:#x}");
            (number, last) = (data.symnum, data.address);
        }
        ensure!(number > 100, "only {number} symbols");
        for beyond in [number + 1, u32::MAX] {
            same!(symbol(beyond, &mut name).err(), Some(Errno::ERANGE));
        }
        Ok(())
    });
    s.check("platform_op/get_symbol_nowhere", || {
        let mut data = abi::SymData {
            namelen: 64,
            name: UNMAPPED,
            ..abi::SymData::default()
        };
        same!(
            platform(abi::XENPF_GET_SYMBOL, &mut data),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
}

fn resources(s: &mut Suite<'_>) {
    const TSC: u64 = 0x10;
    let access = |cpu, count, entries: u64| {
        let mut arg = abi::ResourceOp {
            nr_entries: count,
            cpu,
            entries,
        };
        platform(abi::XENPF_RESOURCE_OP, &mut arg)
    };
    let entry = |cmd, idx| abi::ResourceEntry {
        cmd,
        idx,
        ..abi::ResourceEntry::default()
    };
    let refused = |errno: Errno| (-errno.0).cast_unsigned();
    s.check("platform_op/resource_op", || {
        let mut list = [entry(abi::XEN_RESOURCE_OP_MSR_READ, TSC); 2];
        let address = hypercall::slice_address(&mut list);
        same!(access(0, 2, address), Ok(2));
        same!(list.map(|entry| entry.cmd), [0, 0]);
        let [first, second] = list.map(|entry| entry.val);
        ensure!(0 < first && first <= second, "{first}, then {second}");
        same!(access(0, 0, UNMAPPED), Ok(0));
        same!(access(4000, 1, address), Err(Errno::ENODEV));
        same!(access(0, 1, UNMAPPED), Err(Errno::EFAULT));
        same!(access(0, 1000, address), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("platform_op/resource_op_refused", || {
        const EFER: u64 = 0xc000_0080;
        for (bad, errno) in [
            (entry(abi::XEN_RESOURCE_OP_MSR_READ, EFER), Errno::EPERM),
            (entry(abi::XEN_RESOURCE_OP_MSR_WRITE, EFER), Errno::EPERM),
            (entry(abi::XEN_RESOURCE_OP_MSR_WRITE, TSC), Errno::EPERM),
            (entry(2, TSC), Errno::EOPNOTSUPP),
        ] {
            let good = entry(abi::XEN_RESOURCE_OP_MSR_READ, TSC);
            let mut list = [good, bad];
            let address = hypercall::slice_address(&mut list);
            same!(
                (access(0, 2, address), bad.idx, bad.cmd),
                (Ok(1), bad.idx, bad.cmd)
            );
            same!(list.map(|entry| entry.cmd), [0, refused(errno)]);
            list = [bad, good];
            same!(access(0, 2, address), Ok(0));
            same!(list[0].cmd, refused(errno));
        }
        Ok(())
    });
}

fn others(s: &mut Suite<'_>) {
    s.check("platform_op/not_done", || {
        // Newer than 4.17, or numbers of nothing.
        for cmd in [0, 16, 18, 64, 65, 1000, u32::MAX] {
            same!(platform(cmd, &mut [0u64; 16]), Err(Errno::ENOSYS));
        }
        // With arguments that mean nothing; Xen has some of them, and then another word for that.
        for (cmd, errno) in [
            (abi::XENPF_EFI_RUNTIME_CALL, Errno::EOPNOTSUPP),
            (abi::XENPF_CHANGE_FREQ, Errno::ENOSYS),
            (abi::XENPF_CPU_HOTADD, Errno::ENOSYS),
            (abi::XENPF_MEM_HOTADD, Errno::ENOSYS),
        ] {
            let result = platform(cmd, &mut [u64::MAX; 16]);
            if is_oxen()? {
                same!((cmd, result), (cmd, Err(errno)));
            }
            ensure!(result.is_err(), "{cmd} with nonsense");
        }
        Ok(())
    });
    s.check("platform_op/set_time", || {
        let settime = |secs, nsecs| {
            let mut arg = abi::SetTime64 {
                secs,
                nsecs,
                system_time: now(),
                ..abi::SetTime64::default()
            };
            platform(abi::XENPF_SETTIME64, &mut arg)
        };
        let info = super::some!(crate::sys::shared::info());
        let wall = || u64::from(info.wc_sec.load(core::sync::atomic::Ordering::SeqCst));
        let seconds = now() / 1_000_000_000;
        let true_time = wall() + seconds;
        // A day later, and back.
        same!(settime(true_time + 86_400, 0), Ok(0));
        let later = wall() + seconds;
        same!(settime(true_time, 0), Ok(0));
        let back = wall() + seconds;
        ensure!(
            later.abs_diff(true_time + 86_400) <= 1 && back.abs_diff(true_time) <= 1,
            "{true_time}, then {later}, then {back}"
        );
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>, line: &CommandLine<'_>) {
    if s.privileged {
        processors(s);
        out_of_service(s);
        super::firmware::run(s, line);
        super::microcode::run(s);
        power(s);
        states(s);
        symbols(s);
        resources(s);
        others(s);
    }
}
