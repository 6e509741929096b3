//! The MSRs behind SYSCALL and SYSENTER.

use super::descriptors::{CODE_SELECTOR, SYSRET_BASE};
use super::entry;
use crate::msr::{TSC_AUX, rdmsr, try_write, wrmsr};
use crate::percpu::{PerCpu, RSP0_OFFSET};

const EFER: u32 = 0xc000_0080;
const EFER_SCE: u64 = 1;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const FMASK: u32 = 0xc000_0084;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;

/// RFLAGS bits that SYSCALL clears: TF, IF, DF, IOPL, NT, RF, AC.
const MASKED_FLAGS: u64 = 0x0005_7700;

/// Points this CPU's system-call instructions at the entry code.
pub(super) fn set(cpu: &PerCpu) {
    let block = cpu.stack_block();
    let (long, compat) = entry::syscall_stubs(block);
    // SAFETY: the stubs are mapped in this CPU's block, and lead to entry code that saves everything.
    unsafe {
        wrmsr(
            STAR,
            (u64::from(SYSRET_BASE) << 48) | (u64::from(CODE_SELECTOR) << 32),
        );
        wrmsr(LSTAR, long);
        wrmsr(CSTAR, compat);
        wrmsr(FMASK, MASKED_FLAGS);
        wrmsr(SYSENTER_CS, u64::from(CODE_SELECTOR));
        wrmsr(SYSENTER_ESP, block + RSP0_OFFSET);
        wrmsr(SYSENTER_EIP, entry::sysenter());
        wrmsr(EFER, rdmsr(EFER) | EFER_SCE);
        // As `write_for_core` believes it to be; some CPUs have not got it.
        try_write(TSC_AUX, 0);
    }
}
