//! Ways to end a run.

use crate::pio;

/// QEMU's `isa-debug-exit` device: a byte `n` written here ends the emulator with status `2 n + 1`.
const DEBUG_EXIT_PORT: u16 = 0xf4;

/// Ends an emulator that has an `isa-debug-exit` device at port 0xf4; elsewhere it halts this CPU for ever.
pub fn debug_exit(code: u8) -> ! {
    pio::outb(DEBUG_EXIT_PORT, code);
    halt()
}

/// Halts this CPU for ever, interrupts off.
pub fn halt() -> ! {
    loop {
        // SAFETY: stops this CPU; an NMI wakes it and it comes back here.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
    }
}
