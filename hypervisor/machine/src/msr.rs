//! Model-specific registers.

use core::arch::{asm, global_asm};

use crate::num::low32;

unsafe extern "C" {
    /// Reads MSR `msr` into `*value`; returns 0, or 1 if the CPU refused.
    fn oxen_rdmsr(msr: u32, value: *mut u64) -> u32;
    /// Writes MSR `msr`; returns 0, or 1 if the CPU refused.
    fn oxen_wrmsr(msr: u32, low: u32, high: u32) -> u32;
}

global_asm!(
    r#"
    .section .text.msr, "ax", @progbits
    .global oxen_rdmsr
oxen_rdmsr:
    mov ecx, edi
2:  rdmsr
    mov [rsi], eax
    mov [rsi + 4], edx
    xor eax, eax
    ret
3:  mov eax, 1
    ret
    .pushsection .extable, "a"
    .quad 2b, 3b
    .popsection

    .global oxen_wrmsr
oxen_wrmsr:
    mov ecx, edi
    mov eax, esi
2:  wrmsr
    xor eax, eax
    ret
3:  mov eax, 1
    ret
    .pushsection .extable, "a"
    .quad 2b, 3b
    .popsection
    .text
    "#
);

/// Reads an MSR; `None` where the CPU refuses.
pub(crate) fn try_read(msr: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: reading an MSR changes no memory; a refusal is recovered from.
    (unsafe { oxen_rdmsr(msr, &raw mut value) } == 0).then_some(value)
}

/// Writes an MSR; `false` where the CPU refuses.
///
/// # Safety
/// The value must not take away what Rust code relies on (the entry points, paging, the page attribute table).
pub(crate) unsafe fn try_write(msr: u32, value: u64) -> bool {
    // SAFETY: by the caller's promise; a refusal is recovered from.
    unsafe { oxen_wrmsr(msr, low32(value), low32(value >> 32)) == 0 }
}

/// Reads an MSR that the CPU is known to have.
pub(crate) fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading an MSR changes no memory. One that does not exist ends in a dump, not in harm.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    (u64::from(high) << 32) | u64::from(low)
}

/// Writes an MSR that the CPU is known to have.
///
/// # Safety
/// As [`try_write`].
pub(crate) unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: by the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") low32(value), in("edx") low32(value >> 32),
             options(nostack, preserves_flags));
    }
}

/// MSRs on which the hypervisor's own safety rests: `core` may not write them (SDM volume 4).
const fn is_sensitive(msr: u32) -> bool {
    matches!(
        msr,
        0x1b // APIC_BASE
            | 0x48 | 0x49 // SPEC_CTRL, PRED_CMD
            | 0x79 // BIOS_UPDT_TRIG
            | 0x174..=0x176 // SYSENTER
            | 0x1d9 // DEBUGCTL
            | 0x277 // PAT
            | 0x600 // DS_AREA
            | 0x6e0 // TSC_DEADLINE
            | 0x800..=0x8ff // x2APIC
            | 0xc000_0080..=0xc000_0084 // EFER, STAR, LSTAR, CSTAR, FMASK
            | 0xc001_0020 // PATCH_LOADER
    )
}

/// IA32_TIME_STAMP_COUNTER.
const TSC: u32 = 0x10;

/// Reads an MSR for `core`; `None` where the CPU refuses. The TSC is read by its own instruction, for
/// emulators have it there only.
pub(crate) fn read_for_core(msr: u32) -> Option<u64> {
    if msr == TSC {
        Some(crate::clock::rdtsc())
    } else {
        try_read(msr)
    }
}

/// IA32_TSC_AUX, written at each switch of vCPUs.
pub(crate) const TSC_AUX: u32 = 0xc000_0103;

/// Writes an MSR for `core`, if that cannot hurt the hypervisor and the CPU takes it.
pub(crate) fn write_for_core(msr: u32, value: u64) -> bool {
    if msr == TSC_AUX && crate::trap::tsc_aux() == value {
        return true;
    }
    // SAFETY: not one that the hypervisor's memory or entry points depend on.
    let written = !is_sensitive(msr) && unsafe { try_write(msr, value) };
    if written && msr == TSC_AUX {
        crate::trap::set_tsc_aux(value);
    }
    written
}
