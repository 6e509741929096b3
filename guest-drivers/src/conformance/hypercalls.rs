//! Getting in and out at all.

use oxen_abi::Errno;
use oxen_abi::hypercall::{HYPERVISOR_MULTICALL, HYPERVISOR_XEN_VERSION};
use oxen_abi::version::XENVER_VERSION;

use super::{Suite, ensure, good, same};
use crate::sys::{cpu, hypercall};

pub(super) fn run(s: &mut Suite<'_>) {
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
