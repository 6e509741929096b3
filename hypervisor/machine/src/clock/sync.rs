//! How far a CPU's TSC is from the boot CPU's, measured when it starts.
//!
//! The CPU asks and the boot CPU answers with its TSC. Of many rounds the shortest is taken; if the answer lies within
//! that round by the CPU's own clock, the two agree and the offset is 0.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

/// Rounds of asking at the most.
const ROUNDS: u64 = 64;
/// A round this short (in TSC ticks) that finds agreement is believed at once.
const SHORT: u64 = 20_000;
/// So long (in TSC ticks) asking may go on: under an emulator on a busy host a round can take milliseconds.
const PATIENCE: u64 = 100_000_000;

/// Number of the round that the starting CPU asks for.
static QUESTION: AtomicU64 = AtomicU64::new(0);
/// The boot CPU's TSC, written before [`ANSWERED`].
static ANSWER: AtomicU64 = AtomicU64::new(0);
/// Number of the round that was answered.
static ANSWERED: AtomicU64 = AtomicU64::new(0);

fn rdtsc() -> u64 {
    // SAFETY: every 64-bit CPU has a TSC; the fence keeps earlier loads before it.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        _rdtsc()
    }
}

/// The boot CPU's part: called over and over while a CPU starts.
pub(crate) fn answer() {
    let question = QUESTION.load(Ordering::Acquire);
    if question != ANSWERED.load(Ordering::Relaxed) {
        ANSWER.store(rdtsc(), Ordering::Relaxed);
        ANSWERED.store(question, Ordering::Release);
    }
}

/// The starting CPU's part: what to add to its TSC to get the boot CPU's. One CPU starts at a time.
pub(crate) fn measure() -> i64 {
    let start = rdtsc();
    let first = QUESTION.load(Ordering::Relaxed);
    let mut best = (u64::MAX, 0);
    for round in first + 1..=first + ROUNDS {
        let before = rdtsc();
        QUESTION.store(round, Ordering::Release);
        while ANSWERED.load(Ordering::Acquire) != round {
            core::hint::spin_loop();
        }
        let theirs = ANSWER.load(Ordering::Relaxed);
        let took = rdtsc().wrapping_sub(before);
        let offset = theirs
            .wrapping_sub(before.wrapping_add(took / 2))
            .cast_signed();
        if took < best.0 {
            best = (took, offset);
        }
        let sure = took < SHORT && agrees(took, offset);
        if sure || rdtsc().wrapping_sub(start) > PATIENCE {
            break;
        }
    }
    let (took, offset) = best;
    if agrees(took, offset) { 0 } else { offset }
}

/// Whether an offset is no more than what a round that took so long can't tell from none.
const fn agrees(took: u64, offset: i64) -> bool {
    offset.unsigned_abs() <= took / 2
}
