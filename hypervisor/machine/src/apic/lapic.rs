//! The local APIC, in x2APIC mode where the CPU has it, else through its registers in memory.

use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;

use crate::cpuid::Features;
use crate::msr::{rdmsr, wrmsr};
use crate::paging::{Mmio, map_mmio};
use crate::trap::vectors;

/// IA32_APIC_BASE.
const APIC_BASE: u32 = 0x1b;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// First x2APIC register; register n of the memory page (16 n) is this plus n.
const X2APIC: u32 = 0x800;

/// Registers by their offset in the memory page (SDM volume 3, table 11-1).
#[derive(Clone, Copy)]
pub(super) enum Register {
    TaskPriority = 0x80,
    Eoi = 0xb0,
    LogicalDestination = 0xd0,
    Spurious = 0xf0,
    ErrorStatus = 0x280,
    CommandLow = 0x300,
    CommandHigh = 0x310,
    LvtTimer = 0x320,
    LvtPerformance = 0x340,
    LvtLint0 = 0x350,
    LvtLint1 = 0x360,
    LvtError = 0x370,
    TimerInitial = 0x380,
    TimerCurrent = 0x390,
    TimerDivide = 0x3e0,
}

const MASKED: u32 = 1 << 16;
const DELIVER_NMI: u32 = 4 << 8;
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// Interrupt command: delivery pending (memory mode only).
const BUSY: u32 = 1 << 12;
/// Interrupt command: assert.
const ASSERT: u32 = 1 << 14;
/// Interrupt command: all CPUs but this one.
const ALL_BUT_SELF: u32 = 3 << 18;
/// Interrupt command: this CPU.
const SELF: u32 = 1 << 18;

static X2: AtomicBool = AtomicBool::new(false);
static PAGE: Once<Mmio> = Once::new();

/// Whether the LAPICs are in x2APIC mode, in which ids have 32 bits.
pub(crate) fn is_x2apic() -> bool {
    X2.load(Ordering::Relaxed)
}

/// Turns this CPU's LAPIC on, with nothing unmasked but NMI and its own errors. The boot CPU goes first.
pub(crate) fn init() {
    let base = rdmsr(APIC_BASE);
    if Features::get().x2apic {
        // SAFETY: the CPU has x2APIC mode. It can only be entered from the enabled state.
        unsafe {
            wrmsr(APIC_BASE, base | BASE_ENABLE);
            wrmsr(APIC_BASE, base | BASE_ENABLE | BASE_X2APIC);
        }
        X2.store(true, Ordering::Release);
    } else {
        // SAFETY: enables the LAPIC where it is.
        unsafe { wrmsr(APIC_BASE, base | BASE_ENABLE) };
        PAGE.call_once(|| {
            map_mmio(base & BASE_ADDRESS, 4096).expect("the LAPIC's registers can be mapped")
        });
    }
    write(Register::TaskPriority, 0);
    write(Register::LvtTimer, MASKED | u32::from(vectors::TIMER));
    write(
        Register::LvtPerformance,
        MASKED | u32::from(vectors::SPURIOUS),
    );
    write(Register::LvtLint0, MASKED | u32::from(vectors::SPURIOUS));
    write(Register::LvtLint1, DELIVER_NMI);
    write(Register::LvtError, u32::from(vectors::LAPIC_ERROR));
    if !is_x2apic() {
        write(Register::LogicalDestination, 0);
    }
    clear_errors();
    write(
        Register::Spurious,
        SOFTWARE_ENABLE | u32::from(vectors::SPURIOUS),
    );
    eoi();
}

#[inline]
pub(super) fn read(register: Register) -> u32 {
    if is_x2apic() {
        crate::num::low32(rdmsr(X2APIC + (register as u32 >> 4)))
    } else {
        PAGE.get().map_or(0, |page| page.read32(register as u64))
    }
}

#[inline]
pub(super) fn write(register: Register, value: u32) {
    if is_x2apic() {
        // SAFETY: a LAPIC register that exists in x2APIC mode; it can only cause interrupts, which have gates.
        unsafe { wrmsr(X2APIC + (register as u32 >> 4), u64::from(value)) }
    } else if let Some(page) = PAGE.get() {
        page.write32(register as u64, value);
    }
}

/// Acknowledges the interrupt in service with the highest priority.
#[inline]
pub(crate) fn eoi() {
    write(Register::Eoi, 0);
}

/// Clears the error status.
pub(super) fn clear_errors() {
    write(Register::ErrorStatus, 0);
}

/// Sends `command` (low half of the interrupt command register) to a LAPIC.
fn send(apic_id: u32, command: u32) {
    if is_x2apic() {
        // SAFETY: the fences order earlier stores before the interrupt, which this register does not do by itself.
        unsafe { core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags)) };
        // SAFETY: an interrupt to another CPU, which has gates for all vectors; or its start, by `crate::smp`.
        unsafe {
            wrmsr(
                X2APIC + (Register::CommandLow as u32 >> 4),
                (u64::from(apic_id) << 32) | u64::from(command),
            )
        };
    } else {
        wait_idle();
        write(Register::CommandHigh, apic_id << 24);
        write(Register::CommandLow, command);
    }
}

/// Waits until the last command has left. Bounded: hardware takes microseconds.
fn wait_idle() {
    for _ in 0..1_000_000 {
        if read(Register::CommandLow) & BUSY == 0 {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Sends an interrupt to one CPU by its LAPIC id.
pub(crate) fn send_interrupt(apic_id: u32, vector: u8) {
    send(apic_id, ASSERT | u32::from(vector));
}

/// Sends an interrupt to this CPU.
pub(crate) fn send_self(vector: u8) {
    send(0, SELF | ASSERT | u32::from(vector));
}

/// Sends an NMI to all CPUs but this one.
pub(crate) fn send_nmi_to_others() {
    send(0, ALL_BUT_SELF | ASSERT | DELIVER_NMI);
}

/// Sends an NMI to a CPU. Called in an NMI handler, which may have interrupted another command's two writes: that one is
/// lost, and so is the machine in a moment.
pub(crate) fn send_nmi(apic_id: u32) {
    send(apic_id, ASSERT | DELIVER_NMI);
}

/// Sends INIT to a CPU.
pub(crate) fn send_init(apic_id: u32) {
    send(apic_id, ASSERT | (5 << 8));
}

/// Sends a start-up interrupt to a CPU: it begins in real mode at page `page` (below 256).
pub(crate) fn send_startup(apic_id: u32, page: u8) {
    send(apic_id, ASSERT | (6 << 8) | u32::from(page));
}

/// Whether MSIs and IO-APICs can reach a LAPIC without interrupt remapping.
pub(super) const fn is_reachable(apic_id: u32) -> bool {
    apic_id < 255
}
