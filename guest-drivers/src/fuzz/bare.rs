//! The two sides of a fuzzing run.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::hypercall::{HYPERVISOR_MULTICALL, MulticallEntry};

use super::calls::{self, Call, Material};
use crate::cmdline::CommandLine;
use crate::conformance::{Outcome, Suite, ensure, good};
use crate::domain::{Domain, Spec};
use crate::pair;
use crate::println;
use crate::rng::Rng;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, probe, shared};
use crate::time::now;

/// Words of the shared page: how many calls were sent, and the last one's number.
const SENT: usize = 0;
const LAST_NUMBER: usize = 8;

/// Words that count results: done, then the errors of [`COUNTED`], then all others.
const RESULTS: usize = 16;
const COUNTED: [Errno; 5] = [
    Errno::EFAULT,
    Errno::EINVAL,
    Errno::ENOSYS,
    Errno::EPERM,
    Errno::ESRCH,
];

/// Puts a few new words into the buffers. A call may have taken a buffer away; it is replaced then.
fn stir(buffers: &mut [Frame; 4], material: &mut Material, rng: &mut Rng) {
    for _ in 0..8 {
        let index = usize::try_from(rng.below(4)).unwrap_or(0);
        let value = material.value(rng);
        let address = buffers[index].address() + rng.below(80) * 8;
        if probe::write(address, value).is_err()
            && let Some(frame) = Frame::take()
        {
            buffers[index] = frame;
            material.buffers[index] = frame.address();
            material.frames[index] = frame.mfn();
        }
    }
}

/// Makes the entries of a multicall that starts in a buffer such that the caller survives them.
fn tame_multicall(call: &Call, buffers: &[Frame; 4], rng: &mut Rng) {
    for entry in 0..8 {
        let address = call.args[0].wrapping_add(entry * size_of::<MulticallEntry>() as u64);
        if buffers
            .iter()
            .any(|b| (b.address()..b.address() + 4096).contains(&address))
        {
            let _ = probe::write(address, calls::multicall_number(rng));
        }
    }
}

/// The copy's side: sends `count=` calls from `seed=`, and says after each how far it is.
pub(crate) fn send(line: &CommandLine<'_>) {
    let Some(page) = shared::own_store() else {
        println!("ERROR the fuzzer has no page to share");
        return;
    };
    let count = line.number("count", 1000);
    let mut rng = Rng::new(line.number("seed", 1));
    let mut buffers: [Frame; 4] = core::array::from_fn(|_| Frame::new());
    let mut material = Material {
        buffers: buffers.map(Frame::address),
        frames: buffers.map(Frame::mfn),
    };
    while page[SENT].load(Ordering::Relaxed) < count {
        stir(&mut buffers, &mut material, &mut rng);
        let call = material.call(&mut rng);
        if calls::ends_the_caller(&call) {
            continue;
        }
        if call.number & 0xffff_ffff == HYPERVISOR_MULTICALL {
            tame_multicall(&call, &buffers, &mut rng);
        }
        page[LAST_NUMBER].store(call.number, Ordering::Relaxed);
        for (slot, arg) in page[LAST_NUMBER + 1..].iter().zip(call.args) {
            slot.store(arg, Ordering::Relaxed);
        }
        let result = hypercall::decode(hypercall::raw(call.number, call.args));
        let kind = match result {
            Ok(_) => 0,
            Err(error) => COUNTED
                .iter()
                .position(|&counted| counted == error)
                .map_or(COUNTED.len() + 1, |at| at + 1),
        };
        page[RESULTS + kind].fetch_add(1, Ordering::Relaxed);
        page[SENT].fetch_add(1, Ordering::Relaxed);
    }
}

/// Totals of the words at [`RESULTS`].
type Results = [u64; COUNTED.len() + 2];

/// A new copy is taken after so many calls, for what they did to the old one adds up.
const CALLS_OF_A_COPY: u64 = 5_000;

/// How long a copy may stand still before it is given up.
const PATIENCE: u64 = 3_000_000_000;

/// Runs one copy until it ends or stands still; returns how many calls it sent.
fn one_copy(seed: u64, count: u64, results: &mut Results) -> Outcome<u64> {
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
    for (total, kind) in results.iter_mut().zip(RESULTS..) {
        *total += domain.shared(kind).load(Ordering::Relaxed);
    }
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
    let first = one_copy(first_seed, 1, &mut Results::default());
    suite.check("fuzz/first_copy", || first.map(|_| ()));
    let before = pair::free_pages();
    let mut sent = 0;
    let mut copies = 0;
    let mut results = Results::default();
    suite.check("fuzz/all_calls_sent", || {
        while sent < count {
            ensure!(copies < 1000, "{copies} copies sent {sent} calls only");
            sent += one_copy(
                first_seed + copies,
                (count - sent).min(CALLS_OF_A_COPY),
                &mut results,
            )?;
            copies += 1;
        }
        Ok(())
    });
    println!("{sent} hypercalls from {copies} copies, seed {first_seed}");
    let [done, errors @ .., others] = results;
    println!("results: {done} done, {others} other errors, and of {COUNTED:?}: {errors:?}");
    suite.check("fuzz/free_memory", || pair::memory_is_back(before?));
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
