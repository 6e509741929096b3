//! CPUID with the forced-emulation prefix, as PV kernels ask.

use oxen_abi::cpuid as abi;

use super::{Suite, ensure, good, same, skip};
use crate::sys::{cpu, probe};

/// Leaf 1 EDX: PSE, PSE36.
const EDX_HIDDEN: u32 = 1 << 3 | 1 << 17;
/// Leaf 1 EDX, what programs and caches are about alone: FPU, CMPXCHG8B, CMOV, CLFLUSH, MMX, FXSAVE, SSE, SSE2, self-snoop.
const EDX_SHOWN: u32 = 1 | 1 << 8 | 1 << 15 | 1 << 19 | 0x1f << 23;
/// Leaf 1 ECX: MONITOR, VMX, PCID, x2APIC.
const ECX_HIDDEN: u32 = 1 << 3 | 1 << 5 | 1 << 17 | 1 << 21;
/// Leaf 1 EDX: what is of use outside of long mode only on AMD's processors (SYSENTER).
const EDX_SEP: u32 = 1 << 11;
/// Leaf 0 EBX: "Auth".
const AMD: u32 = 0x6874_7541;
/// Leaf 0x80000008 ECX: cores of a package less one, width of a core's number, width of the performance TSC.
const CORES: u32 = 0x0003_f0ff;
const ECX_XSAVE: u32 = 1 << 26;
const ECX_OSXSAVE: u32 = 1 << 27;
const CR4_OSXSAVE: u64 = 1 << 18;

pub(super) fn run(s: &mut Suite<'_>) {
    s.check("cpuid/hidden_features", || {
        let [_, _, c, d] = good!(probe::cpuid(1, 0));
        same!((c & ECX_HIDDEN, d & EDX_HIDDEN), (0, 0));
        if good!(probe::cpuid(0, 0))[1] == AMD {
            same!(d & EDX_SEP, 0);
        }
        Ok(())
    });
    s.check("cpuid/shown_features", || {
        let [.., found] = cpu::cpuid(1, 0);
        let [.., shown] = good!(probe::cpuid(1, 0));
        same!(shown & EDX_SHOWN, found & EDX_SHOWN);
        Ok(())
    });
    s.check("cpuid/osxsave_follows_cr4", || {
        let [_, _, c, _] = good!(probe::cpuid(1, 0));
        if c & ECX_XSAVE == 0 {
            skip!("the host has no XSAVE");
        }
        let before = good!(probe::read_cr4());
        good!(probe::write_cr4(before | CR4_OSXSAVE));
        let [_, _, c, _] = good!(probe::cpuid(1, 0));
        same!(c & ECX_OSXSAVE, ECX_OSXSAVE);
        same!(probe::read_cr4(), Ok(before | CR4_OSXSAVE));
        good!(probe::write_cr4(before));
        Ok(())
    });
    let privileged = s.privileged;
    s.check("cpuid/time_leaf", || {
        let leaf = abi::XEN_CPUID_FIRST_LEAF + 3;
        // The TSC is the host's and was never another host's (Xen emulates a guest's where CPUs may
        // disagree); Xen tells dom0 no frequency of it.
        let [features, mode, khz, moves] = good!(probe::cpuid(leaf, 0));
        if privileged {
            same!((features & 1, mode, moves), (0, 0, 0));
        }
        let [_, _, _, d] = good!(probe::cpuid(0x8000_0001, 0));
        same!(features >> 2 & 1, d >> 27 & 1);
        let [host, ..] = good!(probe::cpuid(leaf, 2));
        ensure!(
            host > 100_000 && (khz == 0 || khz == host),
            "{host} and {khz} kHz"
        );
        if features & 1 == 0 {
            same!(probe::cpuid(leaf, 1), Ok([0; 4]));
        }
        // No such sub-leaf.
        same!(probe::cpuid(leaf, 3), Ok([0; 4]));
        Ok(())
    });
    s.check("cpuid/width_of_addresses", || {
        // Bits of a machine address that a PV guest may meet; the leaf before it is for HVM.
        let [highest, ..] = good!(probe::cpuid(abi::XEN_CPUID_FIRST_LEAF, 0));
        same!(probe::cpuid(abi::XEN_CPUID_FIRST_LEAF + 4, 0), Ok([0; 4]));
        if highest < abi::XEN_CPUID_FIRST_LEAF + 5 {
            skip!("the leaf is not there");
        }
        let [_, width, ..] = good!(probe::cpuid(abi::XEN_CPUID_FIRST_LEAF + 5, 0));
        ensure!((30..=52).contains(&(width & 0xff)), "{width} bits");
        // Page tables of four levels.
        let [a, ..] = good!(probe::cpuid(0x8000_0008, 0));
        same!(a >> 8 & 0xff, 48);
        Ok(())
    });
    s.check("cpuid/cores_of_a_package", || {
        if good!(probe::cpuid(0, 0))[1] != AMD {
            skip!("not one of AMD's processors");
        }
        // Without CPUID faulting the plain instruction shows what the processor has.
        let [_, _, host, _] = cpu::cpuid(0x8000_0008, 0);
        let [_, _, shown, _] = good!(probe::cpuid(0x8000_0008, 0));
        same!(shown, host & CORES);
        Ok(())
    });
}
