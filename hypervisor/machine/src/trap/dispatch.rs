//! Entries from a guest: to `core`, and what the way back is.

use oxen_abi::arch_x86::{CpuUserRegs, FLAT_RING3_CS64, FLAT_RING3_SS64};
use oxen_core::entry::{self, Exception};

use super::entry::word;
use super::vectors;
use crate::percpu::this_header;
use crate::x86::X86;

/// `core`'s data of this CPU.
pub(crate) fn core_cpu() -> &'static oxen_core::PerCpu<X86> {
    // SAFETY: this CPU's own header. The word is written once by `set_core_cpu` with a pointer that lives for ever,
    // before the CPU runs a guest or takes an interrupt.
    unsafe { &*((*this_header()).entry[word::CORE] as *const oxen_core::PerCpu<X86>) }
}

/// Gives this CPU its `core` data.
pub(crate) fn set_core_cpu(cpu: &'static oxen_core::PerCpu<X86>) {
    // SAFETY: this CPU's own header.
    unsafe { (*this_header()).entry[word::CORE] = core::ptr::from_ref(cpu) as u64 }
}

/// Whether `core` has data of this CPU yet.
pub(crate) fn has_core_cpu() -> bool {
    // SAFETY: this CPU's own header.
    unsafe { (*this_header()).entry[word::CORE] != 0 }
}

/// SYSCALL or SYSENTER. Returns whether SYSRET may end it.
pub(super) extern "C" fn on_syscall(regs: &mut CpuUserRegs) -> bool {
    entry::syscall(core_cpu(), regs);
    prepare(regs)
}

/// The first way out to a guest on this CPU.
pub(crate) extern "C" fn on_first_entry(regs: &mut CpuUserRegs) {
    entry::leave(core_cpu(), regs);
    prepare(regs);
}

/// An exception or an interrupt.
pub(super) extern "C" fn on_guest_trap(regs: &mut CpuUserRegs) {
    let cpu = core_cpu();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "gates have vectors below 256"
    )]
    let vector = regs.entry_vector as u8;
    match vector {
        0..32 | vectors::INT80 => {
            let cr2 = if u32::from(vector) == vectors::PAGE_FAULT {
                crate::control::cr2()
            } else {
                0
            };
            entry::exception(
                cpu,
                regs,
                Exception {
                    vector,
                    error: regs.error_code,
                    cr2,
                },
            );
        }
        _ => {
            crate::apic::interrupt(cpu, vector);
            entry::leave(cpu, regs);
        }
    }
    prepare(regs);
}

/// The IRETQ to the guest faulted: the frame's segments, address or stack are no good.
pub(super) extern "C" fn on_return_fault(regs: &mut CpuUserRegs) {
    let cpu = core_cpu();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "gates have vectors below 256"
    )]
    let vector = regs.entry_vector as u8;
    let cr2 = if u32::from(vector) == vectors::PAGE_FAULT {
        crate::control::cr2()
    } else {
        0
    };
    entry::return_fault(
        cpu,
        regs,
        Exception {
            vector,
            error: regs.error_code,
            cr2,
        },
    );
    entry::leave(cpu, regs);
    prepare(regs);
}

/// RFLAGS bits that a guest may have as it likes.
const GUEST_FLAGS: u64 = 0x0024_4dd5;
const INTERRUPTS: u64 = 1 << 9;
const TRAP: u64 = 1 << 8;
const RESUME: u64 = 1 << 16;

/// Makes the frame one that runs in ring 3 with interrupts on, whatever `core` put there, and says whether SYSRET gives
/// the same result as IRET.
#[inline]
fn prepare(regs: &mut CpuUserRegs) -> bool {
    // As SYSCALL left it, mostly: then there is nothing to mend.
    if regs.rcx == regs.rip
        && regs.r11 == regs.rflags
        && regs.cs == FLAT_RING3_CS64
        && regs.ss == FLAT_RING3_SS64
        && regs.rflags & !(GUEST_FLAGS & !TRAP) == INTERRUPTS | 2
        && is_canonical(regs.rip)
    {
        return true;
    }
    regs.cs |= 3;
    regs.ss |= 3;
    regs.rflags = sanitise(regs.rflags);
    false
}

/// Flags with which a guest runs: no I/O privilege, no virtual-8086 mode; interrupts on, bit 1 set. (Nested
/// task means nothing in ring 3, and every way in clears it.)
const fn sanitise(flags: u64) -> u64 {
    flags & (GUEST_FLAGS | RESUME) | INTERRUPTS | 2
}

/// Whether SYSRET may go there: to a non-canonical address Intel's faults in ring 0, with the guest's RSP.
const fn is_canonical(rip: u64) -> bool {
    (rip << 16).cast_signed() >> 16 == rip.cast_signed()
}
