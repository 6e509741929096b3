//! Interrupts: the local APICs, the IO-APICs, and what goes between CPUs.

pub(crate) mod ioapic;
pub(crate) mod ipi;
pub(crate) mod lapic;
pub(crate) mod msi;
pub(crate) mod pic;
pub(crate) mod route;
pub(crate) mod timer;
pub(crate) mod vectors;

pub(crate) use lapic::eoi;

use oxen_core::CpuId;
use oxen_core::entry;
use oxen_core::machine::Interrupt;

use crate::console;
use crate::trap::vectors as v;
use crate::x86::X86;

/// An interrupt on this CPU. Its own kinds are acknowledged here, a device's by `core`.
pub(crate) fn interrupt(cpu: &oxen_core::PerCpu<X86>, vector: u8) {
    crate::watchdog::alive();
    match vector {
        v::TIMER => {
            eoi();
            crate::machine_check::poll(cpu.hv);
            if console::is_polled() && cpu.id == CpuId(0) {
                console::pump();
                entry::interrupt(cpu, Interrupt::Serial);
            }
            entry::interrupt(cpu, Interrupt::Timer);
        }
        v::KICK => {
            eoi();
            if let Some(reason) = crate::nmi::take_for_dom0() {
                entry::nmi(cpu, reason);
            }
            entry::interrupt(cpu, Interrupt::Kick);
        }
        v::FLUSH => {
            eoi();
            ipi::serve_flush(cpu);
        }
        v::SERIAL => {
            eoi();
            console::pump();
            entry::interrupt(cpu, Interrupt::Serial);
        }
        v::LAPIC_ERROR => {
            lapic::clear_errors();
            eoi();
        }
        // Neither has a bit in the LAPIC's in-service register.
        v::SPURIOUS | v::PIC_BASE..v::FIRST_DEVICE => {}
        _ => entry::interrupt(cpu, Interrupt::Device(vector)),
    }
}
