//! Getting in and out at all.

use oxen_abi::Errno;
use oxen_abi::hypercall::*;
use oxen_abi::version::XENVER_VERSION;
use oxen_abi::xen::DOMID_SELF;

use super::version::{UNMAPPED, is_oxen};
use super::{Suite, ensure, good, same};
use crate::sys::{cpu, hypercall};

const SELF: u64 = DOMID_SELF as u64;

/// Calls that a hypervisor carries out or refuses for their arguments, which do no harm. Those
/// that would (`stack_switch`, `set_callbacks`, `iret`) have checks of their own.
const CALLS: &[(u64, [u64; 4])] = &[
    (HYPERVISOR_SET_TRAP_TABLE, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_MMU_UPDATE, [UNMAPPED, 1, 0, SELF]),
    (HYPERVISOR_SET_GDT, [UNMAPPED, 1, 0, 0]),
    (HYPERVISOR_FPU_TASKSWITCH, [0; 4]),
    (HYPERVISOR_SCHED_OP_COMPAT, [0; 4]),
    (HYPERVISOR_PLATFORM_OP, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_SET_DEBUGREG, [9, 0, 0, 0]),
    (HYPERVISOR_GET_DEBUGREG, [7, 0, 0, 0]),
    (HYPERVISOR_UPDATE_DESCRIPTOR, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_MEMORY_OP, [2, 0, 0, 0]),
    (HYPERVISOR_MULTICALL, [0; 4]),
    (HYPERVISOR_UPDATE_VA_MAPPING, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_SET_TIMER_OP, [0; 4]),
    (HYPERVISOR_EVENT_CHANNEL_OP_COMPAT, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_XEN_VERSION, [0; 4]),
    (HYPERVISOR_CONSOLE_IO, [0; 4]),
    (HYPERVISOR_PHYSDEV_OP_COMPAT, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_GRANT_TABLE_OP, [0, UNMAPPED, 1, 0]),
    (HYPERVISOR_VM_ASSIST, [0, 63, 0, 0]),
    (
        HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN,
        [UNMAPPED, 0, 0, 0x1234],
    ),
    (HYPERVISOR_VCPU_OP, [3, 0, 0, 0]),
    (HYPERVISOR_SET_SEGMENT_BASE, [0, 1 << 47, 0, 0]),
    (HYPERVISOR_MMUEXT_OP, [UNMAPPED, 1, 0, SELF]),
    (HYPERVISOR_NMI_OP, [0, UNMAPPED, 0, 0]),
    (HYPERVISOR_SCHED_OP, [0; 4]),
    (HYPERVISOR_CALLBACK_OP, [0, UNMAPPED, 0, 0]),
    (HYPERVISOR_EVENT_CHANNEL_OP, [4, UNMAPPED, 0, 0]),
    (HYPERVISOR_PHYSDEV_OP, [12, UNMAPPED, 0, 0]),
    (HYPERVISOR_SYSCTL, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_DOMCTL, [UNMAPPED, 0, 0, 0]),
    (HYPERVISOR_ARCH_0, [UNMAPPED, 0, 0, 0]),
];

/// Calls of which no operation with this number is there, whatever else there is of them.
const REFUSED: &[u64] = &[
    HYPERVISOR_XSM_OP,
    HYPERVISOR_XENOPROF_OP,
    HYPERVISOR_HVM_OP,
    HYPERVISOR_KEXEC_OP,
    HYPERVISOR_TMEM_OP,
    HYPERVISOR_ARGO_OP,
    HYPERVISOR_XENPMU_OP,
    HYPERVISOR_DM_OP,
    HYPERVISOR_HYPFS_OP,
    // How Xen continues a domctl; no guest makes it.
    HYPERVISOR_ARCH_1,
];

pub(super) fn run(s: &mut Suite<'_>) {
    s.check("hypercall/all_numbers", || {
        let elsewhere = [
            HYPERVISOR_STACK_SWITCH,
            HYPERVISOR_SET_CALLBACKS,
            HYPERVISOR_IRET,
        ];
        for number in (0..64).filter(|number| !elsewhere.contains(number)) {
            if let Some((_, arguments)) = CALLS.iter().find(|(call, _)| *call == number) {
                let result = hypercall::call(number, *arguments);
                ensure!(result != Err(Errno::ENOSYS), "number {number} is not there");
                continue;
            }
            let result = hypercall::call(number, [99, UNMAPPED, UNMAPPED]);
            if number == HYPERVISOR_KEXEC_OP && !is_oxen()? {
                // Xen takes any operation with nothing to unload.
                continue;
            }
            if REFUSED.contains(&number) {
                ensure!(result.is_err(), "number {number} gives {result:?}");
            } else {
                ensure!(
                    result == Err(Errno::ENOSYS),
                    "number {number} gives {result:?}"
                );
            }
        }
        Ok(())
    });
    s.check("hypercall/syscall", || {
        good!(hypercall::call(
            HYPERVISOR_XEN_VERSION,
            [u64::from(XENVER_VERSION), 0]
        ));
        Ok(())
    });
    s.check("hypercall/keeps_registers", || {
        ensure!(
            cpu::hypercall_keeps_registers(HYPERVISOR_XEN_VERSION),
            "a register other than RAX, RCX, R11 changed"
        );
        Ok(())
    });
    s.check("hypercall/page", || {
        let by_page = cpu::hypercall_page(HYPERVISOR_XEN_VERSION, [u64::from(XENVER_VERSION), 0]);
        same!(
            hypercall::decode(by_page),
            hypercall::call(HYPERVISOR_XEN_VERSION, [u64::from(XENVER_VERSION), 0])
        );
        Ok(())
    });
    // Holes in the table, its end, and numbers that a table must not be indexed with.
    s.check("hypercall/unknown_numbers", || {
        for number in [
            11,
            43,
            47,
            50,
            55,
            56,
            57,
            63,
            64,
            127,
            128,
            1000,
            1 << 31,
            1 << 32,
        ] {
            ensure!(
                hypercall::call(number, [0, 0]) == Err(Errno::ENOSYS),
                "number {number} gives {:?}",
                hypercall::call(number, [0, 0])
            );
        }
        same!(hypercall::call(u64::MAX, [0]), Err(Errno::ENOSYS));
        Ok(())
    });
    s.check("hypercall/number_is_32_bits_or_refused", || {
        // Linux passes 32 bits; a number with high bits must not reach another call's handler.
        let high = HYPERVISOR_MULTICALL | 1 << 40;
        ensure!(
            hypercall::call(high, [0, 0]).is_ok_and(|r| r == 0)
                || hypercall::call(high, [0, 0]) == Err(Errno::ENOSYS),
            "multicall with bit 40 gives {:?}",
            hypercall::call(high, [0, 0])
        );
        Ok(())
    });
}
