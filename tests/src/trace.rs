//! What the machine executes in a call of the bench guest: the emulator's log, read instruction by instruction.
//!
//! The guest says `TRACE name calls` and waits for a key. The emulator is told to write down each block of
//! instructions that it executes, then the key is typed. What counts lies between the two visits to the guest's marker.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::console::{Console, Lines};
use crate::qemu::Machine;
use crate::session::with_log;

/// Longest wait for the guest, which is slow while it is traced.
const PATIENCE: Duration = Duration::from_secs(300);
/// `nochain` makes the emulator come back to its log after each block.
const ON: &str = "log exec,in_asm,nochain";
const OFF: &str = "log none";

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its address.
    pub address: u64,
    /// As the emulator's disassembler writes it (AT&T syntax).
    pub text: String,
}

/// What was executed for one kind of call.
pub struct Executed {
    /// The name of the measurement.
    pub name: String,
    /// Calls made.
    pub calls: u64,
    /// All instructions, in order.
    pub instructions: Vec<Instruction>,
}

/// Boots `machine` (which must have a trace), whose dom0 is the test guest with `mode=bench trace`, and takes what the
/// measurements whose names start with `only` execute. `marker` is the address of the guest's marker.
pub fn take(machine: &Machine, log: &Path, marker: u64, only: &str) -> Result<Vec<Executed>> {
    run(machine, log, marker, only).map_err(|err| with_log(err, log))
}

fn run(machine: &Machine, log: &Path, marker: u64, only: &str) -> Result<Vec<Executed>> {
    let trace = machine.trace.as_ref().context("the machine has no trace")?;
    let mut console = Console::start(machine, log, false, Lines::Dom0)?;
    let mut all = Vec::new();
    let mut monitor = None;
    let mut blocks = Blocks::default();
    loop {
        let line = console.expect(r"(?m)^(TRACE \S+ \d+|BENCH end)\n", PATIENCE)?;
        let Some((name, calls)) = line
            .strip_prefix("TRACE ")
            .and_then(|rest| rest.split_once(' '))
        else {
            break;
        };
        let wanted = name.starts_with(only);
        if wanted {
            let monitor = match &mut monitor {
                Some(monitor) => monitor,
                none => none.insert(Monitor::open(&trace.monitor)?),
            };
            monitor.command(ON)?;
        }
        console.type_bytes(b"k")?;
        console.expect(&format!("(?m)^TRACED {}$", regex::escape(name)), PATIENCE)?;
        if wanted && let Some(monitor) = &mut monitor {
            monitor.command(OFF)?;
            let file = File::open(&trace.log).context("the emulator left no trace")?;
            let instructions = blocks.between(BufReader::new(file), marker)?;
            ensure!(!instructions.is_empty(), "nothing was traced of {name}");
            all.push(Executed {
                name: name.to_owned(),
                calls: calls.parse()?,
                instructions,
            });
            // The emulator appends; what was read is not wanted again.
            fs::write(&trace.log, "")?;
        }
    }
    console.wait(Duration::from_secs(60))?;
    ensure!(!all.is_empty(), "no measurement has such a name");
    Ok(all)
}

/// The emulator's monitor.
struct Monitor(UnixStream);

impl Monitor {
    fn open(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).context("cannot reach QEMU's monitor")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self(stream);
        monitor.prompt()?;
        Ok(monitor)
    }

    fn command(&mut self, text: &str) -> Result<()> {
        self.0.write_all(format!("{text}\n").as_bytes())?;
        self.prompt()
    }

    /// Reads up to the next prompt.
    fn prompt(&mut self) -> Result<()> {
        let mut seen = Vec::new();
        let start = Instant::now();
        while !seen.ends_with(b"(qemu) ") {
            let mut byte = [0];
            let count = self.0.read(&mut byte)?;
            ensure!(
                count == 1 && start.elapsed() < PATIENCE,
                "QEMU's monitor does not answer"
            );
            seen.extend(byte);
        }
        Ok(())
    }
}

