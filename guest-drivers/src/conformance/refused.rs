//! Operations that read an argument, with one that is not mapped; operations that there are not;
//! and arguments of 32 bits with something in the upper half.

use oxen_abi::Errno;
use oxen_abi::hypercall::*;
use oxen_abi::mca;
use oxen_abi::platform as pf;
use oxen_abi::version::{XENVER_PAGESIZE, XENVER_VERSION};

use super::version::UNMAPPED;
use super::{Suite, ensure, good, same};
use crate::sys::hypercall;

/// Sub-operations that answer EFAULT, and those that answer ENOSYS, on both hypervisors.
struct Expected {
    name: &'static str,
    number: u64,
    faults: &'static [u64],
    unknown: &'static [u64],
}

const EXPECTED: &[Expected] = &[
    Expected {
        name: "memory_op",
        number: HYPERVISOR_MEMORY_OP,
        faults: &[
            3, 4, 5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 23, 24, 26, 27, 28,
        ],
        unknown: &[8, 20, 22, 29, 30, 31, 32, 33],
    },
    Expected {
        name: "event_channel_op",
        number: HYPERVISOR_EVENT_CHANNEL_OP,
        faults: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
        unknown: &[15, 16],
    },
    Expected {
        name: "physdev_op",
        number: HYPERVISOR_PHYSDEV_OP,
        faults: &[
            5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30,
            31,
        ],
        unknown: &[0, 1, 2, 3, 11, 18, 22, 32, 33],
    },
    Expected {
        name: "xen_version",
        number: HYPERVISOR_XEN_VERSION,
        faults: &[1, 2, 3, 4, 5, 6, 8, 9],
        unknown: &[11, 12, 13],
    },
    Expected {
        name: "callback_op",
        number: HYPERVISOR_CALLBACK_OP,
        faults: &[0, 1],
        unknown: &[2, 3],
    },
    Expected {
        name: "sched_op",
        number: HYPERVISOR_SCHED_OP,
        faults: &[2, 3, 4, 5, 6, 7],
        unknown: &[8, 9, 100],
    },
];

/// A call of the machine-check interface.
pub(crate) fn mca_call(cmd: u32, u: &mut [u64; 18]) -> hypercall::Result {
    mca_call_of(cmd, mca::XEN_MCA_INTERFACE_VERSION, u)
}

fn mca_call_of(cmd: u32, interface_version: u32, u: &mut [u64; 18]) -> hypercall::Result {
    let mut call = mca::Mc {
        cmd,
        interface_version,
        u: *u,
    };
    let result = hypercall::call(HYPERVISOR_ARCH_0, [hypercall::address(&mut call)]);
    *u = call.u;
    result
}

