//! What becomes of a guest's exceptions and system calls.

use oxen_abi::arch_x86::{CpuUserRegs, FLAT_USER_CS, FLAT_USER_SS, XEN_EMULATE_PREFIX};

use super::bounce::{bounce, inject};
use super::deliver::target;
use super::state::CallbackKind;
use super::{ENTRY_SYSCALL32, ENTRY_SYSENTER, control_register, debug, page_fault, privileged};
use crate::entry::Exception;
use crate::error::Stop;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

const DEBUG: u8 = 1;
pub(super) const INVALID_OPCODE: u8 = 6;
const NO_DEVICE: u8 = 7;
pub(super) const PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
/// The one software interrupt with a gate of its own in the machine's table.
const INT80: u8 = 0x80;
/// Bytes of `INT n`.
const INT_LENGTH: u64 = 2;
/// Bytes of SYSCALL and of SYSENTER.
const SYSCALL_LENGTH: u64 = 2;
/// Error code: the fault came from outside of the program.
const EXTERNAL: u32 = 1;
/// Error code: the index is one of the IDT.
const IN_IDT: u32 = 2;

/// Whether the processor gives an error code with an exception.
pub(super) const fn has_error(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// Handles an exception on the guest's behalf, or hands it to the guest.
pub fn exception<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    exception: Exception,
) -> Result<(), Stop> {
    let vector = exception.vector;
    match vector {
        DEBUG => {
            debug::note(cx);
            inject(cx, regs, vector, None)
        }
        INVALID_OPCODE => invalid_opcode(cx, regs),
        NO_DEVICE => {
            control_register::no_device(cx);
            inject(cx, regs, vector, None)
        }
        PROTECTION => protection(cx, regs, exception.error),
        PAGE_FAULT => page_fault::page_fault(cx, regs, exception.error, exception.cr2),
        INT80 => software_interrupt(cx, regs, INT80, INT_LENGTH),
        _ => inject(
            cx,
            regs,
            vector,
            has_error(vector).then_some(exception.error),
        ),
    }
}

/// SYSCALL or SYSENTER of a process: enters the callback that the guest's kernel has for it.
pub fn guest_syscall<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) -> Result<(), Stop> {
    let kind = match regs.entry_vector {
        ENTRY_SYSCALL32 => CallbackKind::Syscall32,
        ENTRY_SYSENTER => CallbackKind::Sysenter,
        _ => CallbackKind::Syscall,
    };
    let callback = cx.vcpu.arch.lock().traps.callback(kind);
    if callback.address != 0 {
        return bounce(cx, regs, &target(callback));
    }
    match kind {
        // Where it came from is not known.
        CallbackKind::Sysenter => inject(cx, regs, PROTECTION, Some(0)),
        _ => {
            regs.rip = regs.rip.wrapping_sub(SYSCALL_LENGTH);
            inject(cx, regs, INVALID_OPCODE, None)
        }
    }
}

/// #UD: perhaps the prefix that asks for CPUID to be emulated.
fn invalid_opcode<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) -> Result<(), Stop> {
    const CPUID: [u8; 2] = [0x0f, 0xa2];
    const PREFIX: usize = XEN_EMULATE_PREFIX.len();
    let mut code = [0; PREFIX + CPUID.len()];
    let read = cx.machine().copy_from_guest(regs.rip, &mut code).is_ok();
    if read && code.starts_with(&XEN_EMULATE_PREFIX) && code.ends_with(&CPUID) {
        super::cpuid::emulate(cx, regs);
        return privileged::complete(cx, regs, code.len() as u64);
    }
    inject(cx, regs, INVALID_OPCODE, None)
}

/// #GP: `INT n`, a privileged instruction, or the guest's own fault.
fn protection<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs, error: u32) -> Result<(), Stop> {
    if error & EXTERNAL == 0 && error & IN_IDT != 0 {
        if let Ok(vector) = u8::try_from((error & 0xffff) >> 3) {
            return software_interrupt_from_fault(cx, regs, vector, error);
        }
    } else if error == 0 && privileged::emulate(cx, regs)? {
        return Ok(());
    }
    inject(cx, regs, PROTECTION, Some(error & 0xffff))
}

/// `INT n` through a machine gate that refused it; the guest's own gate may not.
fn software_interrupt_from_fault<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    vector: u8,
    error: u32,
) -> Result<(), Stop> {
    if !may_interrupt(cx, vector) {
        return inject(cx, regs, PROTECTION, Some(error));
    }
    regs.rip = regs.rip.wrapping_add(INT_LENGTH);
    inject(cx, regs, vector, None)
}

/// `INT n` that came straight in, with RIP behind it.
fn software_interrupt<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    vector: u8,
    length: u64,
) -> Result<(), Stop> {
    if may_interrupt(cx, vector) {
        return inject(cx, regs, vector, None);
    }
    regs.rip = regs.rip.wrapping_sub(length);
    inject(
        cx,
        regs,
        PROTECTION,
        Some((u32::from(vector) << 3) | IN_IDT),
    )
}

fn may_interrupt<M: Machine>(cx: &Cx<'_, M>, vector: u8) -> bool {
    let gate = cx.vcpu.arch.lock().traps.gate(vector);
    gate.address != 0 && gate.allows(cx.vcpu.kernel_mode.load(Ordering::Relaxed))
}

/// The selectors that SYSRET leaves user mode with.
pub(super) const SYSRET_SELECTORS: (u16, u16) = (FLAT_USER_CS, FLAT_USER_SS);
