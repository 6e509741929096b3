//! set_trap_table, bounced exceptions and iret.

use oxen_abi::Errno;
use oxen_abi::arch_x86::{FLAT_KERNEL_CS, TrapInfo};
use oxen_abi::hypercall::HYPERVISOR_SET_TRAP_TABLE;

use super::version::{HYPERVISOR, UNMAPPED};
use super::{Outcome, Suite, ensure, good, same};
use crate::sys::probe::{self, Fault, Probe};
use crate::sys::{cpu, hypercall, trap};

/// The trap that a probe must have caused.
pub(crate) fn faulted<T: core::fmt::Debug>(probe: Probe<T>, vector: u64) -> Outcome<Fault> {
    match probe {
        Err(fault) if fault.vector == vector => Ok(fault),
        other => {
            ensure!(false, "want trap {vector:#x}, got {other:x?}");
            // `ensure!` has returned.
            Ok(Fault {
                vector,
                error: 0,
                address: 0,
                rip: 0,
                cs: 0,
                rflags: 0,
                rax: 0,
            })
        }
    }
}

fn set_table(table: &mut [TrapInfo]) -> hypercall::Result {
    hypercall::call(HYPERVISOR_SET_TRAP_TABLE, [hypercall::slice_address(table)])
}

pub(super) fn run(s: &mut Suite<'_>) {
    let installed = trap::install();
    s.check("set_trap_table/install", || {
        same!(installed, Ok(0));
        Ok(())
    });
    s.check("set_trap_table/bad_pointer", || {
        for address in [UNMAPPED, HYPERVISOR] {
            same!(
                hypercall::call(HYPERVISOR_SET_TRAP_TABLE, [address]),
                Err(Errno::EFAULT)
            );
        }
        Ok(())
    });
    s.check("set_trap_table/non_canonical_handler", || {
        let mut table = [
            TrapInfo {
                vector: 0x81,
                flags: 0,
                cs: FLAT_KERNEL_CS,
                address: 1 << 47,
                ..TrapInfo::default()
            },
            TrapInfo::default(),
        ];
        same!(set_table(&mut table), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("trap/int3", || {
        let before = cpu::rdtsc();
        let fault = faulted(probe::int3(), probe::BP)?;
        same!(fault.error, 0);
        same!(fault.cs & 0xffff, trap::KERNEL_CS);
        ensure!(fault.rip != 0, "RIP is 0");
        ensure!(cpu::rdtsc() >= before, "TSC went back");
        Ok(())
    });
    s.check("trap/int3_many", || {
        for _ in 0..1000 {
            faulted(probe::int3(), probe::BP)?;
        }
        Ok(())
    });
    s.check("trap/ud2", || {
        faulted(probe::ud2(), probe::UD)?;
        Ok(())
    });
    s.check("trap/divide", || {
        faulted(probe::divide_by_zero(), 0)?;
        Ok(())
    });
    s.check("trap/int80", || {
        faulted(probe::int80(), 0x80)?;
        Ok(())
    });
    s.check("trap/single_step", || {
        faulted(probe::single_step(), probe::DB)?;
        Ok(())
    });
    s.check("trap/page_fault_read", || {
        let fault = faulted(probe::read(UNMAPPED + 8), probe::PF)?;
        same!(fault.address, UNMAPPED + 8);
        // Not present, a read; the user bit is the hypervisor's affair in a guest kernel.
        same!(fault.error & !4, 0);
        same!(fault.error & 4, 0);
        Ok(())
    });
    s.check("trap/page_fault_write", || {
        let fault = faulted(probe::write(UNMAPPED + 16, 1), probe::PF)?;
        same!(fault.address, UNMAPPED + 16);
        same!(fault.error, 2);
        Ok(())
    });
    s.check("trap/page_fault_hypervisor_range", || {
        let fault = faulted(probe::read(HYPERVISOR), probe::PF)?;
        same!(fault.address, HYPERVISOR);
        faulted(probe::write(HYPERVISOR, 1), probe::PF)?;
        // The machine-to-physical table is readable only.
        good!(probe::read(oxen_abi::arch_x86::MACH2PHYS_VIRT_START));
        faulted(
            probe::write(oxen_abi::arch_x86::MACH2PHYS_VIRT_START, 1),
            probe::PF,
        )?;
        Ok(())
    });
    s.check("trap/cr2_by_instruction", || {
        faulted(probe::read(UNMAPPED + 24), probe::PF)?;
        same!(probe::read_cr2(), Ok(UNMAPPED + 24));
        Ok(())
    });
    s.check("trap/non_canonical_read", || {
        faulted(probe::read(1 << 47), probe::GP)?;
        Ok(())
    });
    s.check("trap/execute_unmapped", || {
        let fault = faulted(probe::call(UNMAPPED), probe::PF)?;
        same!(fault.address, UNMAPPED);
        same!(fault.rip, UNMAPPED);
        ensure!(fault.error & !0x14 == 0, "error {:#x}", fault.error);
        Ok(())
    });
    s.check("set_trap_table/missing_handler_is_kept", || {
        // A table without #UD leaves #UD's handler of before; null address ends the list.
        let mut table = [TrapInfo::default()];
        same!(set_table(&mut table), Ok(0));
        faulted(probe::ud2(), probe::UD)?;
        Ok(())
    });
    s.check("set_trap_table/mask_events", || {
        let mut table = trap::table(&[3]);
        good!(set_table(&mut table));
        let fault = faulted(probe::int3(), probe::BP)?;
        ensure!(
            fault.cs >> 32 & 0xff != 0,
            "the saved mask is lost: cs {:#x}",
            fault.cs
        );
        good!(trap::install());
        Ok(())
    });
}
