//! dom0's side of a fuzzing run.

use core::sync::atomic::Ordering;

use super::send::{COUNTED, DOMAIN, LATE, RESULTS, SENT};
use crate::cmdline::CommandLine;
use crate::conformance::{Outcome, Suite, ensure, good};
use crate::domain::{Domain, Spec, control};
use crate::pair::{self, logging};
use crate::println;
use crate::time::now;

/// A new copy is taken after so many calls, for what they did to the old one adds up.
const CALLS_OF_A_COPY: u64 = 10_000;

/// How long a copy may stand still before it is given up, in nanoseconds: while it should make
/// calls, and after its last one.
const PATIENCE: u64 = 2_000_000_000;
const FAREWELL: u64 = 50_000_000;

/// The most instructions that may lie between two preemption points.
const LONGEST: u64 = 1_000_000;

/// What the run was asked for, and what came of it.
struct Run {
    seed: u64,
    vcpus: u32,
    late: bool,
    results: [u64; COUNTED.len() + 2],
    worst: u64,
    measured: u64,
}

impl Run {
    /// Runs one copy until it ends or stands still; returns how many calls it sent.
    fn one_copy(&mut self, number: u64, count: u64) -> Outcome<u64> {
        let mut text = Text::default();
        text.push(
            "mode=fuzzer only=none seed=",
            self.seed.wrapping_add(number),
        );
        text.push(" count=", count);
        if self.late {
            text.push(" late every=", 1);
        }
        let mut domain = good!(Domain::build(&Spec {
            command_line: text.bytes(),
            vcpus: self.vcpus,
        }));
        domain
            .shared(DOMAIN)
            .store(u64::from(domain.id), Ordering::SeqCst);
        // Every third copy runs on copies of its page tables, where the hypervisor has them.
        let logged = number % 3 == 2 && !self.late && logging::enable(domain.id).is_ok();
        good!(domain.unpause());
        let sent = |domain: &Domain| -> u64 {
            SENT.map(|at| domain.shared(at).load(Ordering::Relaxed))
                .iter()
                .sum()
        };
        let mut last = (0, now());
        while good!(domain.shut_down()).is_none() {
            domain.drain_console(|_| {});
            let info = good!(control::domain_info(domain.id));
            ensure!(
                info.tot_pages <= info.max_pages,
                "{} pages, of {} at the most",
                info.tot_pages,
                info.max_pages
            );
            if logged {
                good!(logging::end_round(domain.id));
            }
            let progress = sent(&domain);
            let patience = if progress >= count {
                FAREWELL
            } else {
                PATIENCE
            };
            if progress != last.0 {
                last = (progress, now());
            } else if now() > last.1 + patience {
                break;
            }
            pair::wait();
        }
        domain.drain_console(|_| {});
        let sent = sent(&domain);
        self.note(&domain, sent, count);
        good!(domain.destroy());
        Ok(sent.min(count))
    }

    /// Takes the results over, and tells of a copy that ended early.
    fn note(&mut self, domain: &Domain, sent: u64, count: u64) {
        let word = |at: usize| domain.shared(at).load(Ordering::Relaxed);
        for (total, kind) in self.results.iter_mut().zip(RESULTS..) {
            *total += word(kind);
        }
        self.worst = self.worst.max(word(LATE));
        self.measured += word(LATE + 1);
        if sent < count {
            println!(
                "copy {} ended after {sent} calls, the last ones {:x?} and {:x?}",
                domain.id,
                core::array::from_fn::<u64, 7, _>(|at| word(SENT[0] + 1 + at)),
                core::array::from_fn::<u64, 7, _>(|at| word(SENT[1] + 1 + at)),
            );
        }
    }
}

/// dom0's side: copies with `vcpus=` vCPUs send `count=` calls in all from `seed=` on (a copy that
/// ends early, which its calls may cause, is followed by another), and the free memory is the
/// same before and after. With the word `late` the longest stretch between two preemption points
/// is measured.
pub(crate) fn run(line: &CommandLine<'_>) {
    let mut suite = Suite::new(line);
    if !suite.privileged {
        println!("ERROR mode=fuzz is for dom0");
        return;
    }
    let count = line.number("count", 50_000);
    let mut run = Run {
        seed: line.number("seed", 1),
        vcpus: u32::try_from(line.number("vcpus", 2)).unwrap_or(2),
        late: line.flag("late"),
        results: [0; COUNTED.len() + 2],
        worst: 0,
        measured: 0,
    };
    crate::conformance::essentials(&mut suite);
    let ready = pair::prepare();
    suite.check("fuzz/prepare", || ready);
    // The first copy leaves this kernel with a few more page tables.
    let first = run.one_copy(0, 1);
    suite.check("fuzz/first_copy", || first.map(|_| ()));
    let before = pair::free_pages();
    let mut sent = 0;
    let mut copies = 0;
    suite.check("fuzz/all_calls_sent", || {
        while sent < count {
            ensure!(copies < count, "{copies} copies sent {sent} calls only");
            sent += run.one_copy(copies, (count - sent).min(CALLS_OF_A_COPY))?;
            copies += 1;
        }
        Ok(())
    });
    println!("{sent} hypercalls from {copies} copies, seed {}", run.seed);
    let [done, errors @ .., others] = run.results;
    println!("results: {done} done, {others} other errors, and of {COUNTED:?}: {errors:?}");
    suite.check("fuzz/free_memory", || pair::memory_is_back(before?));
    if run.late {
        println!(
            "the timer was {} ns late at most, of {} times",
            run.worst, run.measured
        );
        suite.check("fuzz/longest_stretch", || {
            // Most calls are over before the timer comes.
            ensure!(run.measured > count / 200, "{} times only", run.measured);
            ensure!(run.worst < LONGEST, "{} ns", run.worst);
            Ok(())
        });
    }
    suite.finish();
}

/// A command line being written.
struct Text {
    bytes: [u8; 120],
    used: usize,
}

impl Default for Text {
    fn default() -> Self {
        Text {
            bytes: [0; 120],
            used: 0,
        }
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.used).ok_or(core::fmt::Error)? = byte;
            self.used += 1;
        }
        Ok(())
    }
}

impl Text {
    fn push(&mut self, name: &str, value: u64) {
        // A few words and numbers always fit.
        let _ = core::fmt::Write::write_fmt(self, format_args!("{name}{value}"));
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}
