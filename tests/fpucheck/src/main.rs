//! `fpucheck SECONDS`: keeps patterns in all XMM and all YMM registers and says whether they stayed.
//!
//! A hypervisor or kernel that switches FPU state wrongly shows up here as registers with another process's
//! values. Run it in dom0 and in a guest at the same time. Exit status 1 on a mismatch.
//!
//! This crate has unsafe code of its own (beside the three that the design names): only inline assembly can
//! hold a value in a given register across the time in which others run. See `registers.rs`.

mod registers;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use registers::{Bank, Pattern};

/// Iterations of the empty loop for which the registers are held: some tenths of a millisecond.
const HOLD: u64 = 500_000;

fn main() -> ExitCode {
    let Some(time) = seconds(std::env::args().nth(1)) else {
        eprintln!("usage: fpucheck SECONDS");
        return ExitCode::from(2);
    };
    let checks: Vec<_> = Bank::available()
        .into_iter()
        .map(|bank| (bank, std::thread::spawn(move || check(bank, time))))
        .collect();
    let mut good = true;
    for (bank, check) in checks {
        match check.join() {
            Ok((rounds, bad)) => {
                println!("fpucheck {bank}: {rounds} rounds, {bad} mismatches");
                good &= bad == 0;
            }
            Err(_) => good = false,
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn seconds(arg: Option<String>) -> Option<Duration> {
    Duration::try_from_secs_f64(arg?.parse().ok()?).ok()
}

/// Rounds done and rounds in which a register had changed.
fn check(bank: Bank, time: Duration) -> (u64, u64) {
    let want = pattern();
    let start = Instant::now();
    let (mut rounds, mut bad) = (0, 0);
    while start.elapsed() < time {
        let got = registers::hold(bank, &want, HOLD);
        rounds += 1;
        if bank.differs(&want, &got) {
            bad += 1;
            if bad == 1 {
                println!(
                    "fpucheck {bank}: first mismatch in round {rounds}\n want {want:x?}\n got  {got:x?}"
                );
            }
        }
    }
    (rounds, bad)
}

/// Numbers that no other process has.
fn pattern() -> Pattern {
    let state = RandomState::new();
    std::array::from_fn(|register| {
        std::array::from_fn(|lane| {
            let mut hasher = state.build_hasher();
            hasher.write_usize(register * 4 + lane);
            hasher.finish()
        })
    })
}
