//! What CPUID says to PV guests, in leaves that hardware has and in Xen's own.
//!
//! A feature is shown if the processor has it and it works for a program in ring 3 whose page tables,
//! interrupts and control registers are the hypervisor's. The masks below list those.

use oxen_abi::arch_x86::CpuUserRegs;
use oxen_abi::cpuid::{
    XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD, XEN_CPUID_FIRST_LEAF, XEN_CPUID_MAX_NUM_LEAVES,
    XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX, XEN_CPUID_SIGNATURE_EDX,
};

use super::control_register as cr;
use super::cpu_policy::CpuPolicy;
use super::msr;
use super::registers::low;
use crate::machine::Machine;
use crate::percpu::Cx;

/// EAX, EBX, ECX, EDX.
pub type Leaf = [u32; 4];

const NOTHING: Leaf = [0; 4];
/// The ABI's version: what `XENVER_version` says, major in the high half.
pub const ABI_VERSION: u32 = (4 << 16) | 17;

/// Highest basic leaf that is shown.
const MAX_BASIC: u32 = 0xd;
/// Highest extended leaf that is shown.
const MAX_EXTENDED: u32 = 0x8000_0008;

/// Leaf 1 ECX: SSE3 PCLMULQDQ SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND.
/// Not: MONITOR VMX EST PDCM PCID x2APIC TSC-deadline.
const BASIC_ECX: u32 = bits(&[0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 28, 29, 30]);
/// Leaf 0 EBX: "Auth".
const AMD: u32 = 0x6874_7541;
/// Leaf 1 EDX.
const SEP: u32 = 1 << 11;
const HYPERVISOR: u32 = 1 << 31;
const OSXSAVE: u32 = 1 << 27;
/// Leaf 1 EDX: FPU DE TSC MSR PAE MCE CX8 APIC SEP MCA CMOV PAT CLFLUSH MMX FXSR SSE SSE2 SS HTT.
/// Not: VME PSE MTRR PGE PSE36 ACPI.
const BASIC_EDX: u32 = bits(&[
    0, 2, 4, 5, 6, 7, 8, 9, 11, 14, 15, 16, 19, 23, 24, 25, 26, 27, 28,
]);
/// Leaf 7 EBX: FSGSBASE BMI1 AVX2 BMI2 ERMS AVX512F AVX512DQ RDSEED ADX AVX512IFMA CLFLUSHOPT CLWB
/// AVX512CD SHA AVX512BW AVX512VL. Not: SMEP SMAP INVPCID, TSX, MPX, PT, SGX.
const SEVEN_EBX: u32 = bits(&[0, 3, 5, 8, 9, 16, 17, 18, 19, 21, 23, 24, 28, 29, 30, 31]);
/// Leaf 7 ECX: AVX512VBMI AVX512VBMI2 GFNI VAES VPCLMULQDQ AVX512VNNI AVX512BITALG VPOPCNTDQ RDPID
/// CLDEMOTE MOVDIRI MOVDIR64B. Not: UMIP PKU LA57 CET.
const SEVEN_ECX: u32 = bits(&[1, 6, 8, 9, 10, 11, 12, 14, 22, 25, 27, 28]);
/// Leaf 7 EDX: FSRM MD_CLEAR SERIALIZE.
const SEVEN_EDX: u32 = bits(&[4, 10, 14]);
/// Leaf 7.1 EAX: AVX-VNNI AVX512BF16 FZRM FSRS FSRCS.
const SEVEN_ONE_EAX: u32 = bits(&[4, 5, 10, 11, 12]);
/// State components: x87 SSE AVX and AVX-512's three. The machine opens the same in XCR0.
const COMPONENTS: u32 = 0xe7;
/// Leaf 0xd.1 EAX: XSAVEOPT XSAVEC XGETBV1.
const XSAVE_KINDS: u32 = 7;
const XSAVEC: u32 = 1 << 1;
/// Leaf 0x80000001 ECX: LAHF CMPLEGACY LZCNT SSE4A misaligned-SSE PREFETCHW XOP FMA4 TBM.
/// Not: SVM IBS SKINIT TOPOEXT perf counters, nor DBEXT, whose mask could widen a breakpoint to the
/// hypervisor's own addresses.
const EXTENDED_ECX: u32 = bits(&[0, 1, 5, 6, 7, 8, 11, 16, 21]);
/// Leaf 0x80000001 EDX, beside the copies of leaf 1's: SYSCALL NX MMXEXT FFXSR RDTSCP LM 3DNOWEXT 3DNOW.
const EXTENDED_EDX: u32 = bits(&[11, 20, 22, 25, 27, 29, 30, 31]);
/// Bits of leaf 1 EDX that AMD repeats in 0x80000001.
const REPEATED_EDX: u32 = 0x0183_f3ff;
/// Leaf 0x80000001 EDX.
const RDTSCP: u32 = 1 << 27;
/// Leaf 0x80000007 EDX: invariant TSC.
const INVARIANT_TSC: u32 = 1 << 8;
/// Leaf 0x80000008 EBX: CLZERO, error pointers saved. Not: WBNOINVD.
const EIGHT_EBX: u32 = bits(&[0, 2]);
/// Leaf 0x80000008 ECX on AMD's processors: cores of a package less one, width of a core's number, width of the performance
/// TSC. Linux 6.12 counts packages by these, and takes the TSCs of several for unsynchronised.
const EIGHT_ECX: u32 = 0x0003_f0ff;
/// Bits of a virtual address.
const LINEAR_BITS: u32 = 48;

