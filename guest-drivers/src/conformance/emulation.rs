//! Privileged instructions that the hypervisor emulates for a PV kernel.

use core::sync::atomic::Ordering;

use oxen_abi::arch_x86::PTE_ADDR_MASK;
use oxen_abi::cpuid as abi;
use oxen_abi::hypercall::{
    HYPERVISOR_FPU_TASKSWITCH, HYPERVISOR_PHYSDEV_OP, HYPERVISOR_XEN_VERSION,
};
use oxen_abi::physdev::{PHYSDEVOP_SET_IOPL, SetIopl};
use oxen_abi::version::XENVER_VERSION;

use super::traps::faulted;
use super::{Suite, ensure, good, same, some};
use crate::sys::frame::{Frame, m2p};
use crate::sys::{self, cpu, frame, hypercall, probe, shared};

/// CPUID leaf 1 ECX: features that a PV guest must not see, or must.
const ECX_MONITOR: u32 = 1 << 3;
const ECX_PCID: u32 = 1 << 17;
const ECX_HYPERVISOR: u32 = 1 << 31;

const MSR_TSC: u32 = 0x10;
const MSR_PAT: u32 = 0x277;
const MSR_EFER: u32 = 0xc000_0080;
const MSR_FS_BASE: u32 = 0xc000_0100;
const FSGSBASE: u64 = 1 << 16;
/// Any base.
const BASE: u64 = 0x1234_5000;
/// WB WT UC- UC WC WP UC UC, from the lowest byte.
const XEN_PAT: u64 = 0x0000_0501_0007_0406;

fn cpuid_checks(s: &mut Suite<'_>) {
    s.check("cpuid/hypervisor_leaves", || {
        let [highest, b, c, d] = good!(probe::cpuid(abi::XEN_CPUID_FIRST_LEAF, 0));
        ensure!(
            (2..=abi::XEN_CPUID_MAX_NUM_LEAVES)
                .contains(&highest.wrapping_sub(abi::XEN_CPUID_FIRST_LEAF)),
            "highest leaf {highest:#x}"
        );
        same!(
            [b, c, d],
            [
                abi::XEN_CPUID_SIGNATURE_EBX,
                abi::XEN_CPUID_SIGNATURE_ECX,
                abi::XEN_CPUID_SIGNATURE_EDX
            ]
        );
        let [version, ..] = good!(probe::cpuid(abi::XEN_CPUID_FIRST_LEAF + 1, 0));
        same!(
            hypercall::call(HYPERVISOR_XEN_VERSION, [u64::from(XENVER_VERSION), 0]),
            Ok(u64::from(version))
        );
        let [pages, msr, features, _] = good!(probe::cpuid(abi::XEN_CPUID_FIRST_LEAF + 2, 0));
        same!(pages, 1);
        same!(msr, 0x4000_0000);
        ensure!(
            features & abi::XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD != 0,
            "features {features:#x}"
        );
        Ok(())
    });
    s.check("cpuid/leaf_1", || {
        let [_, _, c, _] = good!(probe::cpuid(1, 0));
        ensure!(c & ECX_HYPERVISOR != 0, "no hypervisor bit in {c:#x}");
        ensure!(
            c & (ECX_MONITOR | ECX_PCID) == 0,
            "MONITOR or PCID in {c:#x}"
        );
        Ok(())
    });
    s.check("cpuid/beyond_the_end", || {
        let [highest, ..] = good!(probe::cpuid(0, 0));
        ensure!((1..0x100).contains(&highest), "highest leaf {highest:#x}");
        // Whatever is returned, it returns.
        for leaf in [highest + 1, 0x4000_0100, 0x7fff_ffff, 0x8000_1000, u32::MAX] {
            good!(probe::cpuid(leaf, u32::MAX));
        }
        Ok(())
    });
    s.check("cpuid/plain_instruction", || {
        // With CPUID faulting it is emulated, without it runs on the processor.
        let [highest, ..] = cpu::cpuid(0, 0);
        ensure!(highest >= 1, "highest leaf {highest:#x}");
        Ok(())
    });
}

