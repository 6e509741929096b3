//! The clock of this machine.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::Ordering;

use oxen_abi::xen::VcpuTimeInfo;
use oxen_core::options::ClockSource;
use spin::Once;

use super::reference::Reference;
use super::rtc;
use super::scale::Scale;
use crate::percpu::this_cpu;

/// How long the TSC is measured, in milliseconds: short enough for the PIT's 54 ms.
const MEASURE_MS: u64 = 40;

struct Clock {
    /// The boot CPU's TSC at system time 0.
    start: u64,
    hz: u64,
    scale: Scale,
    wallclock: u64,
}

static CLOCK: Once<Clock> = Once::new();
/// Until the clock has been measured: 1 GHz from TSC 0.
static GUESS: Clock = Clock {
    start: 0,
    hz: 1_000_000_000,
    scale: Scale {
        mul_frac: 1 << 31,
        shift: 1,
    },
    wallclock: 0,
};

fn clock() -> &'static Clock {
    CLOCK.get().unwrap_or(&GUESS)
}

/// This CPU's TSC.
pub(crate) fn rdtsc() -> u64 {
    // SAFETY: every 64-bit CPU has a TSC.
    unsafe { _rdtsc() }
}

/// This CPU's TSC as the boot CPU would read it now.
#[inline]
pub(super) fn synchronised_tsc() -> u64 {
    rdtsc().wrapping_add_signed(this_cpu().tsc_offset.load(Ordering::Relaxed))
}

/// Measures the TSC and reads the real-time clock. Called once, by the boot CPU; returns what it was measured against
/// and its frequency in Hz.
pub fn init(wanted: ClockSource) -> (&'static str, u64) {
    let reference = Reference::find(wanted);
    let hz = frequency(&reference);
    let clock = CLOCK.call_once(|| {
        let start = rdtsc();
        Clock {
            start,
            hz,
            scale: Scale::of_frequency(hz),
            wallclock: rtc::read().unix_seconds(),
        }
    });
    (reference.name(), clock.hz)
}

/// The TSC's frequency in Hz.
fn frequency(reference: &Reference) -> u64 {
    let target = u32::try_from(reference.hz() * MEASURE_MS / 1000).unwrap_or(u32::MAX);
    let (tsc, count) = sample(reference);
    // A reference that stops must not stop the boot: no TSC makes so many ticks in that time.
    let too_long = 10_000_000_000 * MEASURE_MS / 1000;
    while reference.ticks_between(count, reference.read()) < target && rdtsc() - tsc < too_long {
        core::hint::spin_loop();
    }
    let (end_tsc, end_count) = sample(reference);
    let ticks = u64::from(reference.ticks_between(count, end_count)).max(1);
    let hz = u128::from(end_tsc - tsc) * u128::from(reference.hz()) / u128::from(ticks);
    u64::try_from(hz).unwrap_or(u64::MAX)
}

/// TSC and reference read together: of some tries the one that took the fewest ticks.
fn sample(reference: &Reference) -> (u64, u32) {
    let one = || {
        let before = rdtsc();
        let count = reference.read();
        let took = rdtsc().wrapping_sub(before);
        (took, before.wrapping_add(took / 2), count)
    };
    let (_, tsc, count) = (0..9).map(|_| one()).min().unwrap_or_else(one);
    (tsc, count)
}

/// System time: nanoseconds since boot, the same on all CPUs.
#[inline]
pub fn now() -> u64 {
    let clock = clock();
    // A CPU whose offset is a few ticks out must not see the time before boot.
    clock
        .scale
        .nanoseconds(synchronised_tsc().saturating_sub(clock.start))
}

/// This CPU's TSC at system time `time`.
pub fn tsc_at(time: u64) -> u64 {
    let clock = clock();
    let synchronised = clock.start.saturating_add(clock.scale.ticks(time));
    synchronised.wrapping_add_signed(this_cpu().tsc_offset.load(Ordering::Relaxed).wrapping_neg())
}

/// What turns this CPU's TSC into system time, for the guests that run on it. It is the same each time: the guests then
/// calculate what [`now`] does, and nothing has to be published anew when a vCPU comes back.
pub fn time_info() -> VcpuTimeInfo {
    let clock = clock();
    let offset = this_cpu().tsc_offset.load(Ordering::Relaxed);
    let (tsc_timestamp, system_time) = match clock.start.checked_add_signed(offset.wrapping_neg()) {
        Some(start) => (start, 0),
        // This CPU's TSC was set to zero later than system time began: there is no TSC for that.
        None => {
            let passed = offset.unsigned_abs() - clock.start;
            (0, clock.scale.nanoseconds(passed))
        }
    };
    VcpuTimeInfo {
        tsc_timestamp,
        system_time,
        tsc_to_system_mul: clock.scale.mul_frac,
        tsc_shift: clock.scale.shift,
        ..VcpuTimeInfo::default()
    }
}

/// The TSC's frequency in kHz.
pub fn tsc_khz() -> u64 {
    clock().hz / 1000
}

/// Seconds since 1970 at system time 0, by the real-time clock.
pub fn boot_wallclock() -> u64 {
    clock().wallclock
}

/// Waits for `nanoseconds`; also before the clock has been measured, then roughly, and on the boot stack.
pub fn delay(nanoseconds: u64) {
    let (start, ticks) = (rdtsc(), clock().scale.ticks(nanoseconds));
    while rdtsc().wrapping_sub(start) < ticks {
        core::hint::spin_loop();
    }
}
