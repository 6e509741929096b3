//! Control registers, and which of the CPU's protections are on.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::cpuid::Features;

/// CR4 bits (SDM volume 3, 2.5).
const CR4_TSD: u64 = 1 << 2;
const CR4_DE: u64 = 1 << 3;
const CR4_PAE: u64 = 1 << 5;
const CR4_MCE: u64 = 1 << 6;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;

/// CR0: PG, AM, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8005_0033;
const CR0_TS: u64 = 1 << 3;

/// Whether SMAP is on, and with it whether STAC and CLAC exist. The entry code reads it.
#[unsafe(link_section = ".entry_data")]
pub(crate) static SMAP: AtomicBool = AtomicBool::new(false);

/// Sets this CPU's control registers. UMIP stays off: PV kernels and old user programs read the descriptor-table
/// registers. PGE stays off: a change of address space then forgets everything, the per-CPU windows included.
pub(crate) fn init() {
    let features = Features::get();
    let mut cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    for (present, bit) in [
        (features.xsave, CR4_OSXSAVE),
        (features.smep, CR4_SMEP),
        (features.smap, CR4_SMAP),
    ] {
        if present {
            cr4 |= bit;
        }
    }
    // SAFETY: every bit is one the CPU has. Paging stays as it is; SMEP and SMAP hold because the hypervisor neither
    // runs nor reads user pages outside of the guest copies, which look at `SMAP`.
    unsafe {
        asm!("mov cr0, {}", in(reg) CR0, options(nostack, preserves_flags));
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
    }
    SMAP.store(features.smap, Ordering::Release);
    make_lfence_serialise();
}

/// AMD's DE_CFG: LFENCE waits for all instructions before it.
const DE_CFG: u32 = 0xc001_1029;
const DE_CFG_LFENCE: u64 = 1 << 1;

/// Makes LFENCE what guests take it for, a barrier to speculation, where that is a matter of choice.
fn make_lfence_serialise() {
    if crate::cpuid::is_intel() {
        return;
    }
    if let Some(value) = crate::msr::try_read(DE_CFG).filter(|value| value & DE_CFG_LFENCE == 0) {
        // SAFETY: makes an instruction stricter.
        unsafe { crate::msr::try_write(DE_CFG, value | DE_CFG_LFENCE) };
    }
}

/// Bits that are the running guest's: what they do, they do in ring 3.
const CR4_GUEST: u64 = CR4_TSD | CR4_DE | CR4_FSGSBASE;

/// Makes the guest's bits of CR4 those of `value`, as far as this CPU has them.
pub(crate) fn set_guest_cr4(value: u64) {
    let mut allowed = CR4_GUEST;
    if !Features::get().fsgsbase {
        allowed &= !CR4_FSGSBASE;
    }
    let before = cr4();
    let after = (before & !CR4_GUEST) | (value & allowed);
    if after != before {
        // SAFETY: the CPU has the bits, which change what RDTSC, MOV to DR4 and DR5, and RDFSBASE and its kin do. The
        // hypervisor reads the TSC in ring 0, where it always may, does not use the second, and asks
        // `fsgsbase_is_on` before it uses the third.
        unsafe { asm!("mov cr4, {}", in(reg) after, options(nostack, preserves_flags)) }
    }
}

/// Whether RDFSBASE and its kin can be used now: the running guest has them on.
pub(crate) fn fsgsbase_is_on() -> bool {
    cr4() & CR4_FSGSBASE != 0
}

fn cr4() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

/// The address of the last page fault.
pub(crate) fn cr2() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

/// CR0, CR2, CR3 and CR4.
pub(crate) fn control_registers() -> [u64; 4] {
    let (cr0, cr3, cr4): (u64, u64, u64);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {}, cr0", "mov {}, cr3", "mov {}, cr4", out(reg) cr0, out(reg) cr3, out(reg) cr4,
             options(nomem, nostack, preserves_flags));
    }
    [cr0, cr2(), cr3, cr4]
}

/// Sets or clears CR0.TS.
pub(crate) fn set_ts(set: bool) {
    // SAFETY: TS only makes FPU instructions trap; the hypervisor clears it before its own.
    unsafe {
        if set {
            asm!("mov cr0, {}", in(reg) CR0 | CR0_TS, options(nostack, preserves_flags));
        } else {
            asm!("clts", options(nostack, preserves_flags));
        }
    }
}

/// Forgets this CPU's translations of one address.
pub(crate) fn invlpg(address: u64) {
    // SAFETY: drops cached translations only. A non-canonical address is a no-op.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) }
}

/// Forgets this CPU's translations but for the hypervisor's global ones, which never change.
pub(crate) fn flush_tlb() {
    // SAFETY: loads the value that is there.
    unsafe {
        asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
    }
}

/// Writes back and invalidates this CPU's caches.
pub(crate) fn wbinvd() {
    // SAFETY: slow, but changes nothing.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) }
}

/// Turns interrupts on until one has come. STI holds them off until HLT has begun, so that none is missed in between.
pub(crate) fn wait_for_interrupt() {
    crate::watchdog::set_waiting(true);
    // SAFETY: the handlers of interrupts in the hypervisor return here; `core` holds no lock while it waits.
    crate::speculation::while_idle(|| unsafe { asm!("sti", "hlt", "cli", options(nostack)) });
    crate::watchdog::set_waiting(false);
}