const fn bits(list: &[u32]) -> u32 {
    let mut mask = 0;
    let mut at = 0;
    while at < list.len() {
        mask |= 1 << list[at];
        at += 1;
    }
    mask
}

/// What the answer depends on beside the processor.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The domain may see the host's invariant TSC: it never moves to another host.
    pub stays: bool,
    /// The guest has set CR4.OSXSAVE.
    pub osxsave: bool,
    /// TSC frequency in kHz.
    pub tsc_khz: u32,
    /// Significant bits of the highest frame's address.
    pub machine_bits: u32,
    /// What the tools have chosen for the domain.
    pub wanted: &'a CpuPolicy,
}

/// Executes CPUID for the running vCPU.
pub(super) fn emulate<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) {
    let machine = cx.machine();
    let wanted = cx.domain().cpu_policy.read();
    let view = View {
        stays: cx.domain().privileged,
        osxsave: cr::cr4(cx) & cr::CR4_OSXSAVE != 0,
        tsc_khz: u32::try_from(machine.tsc_khz()).unwrap_or(u32::MAX),
        machine_bits: machine_bits(machine),
        wanted: &wanted,
    };
    let host = |leaf, subleaf| machine.cpuid(leaf, subleaf);
    let [a, b, c, d] = policy(host, &view, low(regs.rax), low(regs.rcx));
    regs.rax = u64::from(a);
    regs.rbx = u64::from(b);
    regs.rcx = u64::from(c);
    regs.rdx = u64::from(d);
}

/// Width of machine addresses: what the highest frame needs.
fn machine_bits<M: Machine>(machine: &M) -> u32 {
    let last = machine.max_frame().0.saturating_sub(1);
    u64::BITS - last.leading_zeros() + crate::types::PAGE_SHIFT
}

/// A guest's answer, from the processor's.
pub fn policy(host: impl Fn(u32, u32) -> Leaf, view: &View<'_>, leaf: u32, subleaf: u32) -> Leaf {
    let full = match leaf {
        0..=MAX_BASIC => basic(host, view, leaf, subleaf),
        0x4000_0000..=0x4000_00ff => xen(host, view, leaf - XEN_CPUID_FIRST_LEAF, subleaf),
        0x8000_0000..=MAX_EXTENDED => extended(host, view, leaf),
        _ => NOTHING,
    };
    view.wanted.narrow(leaf, subleaf, full)
}

