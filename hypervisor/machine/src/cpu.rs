//! What the boot needs to know of a CPU, and the page attributes that every CPU has to agree on.

use raw_cpuid::CpuId;
use x86_64::registers::model_specific::Msr;

/// IA32_PAT.
const MSR_PAT: u32 = 0x277;
/// WB, WT, UC-, UC, WC, WP, UC, UC: the order that Linux finds under Xen and reads back from the MSR.
pub const PAT: u64 = 0x0000_0501_0007_0406;

/// Sets this CPU's page attribute table. Every CPU does this before it touches device memory.
pub(crate) fn set_pat() {
    // SAFETY: every 64-bit CPU has the MSR; entry 0 stays write-back, which is what all mappings so far use.
    unsafe { Msr::new(MSR_PAT).write(PAT) }
}

/// Whether the CPU has 1 GiB pages.
pub(crate) fn has_huge_pages() -> bool {
    CpuId::new()
        .get_extended_processor_and_feature_identifiers()
        .is_some_and(|f| f.has_1gib_pages())
}

/// How many bits a physical address has here.
pub(crate) fn physical_address_bits() -> u32 {
    static BITS: spin::Once<u32> = spin::Once::new();
    // CPUID 8000_0008h: EAX bits 0-7 (AMD64 APM vol. 3, appendix E; SDM vol. 2, CPUID).
    *BITS.call_once(|| (core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff).clamp(36, 52))
}
