//! CPU policy and TSC mode of a domain.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Arguments of the CPU policy operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuPolicy {
    /// In and out: CPUID leaves.
    pub nr_leaves: u32,
    /// In and out: MSRs.
    pub nr_msrs: u32,
    /// Handle of [`crate::arch_x86::CpuidLeaf`].
    pub leaves: u64,
    /// Handle of [`crate::arch_x86::MsrEntry`].
    pub msrs: u64,
    /// Out: offending leaf, or all ones.
    pub err_leaf: u32,
    /// Out: offending subleaf, or all ones.
    pub err_subleaf: u32,
    /// Out: offending MSR, or all ones.
    pub err_msr: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(CpuPolicy, 40, {nr_leaves @ 0, nr_msrs @ 4, leaves @ 8, msrs @ 16, err_leaf @ 24, err_subleaf @ 28, err_msr @ 32});

/// Arguments of the TSC operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct TscInfo {
    /// 0: default, 1: always emulated, 2: never emulated.
    pub tsc_mode: u32,
    /// Guest's TSC frequency.
    pub gtsc_khz: u32,
    /// Number of migrations.
    pub incarnation: u32,
    /// Zero.
    pub pad: u32,
    /// Nanoseconds of guest time.
    pub elapsed_nsec: u64,
}
crate::layout!(TscInfo, 24, {tsc_mode @ 0, gtsc_khz @ 4, incarnation @ 8, pad @ 12, elapsed_nsec @ 16});
