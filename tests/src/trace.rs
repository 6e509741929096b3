//! What the machine executes in a call of the bench guest: the emulator's log, read instruction by instruction.
//!
//! The guest says `TRACE name calls` and waits for a key. The emulator is told to write down each block of
//! instructions that it executes, then the key is typed. What counts lies between the two visits to the guest's marker.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::console::{Console, Lines};
use crate::monitor::Monitor;
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
    let mut calls: Vec<(String, u64)> = Vec::new();
    let mut monitor = None;
    loop {
        let line = console.expect(r"(?m)^(TRACE \S+ \d+|BENCH end)\n", PATIENCE)?;
        let Some((name, count)) = line
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
            calls.push((name.to_owned(), count.parse()?));
        }
        console.type_bytes(b"k")?;
        console.expect(&format!("(?m)^TRACED {}\n", regex::escape(name)), PATIENCE)?;
        if wanted && let Some(monitor) = &mut monitor {
            // After the last measurement the machine may be gone before the answer.
            let _ = monitor.command(OFF);
        }
    }
    // The emulator writes its log out behind our back; all of it is there when the emulator has ended.
    console.wait(Duration::from_secs(60))?;
    ensure!(!calls.is_empty(), "no measurement has such a name");
    let file = File::open(&trace.log).context("the emulator left no trace")?;
    let windows = between(BufReader::new(file), marker)?;
    ensure!(
        windows.len() == calls.len(),
        "{} of {} measurements were traced",
        windows.len(),
        calls.len()
    );
    let all = calls.into_iter().zip(windows);
    Ok(all
        .map(|((name, calls), instructions)| Executed {
            name,
            calls,
            instructions,
        })
        .collect())
}

/// The instructions between each first and second visit to `marker`.
fn between(log: impl BufRead, marker: u64) -> Result<Vec<Vec<Instruction>>> {
    // Translated blocks: by where the emulator keeps them, and by address those not executed yet.
    let mut known: HashMap<String, Vec<Instruction>> = HashMap::new();
    let mut fresh: HashMap<u64, Vec<Instruction>> = HashMap::new();
    let mut block: Vec<Instruction> = Vec::new();
    let mut windows = Vec::new();
    let mut open = false;
    for line in log.lines() {
        let line = line?;
        if let Some(instruction) = instruction(&line) {
            block.push(instruction);
            continue;
        }
        let ends = line.starts_with("IN:") || line.starts_with("Trace ");
        if ends && let Some(first) = block.first() {
            fresh.insert(first.address, std::mem::take(&mut block));
        }
        let Some((place, address)) = executed(&line) else {
            continue;
        };
        if let Some(block) = fresh.remove(&address) {
            known.insert(place.to_owned(), block);
        }
        if address == marker {
            open = !open;
            if open {
                windows.push(Vec::new());
            }
        } else if open && let Some(window) = windows.last_mut() {
            window.extend_from_slice(known.get(place).with_context(|| {
                format!("a block at {address:#x} was executed and never translated")
            })?);
        }
    }
    Ok(windows)
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
        let twice = format!("{LOG}{LOG}");
        let windows = between(twice.as_bytes(), 0xffff_ffff_8000_1000).expect("a good log");
        assert_eq!(windows.len(), 2);
        assert_eq!(windows[0].len(), 6);
        assert_eq!(windows[0][1].text, "movq %rax, %cr3");
        // The second time without the blocks' translations.
        let executed = LOG.lines().filter(|line| line.starts_with("Trace"));
        let executed: Vec<&str> = executed.collect();
        let again = format!("{LOG}{}\n", executed.join("\n"));
        let windows = between(again.as_bytes(), 0xffff_ffff_8000_1000).expect("a good log");
        assert_eq!(windows[1].len(), 6);
        assert!(between(executed.join("\n").as_bytes(), 0xffff_ffff_8000_1000).is_err());
    }
}