/// Blocks of instructions that the emulator has translated.
#[derive(Default)]
struct Blocks {
    /// By where the emulator keeps the translation.
    known: HashMap<String, Vec<Instruction>>,
    /// By address: those that were translated last and not executed yet.
    fresh: HashMap<u64, Vec<Instruction>>,
}

impl Blocks {
    /// The instructions between the first and the second visit to `marker`.
    fn between(&mut self, log: impl BufRead, marker: u64) -> Result<Vec<Instruction>> {
        let mut block: Vec<Instruction> = Vec::new();
        let mut visits = 0;
        let mut out = Vec::new();
        for line in log.lines() {
            let line = line?;
            if let Some(instruction) = instruction(&line) {
                block.push(instruction);
                continue;
            }
            let ends = line.starts_with("IN:") || line.starts_with("Trace ");
            if ends && let Some(first) = block.first() {
                self.fresh.insert(first.address, std::mem::take(&mut block));
            }
            let Some((place, address)) = executed(&line) else {
                continue;
            };
            if let Some(block) = self.fresh.remove(&address) {
                self.known.insert(place.to_owned(), block);
            }
            if address == marker {
                visits += 1;
            } else if visits == 1 {
                let block = self.known.get(place).with_context(|| {
                    format!("a block at {address:#x} was executed and never translated")
                })?;
                out.extend_from_slice(block);
            }
        }
        Ok(out)
    }
}

/// `0xffff82d040001000:  0f 05                syscall`, whose bytes some versions leave out.
fn instruction(line: &str) -> Option<Instruction> {
    let (address, rest) = line.split_once(':')?;
    let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let bytes = words
        .iter()
        .take_while(|word| word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .count();
    let text = words.get(bytes..)?.join(" ");
    // A long instruction's last bytes have a line of their own.
    (!text.is_empty()).then_some(Instruction { address, text })
}

/// `Trace 0: 0x7f0000000100 [00000000/ffff82d040001000/00c0c0b3/ff000000] name`: the translation's place, the address.
fn executed(line: &str) -> Option<(&str, u64)> {
    let rest = line.strip_prefix("Trace ")?;
    let (_, rest) = rest.split_once(": ")?;
    let (place, rest) = rest.split_once(" [")?;
    let address = rest.split('/').nth(1)?;
    Some((place, u64::from_str_radix(address, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
----------------
IN: bench_mark
0xffffffff80001000:  90                       nop
0xffffffff80001001:  c3                       retq

Trace 0: 0x7f01 [00000000/ffffffff80001000/00c0c0b3/ff000000] bench_mark
----------------
IN:
0xffff82d040001000:  48 b9 00 00 00 00 00 83  movabsq  $0xffff830000000000, %rcx
0xffff82d040001008:  ff ff
0xffff82d04000100a:  0f 22 d8                 movq     %rax, %cr3
0xffff82d04000100d:  0f 05                    syscall

Trace 0: 0x7f02 [00000000/ffff82d040001000/00c0c0b3/ff000000]
Trace 0: 0x7f02 [00000000/ffff82d040001000/00c0c0b3/ff000000]
Trace 0: 0x7f01 [00000000/ffffffff80001000/00c0c0b3/ff000000] bench_mark
Trace 0: 0x7f02 [00000000/ffff82d040001000/00c0c0b3/ff000000]
";

    #[test]
    fn what_lies_between_the_markers_counts() {
        let mut blocks = Blocks::default();
        let found = blocks
            .between(LOG.as_bytes(), 0xffff_ffff_8000_1000)
            .expect("a good log");
        assert_eq!(found.len(), 6);
        assert_eq!(found[1].text, "movq %rax, %cr3");
        // A later log names blocks of an earlier one.
        let second: String = LOG
            .lines()
            .filter(|line| line.starts_with("Trace"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(
            blocks
                .between(second.as_bytes(), 0xffff_ffff_8000_1000)
                .expect("a good log")
                .len(),
            6
        );
        assert!(
            Blocks::default()
                .between(second.as_bytes(), 0xffff_ffff_8000_1000)
                .is_err()
        );
    }
}
