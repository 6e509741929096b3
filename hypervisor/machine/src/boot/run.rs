//! A CPU's first way into `core`, from where it comes back only to run guests.

use core::arch::global_asm;

use oxen_abi::arch_x86::CpuUserRegs;

use crate::trap;

global_asm!(
    r#"
    .section .text.oxen_run_guests, "ax", @progbits
    .global oxen_run_guests
    // RDI: the register frame at the top of this CPU's main stack. All that was on the stack is given up.
oxen_run_guests:
    mov rsp, rdi
    xor ebp, ebp
    sub rsp, {call_room}
    call {first_entry}
    add rsp, {call_room}
    jmp oxen_return_by_iret
    .text
    "#,
    first_entry = sym trap::on_first_entry,
    call_room = const trap::CALL_ROOM,
);

unsafe extern "C" {
    fn oxen_run_guests(frame: *mut CpuUserRegs) -> !;
}

/// Runs guests on this CPU for ever, or waits for some. `core`'s data of the CPU is set.
pub(super) fn run_guests() -> ! {
    crate::watchdog::set_waiting(false);
    let frame = trap::guest_frame();
    // SAFETY: the frame is at the top of this CPU's main stack, above everything that is on it, and holds plain integers.
    // The code goes on below the frame; nothing of this function is used again.
    unsafe {
        frame.write_bytes(0, 1);
        oxen_run_guests(frame)
    }
}
