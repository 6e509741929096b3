//! Traps while the hypervisor runs, and those with stacks of their own.

use oxen_abi::arch_x86::CpuUserRegs;

use super::frame::{GENERAL_BYTES, HostFrame, guest_frame};
use super::{dump, entry, extable, vectors};

const TRAP_FLAG: u64 = 1 << 8;

/// A trap in the hypervisor. Returns null to go on where `frame` says, or the guest's frame when the return to the guest
/// is what failed.
pub(super) extern "C" fn on_host_trap(frame: &mut HostFrame) -> *mut CpuUserRegs {
    if frame.rip == entry::guest_iret() && frame.entry_vector < 32 {
        return return_fault(frame);
    }
    match frame.entry_vector {
        vectors::DEBUG => forget_debug(frame),
        vector if vector >= 32 => interrupt(vector),
        _ => match extable::fixup(frame.rip) {
            Some(_) if is_mended(frame) => {}
            Some(resume) => frame.rip = resume,
            None => dump::die(frame),
        },
    }
    core::ptr::null_mut()
}

/// Whether an access to a guest's memory is to be tried again, because `core` has mended the page tables.
fn is_mended(frame: &HostFrame) -> bool {
    const WRITE: u32 = 1 << 1;
    frame.entry_vector == vectors::PAGE_FAULT
        && super::dispatch::has_core_cpu()
        && oxen_core::entry::own_fault(
            super::dispatch::core_cpu(),
            crate::control::cr2(),
            frame.error_code & WRITE != 0,
        )
}

/// A guest's watchpoint was hit by a guest copy, or by MOV SS before SYSCALL. The hypervisor is not debugged, so it goes
/// on; single-stepping that SYSENTER brought along ends.
fn forget_debug(frame: &mut HostFrame) {
    crate::debugreg::take_dr6();
    frame.rflags &= !TRAP_FLAG;
}

/// Interrupts are only on in the hypervisor while it waits for one.
fn interrupt(vector: u32) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "gates have vectors below 256"
    )]
    let vector = vector as u8;
    if super::dispatch::has_core_cpu() {
        crate::apic::interrupt(super::dispatch::core_cpu(), vector);
    } else {
        crate::apic::eoi();
    }
}

/// Moves the guest's general registers, which were live at the IRETQ, from the fault's frame to the guest's own, whose
/// RIP, CS, RFLAGS, RSP and SS are still those that IRETQ refused.
fn return_fault(frame: &HostFrame) -> *mut CpuUserRegs {
    let copy = *frame;
    let guest = guest_frame();
    // SAFETY: the guest's frame is at the top of this stack. It overlaps `frame`, which is why the registers go through
    // a copy, and `frame` is not used any more. The general registers are at the same offsets in both.
    unsafe {
        core::ptr::copy_nonoverlapping(
            (&raw const copy).cast::<u8>(),
            guest.cast::<u8>(),
            GENERAL_BYTES,
        );
        (*guest).error_code = copy.error_code;
        (*guest).entry_vector = copy.entry_vector;
    }
    guest
}

/// NMI, #MC, #DF.
pub(super) extern "C" fn on_paranoid(frame: &mut HostFrame) {
    match frame.entry_vector {
        vectors::NMI => crate::nmi::handle(frame),
        vectors::MACHINE_CHECK => crate::machine_check::handle(frame),
        _ => dump::die(frame),
    }
}
