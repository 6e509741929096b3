//! What the CPU has.

use core::arch::x86_64::{__cpuid_count, CpuidResult};

/// Features that this crate makes use of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// XSAVE and XGETBV.
    pub(crate) xsave: bool,
    /// XSAVEOPT.
    pub(crate) xsaveopt: bool,
    /// RDFSBASE and its like.
    pub(crate) fsgsbase: bool,
    /// Supervisor-mode execution prevention.
    pub(crate) smep: bool,
    /// Supervisor-mode access prevention.
    pub(crate) smap: bool,
    /// x2APIC mode.
    pub(crate) x2apic: bool,
    /// The LAPIC timer takes a TSC deadline.
    pub(crate) tsc_deadline: bool,
}

impl Features {
    /// Asks the CPU that runs this, once: CPUs are alike.
    pub(crate) fn get() -> Self {
        static FEATURES: spin::Once<Features> = spin::Once::new();
        *FEATURES.call_once(Self::read)
    }

    fn read() -> Self {
        let bit = |register: u32, bit: u32| register & (1 << bit) != 0;
        let basic = cpuid(1, 0);
        let highest = cpuid(0, 0).eax;
        let extended = if highest >= 7 { cpuid(7, 0) } else { NOTHING };
        let xsave = if highest >= 13 { cpuid(13, 1) } else { NOTHING };
        Self {
            xsave: bit(basic.ecx, 26) && highest >= 13,
            xsaveopt: bit(xsave.eax, 0),
            fsgsbase: bit(extended.ebx, 0),
            smep: bit(extended.ebx, 7),
            smap: bit(extended.ebx, 20),
            x2apic: bit(basic.ecx, 21),
            tsc_deadline: bit(basic.ecx, 24),
        }
    }
}

const NOTHING: CpuidResult = CpuidResult {
    eax: 0,
    ebx: 0,
    ecx: 0,
    edx: 0,
};

/// Whether the CPU is Intel's.
pub(crate) fn is_intel() -> bool {
    cpuid(0, 0).ebx == u32::from_le_bytes(*b"Genu")
}

/// CPUID.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}