fn machine_checks(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("mca/processors", || {
        let mut u = [0; 18];
        let result = mca_call(mca::XEN_MC_PHYSCPUINFO, &mut u);
        if !privileged {
            same!(result, Err(Errno::EPERM));
            return Ok(());
        }
        same!(result, Ok(0));
        let count = u[0] & 0xffff_ffff;
        ensure!((1..=256).contains(&count), "{count} CPUs");
        // Room for all where that is possible: Xen 4.17 takes the count for its own buffer, which every processor then
        // writes to, and dies of it later when there are more than were asked for.
        let mut cpus = [mca::McLogicalCpu::default(); 4];
        let room = count.min(cpus.len() as u64);
        u = [0; 18];
        (u[0], u[1]) = (room, hypercall::slice_address(&mut cpus));
        same!(mca_call(mca::XEN_MC_PHYSCPUINFO, &mut u), Ok(0));
        same!(u[0] & 0xffff_ffff, room);
        let Some(mut cpu) = cpus.into_iter().find(|cpu| cpu.mc_cpunr == 0) else {
            return Err(super::Why::new(format_args!("no CPU 0")));
        };
        let leaf = crate::sys::cpu::cpuid(0, 0);
        same!(cpu.mc_vendorid[..4], leaf[1].to_le_bytes());
        ensure!(
            cpu.mc_ncores >= 1 && cpu.mc_family >= 5,
            "{:?}",
            cpu.mc_family
        );
        (u[0], u[1]) = (0, hypercall::address(&mut cpu));
        same!(
            mca_call(mca::XEN_MC_PHYSCPUINFO, &mut u),
            Err(Errno::EINVAL)
        );
        Ok(())
    });
    s.check("mca/fetch", || {
        if !privileged {
            super::skip!("for dom0");
        }
        let mut room = mca::McInfo::default();
        let mut u = [0; 18];
        u[2] = hypercall::address(&mut room);
        for urgency in [mca::XEN_MC_NONURGENT, mca::XEN_MC_URGENT] {
            u[0] = u64::from(urgency);
            same!(mca_call(mca::XEN_MC_FETCH, &mut u), Ok(0));
            same!(u[0] & 0xffff_ffff, u64::from(mca::XEN_MC_NODATA));
        }
        u[0] = 0;
        same!(mca_call(mca::XEN_MC_FETCH, &mut u), Err(Errno::EINVAL));
        u[0] = u64::from(mca::XEN_MC_NONURGENT);
        same!(
            mca_call_of(
                mca::XEN_MC_FETCH,
                mca::XEN_MCA_INTERFACE_VERSION + 1,
                &mut u
            ),
            Err(Errno::EACCES)
        );
        same!(mca_call(77, &mut u), Err(Errno::EINVAL));
        same!(
            mca_call(mca::XEN_MC_NOTIFYDOMAIN, &mut u),
            Err(Errno::EINVAL)
        );
        same!(
            hypercall::call(HYPERVISOR_ARCH_0, [UNMAPPED]),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("hypercall/arguments_not_mapped", || {
        if !privileged {
            super::skip!("for dom0");
        }
        for expected in EXPECTED {
            let lists = [
                (expected.faults, Errno::EFAULT),
                (expected.unknown, Errno::ENOSYS),
            ];
            for (ops, errno) in lists {
                for op in ops {
                    let result = hypercall::call(expected.number, [*op, UNMAPPED, UNMAPPED]);
                    ensure!(
                        result == Err(errno),
                        "{} {op}: {result:?}, want {errno:?}",
                        expected.name
                    );
                }
            }
        }
        for number in [HYPERVISOR_PLATFORM_OP, HYPERVISOR_SYSCTL, HYPERVISOR_DOMCTL] {
            same!(hypercall::call(number, [UNMAPPED]), Err(Errno::EFAULT));
        }
        Ok(())
    });
    s.check("hypercall/retired", || {
        for number in [
            HYPERVISOR_XSM_OP,
            HYPERVISOR_TMEM_OP,
            HYPERVISOR_ARGO_OP,
            HYPERVISOR_HVM_OP,
        ] {
            same!(hypercall::call(number, [99, UNMAPPED]), Err(Errno::ENOSYS));
        }
        same!(
            hypercall::call(HYPERVISOR_XENPMU_OP, [0, UNMAPPED]),
            Err(Errno::EOPNOTSUPP)
        );
        Ok(())
    });
    s.check("hypercall/no_answers_that_fail", || {
        // What is left of reservations that could not be read is what was done: nothing.
        for op in [0, 1, 6, 18, 19] {
            same!(hypercall::call(HYPERVISOR_MEMORY_OP, [op, UNMAPPED]), Ok(0));
        }
        same!(
            hypercall::call(HYPERVISOR_MEMORY_OP, [25, UNMAPPED]),
            Err(Errno::EOPNOTSUPP)
        );
        same!(
            hypercall::call(HYPERVISOR_XEN_VERSION, [u64::from(XENVER_PAGESIZE), 8]),
            Err(Errno::EINVAL)
        );
        same!(hypercall::call(HYPERVISOR_PHYSDEV_OP, [4, UNMAPPED]), Ok(0));
        Ok(())
    });
    s.check("hypercall/upper_halves_mean_nothing", || {
        const HIGH: u64 = 0xdead_beef << 32;
        let version = u64::from(XENVER_VERSION);
        same!(
            hypercall::call(HYPERVISOR_XEN_VERSION, [version | HIGH, 0]),
            hypercall::call(HYPERVISOR_XEN_VERSION, [version, 0])
        );
        same!(hypercall::call(HYPERVISOR_MULTICALL, [0, HIGH]), Ok(0));
        // VCPUOP_is_up of vCPU 0.
        same!(
            hypercall::call(HYPERVISOR_VCPU_OP, [3 | HIGH, HIGH, 0]),
            Ok(1)
        );
        good!(hypercall::call(HYPERVISOR_GET_DEBUGREG, [7 | HIGH]));
        same!(
            hypercall::call(HYPERVISOR_GET_DEBUGREG, [8 | HIGH]),
            Err(Errno::ENODEV)
        );
        // Without CR4.DE, 4 and 5 are names of 6 and 7.
        for (alias, register) in [(4, 6), (5, 7)] {
            same!(
                hypercall::call(HYPERVISOR_GET_DEBUGREG, [alias]),
                hypercall::call(HYPERVISOR_GET_DEBUGREG, [register])
            );
        }
        for number in [HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_CALLBACK_OP] {
            same!(
                hypercall::call(number, [HIGH, UNMAPPED]),
                Err(Errno::EFAULT)
            );
        }
        Ok(())
    });
    s.check("platform_op/read_memtype", || {
        if !privileged {
            super::skip!("for dom0");
        }
        let read = |reg: u32| {
            let mut call = pf::PlatformOp {
                cmd: pf::XENPF_READ_MEMTYPE,
                interface_version: pf::XENPF_INTERFACE_VERSION,
                ..pf::PlatformOp::default()
            };
            call.u[0] = u64::from(reg);
            let result = hypercall::call(HYPERVISOR_PLATFORM_OP, [hypercall::address(&mut call)]);
            result.map(|_| (call.u[2], call.u[3] & 0xffff_ffff))
        };
        let mut registers = 0;
        while let Ok((size, kind)) = read(registers) {
            ensure!(
                kind < 8 && size < 1 << 40,
                "{registers}: {size:#x} of {kind}"
            );
            registers += 1;
            ensure!(registers < 256, "no end");
        }
        ensure!(registers > 0, "no register");
        same!(read(registers), Err(Errno::EINVAL));
        same!(read(u32::MAX), Err(Errno::EINVAL));
        Ok(())
    });
    machine_checks(s);
}
