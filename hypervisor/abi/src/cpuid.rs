//! The hypervisor's CPUID leaves (arch-x86/cpuid.h).
//!
//! Leaf +0: highest leaf in EAX, signature in EBX, ECX, EDX. +1: version, major in the high
//! half of EAX. +2: hypercall pages in EAX, MSR that installs them in EBX, features in ECX.
//! +3: TSC. +4: HVM. +5: in EBX bits 0 to 7 the width of machine addresses.

/// The first leaf.
pub const XEN_CPUID_FIRST_LEAF: u32 = 0x4000_0000;
/// `XenV`.
pub const XEN_CPUID_SIGNATURE_EBX: u32 = 0x566e_6558;
/// `MMXe`.
pub const XEN_CPUID_SIGNATURE_ECX: u32 = 0x6558_4d4d;
/// `nVMM`.
pub const XEN_CPUID_SIGNATURE_EDX: u32 = 0x4d4d_566e;
/// Leaf +2 ECX: `MMU_PT_UPDATE_PRESERVE_AD` works.
pub const XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD: u32 = 0x1;
/// Leaf +5 EBX: width of machine addresses.
pub const XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK: u32 = 0xff;
/// Number of the last leaf, relative to the first.
pub const XEN_CPUID_MAX_NUM_LEAVES: u32 = 5;