fn register_checks(s: &mut Suite<'_>) {
    s.check("emulation/cr0", || {
        let cr0 = good!(probe::read_cr0());
        // PE, PG and WP are how a PV guest runs.
        same!(cr0 & 0x8001_0001, 0x8001_0001);
        good!(probe::write_cr0(cr0));
        same!(probe::read_cr0(), Ok(cr0));
        Ok(())
    });
    s.check("emulation/cr0_ts", || {
        let cr0 = good!(probe::read_cr0());
        good!(probe::write_cr0(cr0 | 8));
        same!(good!(probe::read_cr0()) & 8, 8);
        good!(probe::clts());
        same!(good!(probe::read_cr0()) & 8, 0);
        Ok(())
    });
    s.check("emulation/cr3", || {
        let cr3 = good!(probe::read_cr3());
        let pfn = some!(m2p(cr3 >> 12));
        same!(frame::address_of_pfn(pfn), sys::start_info().pt_base);
        same!(cr3 & !PTE_ADDR_MASK, 0);
        Ok(())
    });
    s.check("emulation/cr4", || {
        let cr4 = good!(probe::read_cr4());
        // PAE.
        ensure!(cr4 & 0x20 != 0, "cr4 {cr4:#x}");
        good!(probe::write_cr4(cr4));
        same!(probe::read_cr4(), Ok(cr4));
        Ok(())
    });
    s.check("emulation/cr4_fsgsbase", || {
        let [_, features, ..] = good!(probe::cpuid(7, 0));
        let cr4 = good!(probe::read_cr4());
        if features & 1 == 0 {
            good!(probe::write_cr4(cr4 | FSGSBASE));
            same!(good!(probe::read_cr4()) & FSGSBASE, 0);
            return Ok(());
        }
        // push rax; rdfsbase rax; pop rax; ret
        let code = Frame::new();
        code.words()[0].store(0xc358_c0ae_0f48_f350, Ordering::SeqCst);
        let off = cr4 & !FSGSBASE;
        good!(probe::write_cr4(off));
        same!(probe::read_cr4(), Ok(off));
        let without = probe::call(code.address());
        good!(probe::write_cr4(off | FSGSBASE));
        let seen = probe::read_cr4();
        let with = probe::call(code.address());
        good!(probe::write_cr4(cr4));
        faulted(without, probe::UD)?;
        same!(seen, Ok(off | FSGSBASE));
        good!(with);
        Ok(())
    });
    s.check("emulation/bases_and_fsgsbase", || {
        let cr4 = good!(probe::read_cr4());
        // A base set with the bit in one state is the same in the other.
        for (set, then) in [(0, FSGSBASE), (FSGSBASE, 0)] {
            good!(probe::write_cr4((cr4 & !FSGSBASE) | set));
            let wrote = probe::wrmsr(MSR_FS_BASE, BASE + set);
            good!(probe::write_cr4((cr4 & !FSGSBASE) | then));
            let read = probe::rdmsr(MSR_FS_BASE);
            let cleared = probe::wrmsr(MSR_FS_BASE, 0);
            good!(probe::write_cr4(cr4));
            good!(wrote);
            good!(cleared);
            same!(read, Ok(BASE + set));
        }
        Ok(())
    });
    s.check("emulation/msr_reads", || {
        let efer = good!(probe::rdmsr(MSR_EFER));
        // SCE, LME, LMA, NXE.
        same!(efer & 0xd01, 0xd01);
        same!(probe::rdmsr(MSR_PAT), Ok(XEN_PAT));
        let before = cpu::rdtsc_ordered();
        let by_msr = good!(probe::rdmsr(MSR_TSC));
        let after = cpu::rdtsc_ordered();
        ensure!(
            (before..=after).contains(&by_msr),
            "TSC {by_msr:#x} between {before:#x} and {after:#x}"
        );
        Ok(())
    });
    s.check("emulation/msr_unknown", || {
        faulted(probe::rdmsr(0xdead_beef), probe::GP)?;
        faulted(probe::wrmsr(0xdead_beef, 0), probe::GP)?;
        Ok(())
    });
    s.check("emulation/fs_and_gs_base", || {
        good!(probe::wrmsr(MSR_FS_BASE, BASE));
        same!(probe::rdmsr(MSR_FS_BASE), Ok(BASE));
        faulted(probe::wrmsr(MSR_FS_BASE, 1 << 47), probe::GP)?;
        same!(probe::rdmsr(MSR_FS_BASE), Ok(BASE));
        good!(probe::wrmsr(MSR_FS_BASE, 0));
        Ok(())
    });
    s.check("emulation/invlpg", || {
        // Xen refuses it since 4.11: guests have the hypercall.
        match probe::invlpg(frame::VIRT_BASE) {
            Ok(()) => {}
            Err(fault) => same!(fault.vector, probe::GP),
        }
        Ok(())
    });
    s.check("emulation/fpu_taskswitch", || {
        same!(hypercall::call(HYPERVISOR_FPU_TASKSWITCH, [1]), Ok(0));
        faulted(probe::sse_nop(), probe::NM)?;
        // The trap cleared TS, as an #NM handler would want it.
        good!(probe::sse_nop());
        same!(hypercall::call(HYPERVISOR_FPU_TASKSWITCH, [1]), Ok(0));
        same!(hypercall::call(HYPERVISOR_FPU_TASKSWITCH, [0]), Ok(0));
        good!(probe::fpu_nop());
        Ok(())
    });
    s.check("emulation/xmm_survives_hypercalls", || {
        let pattern = 0x0123_4567_89ab_cdef;
        cpu::set_xmm(pattern);
        for _ in 0..100 {
            good!(hypercall::call(HYPERVISOR_XEN_VERSION, [0, 0]));
            faulted(probe::int3(), probe::BP)?;
        }
        same!(cpu::get_xmm(), [pattern, pattern]);
        Ok(())
    });
}