fn basic(host: impl Fn(u32, u32) -> Leaf, view: &View<'_>, leaf: u32, subleaf: u32) -> Leaf {
    let highest = host(0, 0)[0].min(MAX_BASIC);
    if leaf > highest {
        return NOTHING;
    }
    let [a, b, c, d] = host(leaf, subleaf);
    match leaf {
        0 => [highest, b, c, d],
        1 => {
            let mut c = (c & BASIC_ECX) | HYPERVISOR;
            if view.osxsave && c & (1 << 26) != 0 {
                c |= OSXSAVE;
            }
            // No APIC id: a guest's vCPUs have none of the host's.
            // SYSENTER is not for long mode on AMD's processors.
            let sysenter = if host(0, 0)[1] == AMD { SEP } else { 0 };
            [a, b & 0x00ff_ffff, c, d & BASIC_EDX & !sysenter]
        }
        2 | 4 => [a, b, c, d],
        7 if subleaf == 0 => [a.min(1), b & SEVEN_EBX, c & SEVEN_ECX, d & SEVEN_EDX],
        7 if subleaf == 1 => [a & SEVEN_ONE_EAX, 0, 0, 0],
        0xd => xsave(
            [a, b, c, d],
            host,
            view.wanted.components(COMPONENTS),
            subleaf,
        ),
        _ => NOTHING,
    }
}

fn xsave(found: Leaf, host: impl Fn(u32, u32) -> Leaf, components: u32, subleaf: u32) -> Leaf {
    let components = host(0xd, 0)[0] & components;
    let [a, b, _, d] = found;
    match subleaf {
        _ if components == 0 => NOTHING,
        // EBX is what XCR0, which is the guest's own, needs now; ECX what all components need.
        0 => [components, b, area_size(&host, components), 0],
        // EBX is the size in the compacted format, where there is one.
        1 => [a & XSAVE_KINDS, if a & XSAVEC != 0 { b } else { 0 }, 0, 0],
        2..=31 if components & (1 << subleaf) != 0 => [a, b, 0, d],
        _ => NOTHING,
    }
}

/// Bytes of an XSAVE area, standard format.
fn area_size(host: impl Fn(u32, u32) -> Leaf, components: u32) -> u32 {
    (2..32)
        .filter(|n| components & (1 << n) != 0)
        .map(|n| {
            let [size, offset, ..] = host(0xd, n);
            size.saturating_add(offset)
        })
        .fold(512 + 64, u32::max)
}

fn extended(host: impl Fn(u32, u32) -> Leaf, view: &View<'_>, leaf: u32) -> Leaf {
    let highest = host(0x8000_0000, 0)[0];
    if highest < 0x8000_0000 || leaf > highest.min(MAX_EXTENDED) {
        return NOTHING;
    }
    let [a, b, c, d] = host(leaf, 0);
    match leaf {
        0x8000_0000 => [highest.min(MAX_EXTENDED), b, c, d],
        0x8000_0001 => [
            a,
            b,
            c & EXTENDED_ECX,
            d & (EXTENDED_EDX | (BASIC_EDX & REPEATED_EDX)),
        ],
        0x8000_0002..=0x8000_0006 => [a, b, c, d],
        0x8000_0007 if view.stays => [0, 0, 0, d & INVARIANT_TSC],
        // Address widths are the host's: guests have machine addresses in their page tables.
        // But they have four levels of them, whatever the host could have.
        0x8000_0008 => {
            let linear = (a >> 8 & 0xff).min(LINEAR_BITS);
            let cores = if host(0, 0)[1] == AMD {
                c & EIGHT_ECX
            } else {
                0
            };
            [a & 0xff | linear << 8, b & EIGHT_EBX, cores, 0]
        }
        _ => NOTHING,
    }
}

