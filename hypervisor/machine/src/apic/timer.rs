//! The LAPIC's timer: a one-shot deadline in system time.

use core::sync::atomic::{AtomicU32, Ordering};

use super::lapic::{Register, read, write};
use crate::clock;
use crate::cpuid::Features;
use crate::msr::wrmsr;
use crate::percpu::this_cpu;
use crate::trap::vectors;

/// IA32_TSC_DEADLINE.
const TSC_DEADLINE: u32 = 0x6e0;
const MODE_DEADLINE: u32 = 2 << 17;
/// Divide by 16.
const DIVIDE_16: u32 = 3;
/// How long the timer is compared with the TSC, in milliseconds.
const CALIBRATION_MS: u64 = 10;

/// How often a serial line without an interrupt is looked at: 20 ms, in which 115,200 bits a second fill 16 FIFOs. Who
/// types faster loses characters.
const POLL_NS: u64 = 20_000_000;

/// Timer ticks in a millisecond; 0 where the TSC is the timer.
static TICKS_PER_MS: AtomicU32 = AtomicU32::new(0);

/// Makes this CPU's timer ready. The boot CPU goes first and measures it; the clock works already.
pub(crate) fn init() {
    if Features::get().tsc_deadline {
        write(
            Register::LvtTimer,
            MODE_DEADLINE | u32::from(vectors::TIMER),
        );
        return;
    }
    write(Register::TimerDivide, DIVIDE_16);
    if TICKS_PER_MS.load(Ordering::Acquire) == 0 {
        TICKS_PER_MS.store(calibrate().max(1), Ordering::Release);
    }
    write(Register::LvtTimer, u32::from(vectors::TIMER));
    write(Register::TimerInitial, 0);
}

/// Counts ticks against the clock.
fn calibrate() -> u32 {
    write(Register::TimerInitial, u32::MAX);
    let end = clock::now() + CALIBRATION_MS * 1_000_000;
    while clock::now() < end {
        core::hint::spin_loop();
    }
    let ticks = u32::MAX - read(Register::TimerCurrent);
    write(Register::TimerInitial, 0);
    ticks / u32::try_from(CALIBRATION_MS).unwrap_or(1)
}

/// Interrupts at system time `deadline` (nanoseconds), or at once if that has passed; `None` turns the timer off.
pub(crate) fn set_deadline(deadline: Option<u64>) {
    let deadline = if crate::console::is_polled() && this_cpu().cpu == 0 {
        Some(deadline.unwrap_or(u64::MAX).min(clock::now() + POLL_NS))
    } else {
        deadline
    };
    if Features::get().tsc_deadline {
        // Zero turns it off; a deadline in the past interrupts at once.
        let tsc = deadline.map_or(0, |deadline| clock::tsc_at(deadline).max(1));
        // SAFETY: arms a timer whose interrupt has a gate.
        unsafe { wrmsr(TSC_DEADLINE, tsc) };
        return;
    }
    let ticks = deadline.map_or(0, |deadline| {
        ticks(
            deadline.saturating_sub(clock::now()),
            TICKS_PER_MS.load(Ordering::Relaxed),
        )
    });
    write(Register::TimerInitial, ticks);
}

/// Timer ticks in `nanoseconds`, rounded up, at least 1. A time too long for the timer ends early: `core` sets it again.
fn ticks(nanoseconds: u64, per_ms: u32) -> u32 {
    let ticks = u128::from(nanoseconds) * u128::from(per_ms) / 1_000_000 + 1;
    u32::try_from(ticks).unwrap_or(u32::MAX)
}
