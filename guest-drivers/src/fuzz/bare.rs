//! The two sides of a fuzzing run.

use core::sync::atomic::Ordering;

use super::calls::{self, Material};
use crate::cmdline::CommandLine;
use crate::conformance::{Outcome, Suite, ensure, good};
use crate::domain::{Domain, Spec, control};
use crate::pair;
use crate::println;
use crate::rng::Rng;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, shared};
use crate::time::now;

/// Words of the shared page: how many calls were sent, and the last one's number.
const SENT: usize = 0;
const LAST_NUMBER: usize = 8;

/// The copy's side: sends `count=` calls from `seed=`, and says after each how far it is.
pub(crate) fn send(line: &CommandLine<'_>) {
    let Some(page) = shared::own_store() else {
        println!("ERROR the fuzzer has no page to share");
        return;
    };
    let count = line.number("count", 1000);
    let mut rng = Rng::new(line.number("seed", 1));
    let buffers: [Frame; 4] = core::array::from_fn(|_| Frame::new());
    let material = Material {
        buffers: buffers.map(Frame::address),
        frames: buffers.map(Frame::mfn),
    };
    while page[SENT].load(Ordering::Relaxed) < count {
        for _ in 0..8 {
            let frame = rng.pick(&buffers, buffers[0]);
            let slot = usize::try_from(rng.below(512)).unwrap_or(0);
            // A call may have made the buffer read-only or taken it away.
            let value = material.value(&mut rng);
            let _ = crate::sys::probe::write(frame.address() + slot as u64 % 80 * 8, value);
        }
        let call = material.call(&mut rng);
        if calls::ends_the_caller(&call) {
            continue;
        }
        page[LAST_NUMBER].store(call.number, Ordering::Relaxed);
        for (slot, arg) in page[LAST_NUMBER + 1..].iter().zip(call.args) {
            slot.store(arg, Ordering::Relaxed);
        }
        let _ = hypercall::raw(call.number, call.args);
        page[SENT].fetch_add(1, Ordering::Relaxed);
    }
}

/// How long a copy may stand still before it is given up.
const PATIENCE: u64 = 3_000_000_000;

/// Runs one copy until it ends or stands still; returns how many calls it sent.
fn one_copy(seed: u64, count: u64) -> Outcome<u64> {
    let mut text = Text {
        bytes: [0; 80],
        used: 0,
    };
    text.push("mode=fuzzer only=none seed=", seed);
    text.push(" count=", count);
    let mut domain = good!(Domain::build(&Spec {
        command_line: text.bytes()
    }));
    good!(domain.unpause());
    let mut sent = 0;
    let mut since = now();
    while good!(domain.shut_down()).is_none() {
        domain.drain_console(|_| {});
        let progress = domain.shared(SENT).load(Ordering::Relaxed);
        if progress != sent {
            (sent, since) = (progress, now());
        } else if now() > since + PATIENCE {
            break;
        }
        pair::wait();
    }
    domain.drain_console(|_| {});
    sent = domain.shared(SENT).load(Ordering::Relaxed);
    if sent < count {
        println!(
            "copy {} ended after {sent} calls, the last one {} ({:#x}, {:#x}, {:#x}, {:#x})",
            domain.id,
            domain.shared(LAST_NUMBER).load(Ordering::Relaxed),
            domain.shared(LAST_NUMBER + 1).load(Ordering::Relaxed),
            domain.shared(LAST_NUMBER + 2).load(Ordering::Relaxed),
            domain.shared(LAST_NUMBER + 3).load(Ordering::Relaxed),
            domain.shared(LAST_NUMBER + 4).load(Ordering::Relaxed),
        );
    }
    good!(domain.destroy());
    Ok(sent.min(count))
}

/// dom0's side: copies send `count=` calls in all (a copy that ends early, which its calls may
/// cause, is followed by another), and the free memory is the same before and after.
pub(crate) fn run(line: &CommandLine<'_>) {
    let mut suite = Suite::new(line);
    if !suite.privileged {
        println!("ERROR mode=fuzz is for dom0");
        return;
    }
    let count = line.number("count", 50_000);
    let first_seed = line.number("seed", 1);
    crate::conformance::essentials(&mut suite);
    let ready = pair::prepare();
    suite.check("fuzz/prepare", || ready);
    // The first copy leaves this kernel with a few more page tables.
    let first = one_copy(first_seed, 1);
    suite.check("fuzz/first_copy", || first.map(|_| ()));
    let before = control::free_pages();
    let mut sent = 0;
    let mut copies = 0;
    suite.check("fuzz/all_calls_sent", || {
        while sent < count {
            ensure!(copies < 1000, "{copies} copies sent {sent} calls only");
            sent += one_copy(first_seed + copies, count - sent)?;
            copies += 1;
        }
        Ok(())
    });
    println!("{sent} hypercalls from {copies} copies, seed {first_seed}");
    suite.check("fuzz/free_memory", || pair::memory_is_back(good!(before)));
    suite.finish();
}

/// A command line being written.
struct Text {
    bytes: [u8; 80],
    used: usize,
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
        // Two words and two numbers always fit.
        let _ = core::fmt::Write::write_fmt(self, format_args!("{name}{value}"));
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}