/// Xen's own leaves.
fn xen(host: impl Fn(u32, u32) -> Leaf, view: &View<'_>, leaf: u32, subleaf: u32) -> Leaf {
    match (leaf, subleaf) {
        (0, _) => [
            XEN_CPUID_FIRST_LEAF + XEN_CPUID_MAX_NUM_LEAVES,
            XEN_CPUID_SIGNATURE_EBX,
            XEN_CPUID_SIGNATURE_ECX,
            XEN_CPUID_SIGNATURE_EDX,
        ],
        (1, _) => [ABI_VERSION, 0, 0, 0],
        // One hypercall page, written by this MSR.
        (2, _) => [
            1,
            msr::HYPERCALL_PAGE,
            XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD,
            0,
        ],
        // The TSC is native: mode 0, its frequency, never moved.
        (3, 0) => {
            let has_rdtscp = host(0x8000_0001, 0)[3] & RDTSCP != 0;
            [u32::from(has_rdtscp) << 2, 0, view.tsc_khz, 0]
        }
        (3, 2) => [view.tsc_khz, 0, 0, 0],
        (5, 0) => [0, view.machine_bits, 0, 0],
        _ => NOTHING,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::{BASIC_ECX, BASIC_EDX, CpuPolicy, Leaf, NOTHING, View, policy};

    static NO_CHOICE: CpuPolicy = CpuPolicy::new();
    const VIEW: View<'static> = View {
        stays: false,
        osxsave: false,
        tsc_khz: 2_000_000,
        machine_bits: 32,
        wanted: &NO_CHOICE,
    };

    /// A processor that has everything.
    fn everything(leaf: u32, _subleaf: u32) -> Leaf {
        match leaf {
            0 => [0x20, 0x6874_7541, 0x444d_4163, 0x6974_6e65],
            0x8000_0000 => [0x8000_001f, 0, 0, 0],
            _ => [u32::MAX; 4],
        }
    }

    #[test]
    fn xen_is_seen() {
        let [a, b, c, d] = policy(everything, &VIEW, 0x4000_0000, 0);
        assert_eq!(a, 0x4000_0005);
        let name: Vec<u8> = [b, c, d]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(name, b"XenVMMXenVMM");
        assert_eq!(policy(everything, &VIEW, 0x4000_0001, 0)[0], 0x4_0011);
        assert_eq!(policy(everything, &VIEW, 0x4000_0005, 0)[1], 32);
    }

    #[test]
    fn what_a_pv_guest_cannot_have_is_hidden() {
        let [_, b, c, d] = policy(everything, &VIEW, 1, 0);
        assert_eq!(b >> 24, 0);
        // PSE, MTRR, PGE; MONITOR, PCID, x2APIC, OSXSAVE.
        assert_eq!(d & ((1 << 3) | (1 << 12) | (1 << 13)), 0);
        assert_eq!(c & ((1 << 3) | (1 << 17) | (1 << 21) | (1 << 27)), 0);
        assert_eq!(c & (1 << 31), 1 << 31);
        let view = View {
            osxsave: true,
            ..VIEW
        };
        assert_ne!(policy(everything, &view, 1, 0)[2] & (1 << 27), 0);
        // SMEP, SMAP, INVPCID.
        assert_eq!(policy(everything, &VIEW, 7, 0)[1] & 0x0010_0480, 0);
        assert_eq!(policy(everything, &VIEW, 0x8000_0001, 0)[2] & 4, 0);
        assert_eq!(policy(everything, &VIEW, 0x8000_0007, 0), NOTHING);
        assert_eq!(
            policy(
                everything,
                &View {
                    stays: true,
                    ..VIEW
                },
                0x8000_0007,
                0
            )[3],
            0x100
        );
    }

    #[test]
    fn an_old_processor_shows_no_more_than_it_has() {
        let old = |leaf: u32, _| if leaf == 0 { [1, 0, 0, 0] } else { [0; 4] };
        assert_eq!(policy(old, &VIEW, 7, 0), NOTHING);
        assert_eq!(policy(old, &VIEW, 0x8000_0001, 0), NOTHING);
        assert_eq!(policy(old, &VIEW, 1, 0), [0, 0, 1 << 31, 0]);
    }

    proptest! {
        #[test]
        fn only_what_the_processor_has(leaf in 0u32..0x20, subleaf in 0u32..40, seed: u32) {
            let host = |l: u32, s: u32| {
                if l == 0 { [0x20, 0, 0, 0] } else { [seed ^ l, seed.rotate_left(s), !seed, seed] }
            };
            let shown = policy(host, &VIEW, leaf, subleaf);
            if leaf == 1 {
                prop_assert_eq!(shown[3] & !(seed & BASIC_EDX), 0);
                prop_assert_eq!(shown[2] & !(!seed & BASIC_ECX | 1 << 31), 0);
            }
        }
    }
}