fn io_checks(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("emulation/interrupt_flag", || {
        let vcpu = some!(shared::vcpu_info(0));
        let mask = || vcpu.upcall_mask.load(Ordering::Relaxed);
        same!(
            hypercall::op(
                HYPERVISOR_PHYSDEV_OP,
                PHYSDEVOP_SET_IOPL,
                &mut SetIopl { iopl: 1 }
            ),
            Ok(0)
        );
        // They are let pass and do nothing: the event mask is the virtual flag.
        same!(mask(), 1);
        good!(probe::sti());
        same!(mask(), 1);
        good!(probe::cli());
        same!(mask(), 1);
        Ok(())
    });
    s.check("emulation/iopl_refuses", || {
        same!(
            hypercall::op(
                HYPERVISOR_PHYSDEV_OP,
                PHYSDEVOP_SET_IOPL,
                &mut SetIopl { iopl: 4 }
            ),
            Err(oxen_abi::Errno::EINVAL)
        );
        Ok(())
    });
    s.check("emulation/port_io", || {
        // Iopl 1 as the check above left it: the kernel may ask, the domain's ports decide.
        if privileged {
            // NMI status port, then the POST port.
            good!(probe::inb(0x61));
            good!(probe::outb(0x80, 0));
        } else {
            same!(probe::inb(0x80), Ok(0xff));
        }
        // The hypervisor's own: PIC and the serial port of its console read as all ones.
        same!(probe::inb(0x20), Ok(0xff));
        Ok(())
    });
    s.check("emulation/port_io_without_iopl", || {
        same!(
            hypercall::op(
                HYPERVISOR_PHYSDEV_OP,
                PHYSDEVOP_SET_IOPL,
                &mut SetIopl { iopl: 0 }
            ),
            Ok(0)
        );
        faulted(probe::inb(0x80), probe::GP)?;
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    cpuid_checks(s);
    register_checks(s);
    io_checks(s);
}
