//! Ways to end a run.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::acpi::{self, Register, Space};
use crate::console::PanicConsole;
use crate::num::low32;
use crate::{clock, console, pio};

/// What a panic ends the emulator with.
const PANIC_CODE: u8 = 0x3f;
/// How long a panic stays on the screen.
const PANIC_SECONDS: u64 = 5;
/// How long one way of resetting is given before the next is tried.
const PATIENCE_NS: u64 = 100_000_000;

static NO_REBOOT: AtomicBool = AtomicBool::new(false);
/// The port of the boot option `debug-exit`, or 0: a panic and a test's end leave QEMU through its isa-debug-exit device.
static DEBUG_EXIT: AtomicU16 = AtomicU16::new(0);

/// The boot option `noreboot`: a panic halts instead.
pub fn set_no_reboot(value: bool) {
    NO_REBOOT.store(value, Ordering::Relaxed);
}

/// The boot option `debug-exit`: a port, usually 0xf4.
pub(crate) fn set_debug_exit(port: Option<u16>) {
    DEBUG_EXIT.store(port.unwrap_or(0), Ordering::Relaxed);
}

/// Ends an emulator's run with status `2 code + 1`, if that was asked for.
fn debug_exit(code: u8) {
    match DEBUG_EXIT.load(Ordering::Relaxed) {
        0 => {}
        port => pio::outb(port, code),
    }
}

/// The machine could not be brought up.
pub(crate) fn failed() -> ! {
    console::flush();
    debug_exit(1);
    halt()
}

/// The machine has nothing more to do: ends an emulated run, else halts. Real power-off is dom0's, which knows the values
/// for the sleep registers from its AML interpreter.
pub fn power_off() -> ! {
    console::flush();
    debug_exit(0);
    halt()
}

/// Writes the PM1 control registers (ACPI section 4.8.3.2.1) and gives the machine time to go off. `false` if there are
/// none in port space.
pub fn acpi_sleep(pm1a: u16, pm1b: u16) -> bool {
    let Some(fadt) = acpi::info().fadt else {
        return false;
    };
    let port = |register: Option<Register>| {
        register
            .filter(|register| register.space == Space::Io)
            .and_then(|register| u16::try_from(register.address).ok())
    };
    let Some(a) = port(fadt.pm1a_control) else {
        return false;
    };
    console::flush();
    pio::outw(a, pm1a);
    if let Some(b) = port(fadt.pm1b_control) {
        pio::outw(b, pm1b);
    }
    clock::delay(PATIENCE_NS);
    true
}

/// Halts this CPU for ever, interrupts off.
pub fn halt() -> ! {
    loop {
        // SAFETY: stops this CPU; an NMI wakes it and it comes back here.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// What comes after a panic's message, by the boot options.
pub(crate) fn after_panic() -> ! {
    debug_exit(PANIC_CODE);
    if NO_REBOOT.load(Ordering::Relaxed) {
        let _ = writeln!(PanicConsole, "Halted (noreboot).");
        halt()
    }
    let _ = writeln!(PanicConsole, "Reboot in {PANIC_SECONDS} seconds.");
    clock::delay(PANIC_SECONDS * 1_000_000_000);
    reboot()
}

/// Resets the machine: by ACPI's register, the keyboard controller, the chipset's port, and in the end a triple fault.
pub fn reboot() -> ! {
    console::flush();
    if let Some((register, value)) = acpi::info().fadt.and_then(|fadt| fadt.reset) {
        acpi_reset(register, value);
        clock::delay(PATIENCE_NS);
    }
    for _ in 0..0x1_0000 {
        if pio::inb(0x64) & 2 == 0 {
            break;
        }
    }
    pio::outb(0x64, 0xfe);
    clock::delay(PATIENCE_NS);
    pio::outb(0xcf9, 0x02);
    pio::outb(0xcf9, 0x06);
    clock::delay(PATIENCE_NS);
    let nothing = [0u8; 10];
    // SAFETY: an empty IDT makes the next exception a triple fault, which resets the CPU: what is wanted.
    unsafe { core::arch::asm!("lidt [{}]", "int3", in(reg) &raw const nothing, options(noreturn)) }
}

/// Writes the reset register (ACPI section 4.8.3.6).
fn acpi_reset(register: Register, value: u8) {
    match register.space {
        Space::Io => {
            if let Ok(port) = u16::try_from(register.address) {
                pio::outb(port, value);
            }
        }
        Space::Pci => {
            let (device, function) = (register.address >> 32 & 0x1f, register.address >> 16 & 7);
            let offset = register.address & 0xff;
            pio::outl(
                0xcf8,
                low32(1 << 31 | device << 11 | function << 8 | offset & 0xfc),
            );
            pio::outb(0xcfc + (offset & 3) as u16, value);
        }
        Space::Memory => {
            if let Ok(place) = crate::paging::map_mmio(register.address, 1) {
                place.write8(0, value);
            }
        }
    }
}
