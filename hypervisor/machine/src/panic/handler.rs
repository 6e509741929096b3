//! Prints a panic and ends the run.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

use super::backtrace;
use crate::console::PanicConsole;
use crate::trap::HostFrame;
use crate::{nmi, percpu, reboot};

/// No CPU panics.
const NOBODY: u32 = u32::MAX;
/// The CPU that panics.
static PANICKING: AtomicU32 = AtomicU32::new(NOBODY);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let rbp: u64;
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags))
    }
    die(|out| {
        let place = info.location();
        let _ = match place {
            Some(place) => writeln!(
                out,
                "{} ({}:{})",
                info.message(),
                place.file(),
                place.line()
            ),
            None => writeln!(out, "{}", info.message()),
        };
        backtrace::print(out, rbp);
    })
}

/// A trap of the hypervisor itself that nothing reckoned with. `address` is what a page fault was about.
pub(crate) fn fatal_trap(name: &str, address: u64, frame: &HostFrame) -> ! {
    die(|out| {
        let _ = writeln!(out, "{name} in the hypervisor, address {address:#x}");
        let _ = crate::trap::dump_host_frame(frame, out);
        backtrace::print_address(out, frame.rip);
        backtrace::print(out, frame.rbp);
    })
}

/// The watchdog has found that this CPU goes no further than where `frame` interrupts it.
pub(crate) fn stuck(frame: &HostFrame) -> ! {
    die(|out| {
        let _ = writeln!(out, "Watchdog: this CPU is stuck");
        let _ = crate::trap::dump_host_frame(frame, out);
        backtrace::print_address(out, frame.rip);
        backtrace::print(out, frame.rbp);
    })
}

/// An NMI of the platform with the boot option `nmi=fatal`: what was interrupted is shown, and the machine hangs. `reason`
/// is one of `XEN_NMIREASON_*`.
pub(crate) fn fatal_nmi(reason: u32, frame: &HostFrame) -> ! {
    let cpu = first();
    // The console takes every text.
    let _ = writeln!(
        PanicConsole,
        "\n*** Fatal NMI on CPU {cpu}, {} ***",
        nmi::name(reason)
    );
    let _ = crate::trap::dump_host_frame(frame, &mut PanicConsole);
    // A guest's stack is the guest's.
    if frame.cs & 3 == 0 {
        backtrace::print_address(&mut PanicConsole, frame.rip);
        backtrace::print(&mut PanicConsole, frame.rbp);
    }
    let _ = writeln!(PanicConsole, "The machine hangs (nmi=fatal).");
    reboot::halt()
}

/// A machine check that cannot be survived; `banks` prints what the processor says of it.
pub(crate) fn machine_check(banks: impl FnOnce(&mut dyn Write), frame: &HostFrame) -> ! {
    die(|out| {
        let _ = writeln!(out, "Machine check: the hardware has lost data or control");
        banks(out);
        let _ = crate::trap::dump_host_frame(frame, out);
    })
}

/// Prints, and reboots.
fn die(print: impl FnOnce(&mut dyn Write)) -> ! {
    let cpu = first();
    // The console takes every text.
    let _ = writeln!(PanicConsole, "\n*** Oxen panics on CPU {cpu} ***");
    print(&mut PanicConsole);
    reboot::after_panic()
}

/// Makes this the only CPU that runs, and returns its number. A panic while printing ends at once.
fn first() -> u32 {
    let cpu = percpu::try_this_cpu().map_or(0, |cpu| cpu.cpu);
    match PANICKING.compare_exchange(NOBODY, cpu, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        Err(other) if other != cpu => reboot::halt(),
        Err(_) => {
            let _ = writeln!(PanicConsole, "\nOxen: panic while handling a panic");
            reboot::after_panic()
        }
    }
    crate::watchdog::stop();
    // On the boot stack there are no other CPUs and no LAPIC yet.
    if percpu::try_this_cpu().is_some() {
        nmi::stop_others();
    }
    cpu
}
