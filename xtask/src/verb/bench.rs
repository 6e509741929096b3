//! `cargo xtask bench`: the same guest on ours and on Debian's Xen, and the ratio of the two.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use oxen_tests::expensive::Kind;
use oxen_tests::figures::{self, Figure, StartUp};
use oxen_tests::qemu::{Clock, Trace};
use oxen_tests::session::Hypervisor;
use oxen_tests::trace::{self, Executed, Instruction};

use crate::aims::{self, INSTRUCTIONS, OPERATIONS, Row};
use crate::hypervisor::Which;
use crate::packages::{self, Need};
use crate::user_space::{self, Way};
use crate::{paths, setup, symbols};

/// The function of the test guest that a trace starts and ends with.
const MARKER: &str = "bench_mark";
/// The measurement whose expensive operations are counted: context switches and events between vCPUs.
const SWITCH: &str = "sched.ping_pong";
/// The unit of times.
const SECONDS: &str = "seconds";
/// Boots for the time of the start-up, of which the best counts.
const BOOTS: u32 = 3;
/// The host's memory for what is kept of it.
const FOOTPRINT_MEMORY: &str = "4096M";
/// Two vCPUs on one processor.
const ARGS: &str = "dom0_max_vcpus=2";

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Also write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail if an aim is missed.
    #[arg(long)]
    check: bool,
    /// Instead, show which functions of ours the measurements whose names start so execute.
    #[arg(long, value_name = "PREFIX")]
    profile: Option<String>,
    /// With --profile: also list the instructions of the last call.
    #[arg(long, requires = "profile")]
    listing: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum What {
    /// The hypervisor: instructions of its calls.
    #[default]
    Hypervisor,
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::ensure(Need::Boot)?;
    if let Some(prefix) = &options.profile {
        return profile(prefix, options.listing);
    }
    let rows = match options.what {
        What::Hypervisor => {
            let mut rows = instructions()?;
            rows.extend(expensive()?);
            rows.extend(footprint(BOOTS)?);
            rows.extend(user_space()?);
            rows
        }
    };
    print(&rows);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&rows)?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let missed = aims::missed(&rows);
    for line in &missed {
        println!("missed: {line}");
    }
    Ok(ExitCode::from(u8::from(
        options.check && !missed.is_empty(),
    )))
}

/// What does not hang on the speed of the machine, held against its aims: instructions of the calls, and memory.
pub(crate) fn judge() -> Result<()> {
    packages::ensure(Need::Boot)?;
    let mut rows = instructions()?;
    rows.extend(footprint(1)?.into_iter().filter(|row| row.unit != SECONDS));
    print(&rows);
    let missed = aims::missed(&rows);
    ensure!(missed.is_empty(), "aims missed: {}", missed.join("; "));
    Ok(())
}

/// What each call costs, the emulator counting instructions as time.
fn instructions() -> Result<Vec<Row>> {
    let ours = counted(Which::Oxen)?;
    let xen = counted(Which::DebianXen)?;
    Ok(rows(INSTRUCTIONS, &ours, &xen))
}

/// Operations that an emulator counts as one instruction each and that cost more on silicon.
fn expensive() -> Result<Vec<Row>> {
    let ours = operations(Which::Oxen)?;
    let xen = operations(Which::DebianXen)?;
    Ok(rows(OPERATIONS, &ours, &xen))
}

fn operations(which: Which) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for executed in traced(which, SWITCH)? {
        for kind in Kind::ALL {
            let same = |instruction: &&Instruction| Kind::of(instruction) == Some(kind);
            let count = executed.instructions.iter().filter(same).count() as u64;
            figures.push(Figure {
                name: format!("{}.{}", executed.name, kind.name()),
                value: (per_call(count, executed.calls) * 10.0).round() / 10.0,
            });
        }
    }
    Ok(figures)
}

/// Own start-up in seconds, the best of so many boots; what is kept of a host's memory; what a domain that does nothing
/// takes of it.
fn footprint(boots: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (mut ours, mut xen) = (Boot::new(Which::Oxen)?, Boot::new(Which::DebianXen)?);
    // In turn, so that a change of the host's load meets both.
    for _ in 1..boots {
        ours.again()?;
        xen.again()?;
    }
    let seconds = |boot: &Boot| Figure {
        name: "boot.own_start_up".to_owned(),
        value: (boot.start_up.as_secs_f64() * 1000.0).round() / 1000.0,
    };
    rows.extend(self::rows(SECONDS, &[seconds(&ours)], &[seconds(&xen)]));
    for (name, unit) in [("memory.kept", "KiB"), ("domain.fixed_state", "bytes")] {
        let only = |figures: &[Figure]| -> Vec<Figure> {
            let named = figures.iter().filter(|figure| figure.name == name);
            named.cloned().collect()
        };
        rows.extend(self::rows(unit, &only(&ours.figures), &only(&xen.figures)));
    }
    Ok(rows)
}

/// From QEMU's start to dom0's user space, in wall seconds.
fn user_space() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, way) in [("boot.grub_bzimage", Way::Grub), ("boot.elf", Way::Elf)] {
        let times = user_space::times(way)?;
        let best = |which| {
            let of_it = times.iter().filter(|(hypervisor, _)| *hypervisor == which);
            let best = of_it.map(|(_, time)| time.as_secs_f64()).reduce(f64::min);
            best.map(|value| Figure {
                name: name.to_owned(),
                value: (value * 100.0).round() / 100.0,
            })
        };
        let ours = Vec::from_iter(best(Hypervisor::Oxen));
        let xen = Vec::from_iter(best(Hypervisor::DebianXen));
        rows.extend(self::rows(SECONDS, &ours, &xen));
    }
    Ok(rows)
}

/// What boots of one hypervisor gave.
struct Boot {
    which: Which,
    /// The shortest.
    start_up: Duration,
    figures: Vec<Figure>,
}

impl Boot {
    fn new(which: Which) -> Result<Self> {
        let (start_up, figures) = Self::take(which)?;
        Ok(Self {
            which,
            start_up,
            figures,
        })
    }

    fn again(&mut self) -> Result<()> {
        let (start_up, _) = Self::take(self.which)?;
        self.start_up = self.start_up.min(start_up);
        Ok(())
    }

    fn take(which: Which) -> Result<(Duration, Vec<Figure>)> {
        let dir = setup::run_dir()?;
        let args = "mode=bench memory exit=reboot";
        let mut machine = setup::test_guest(which, ARGS, args, 2, dir.path())?;
        machine.memory = FOOTPRINT_MEMORY.to_owned();
        let lines = match which {
            Which::Oxen => StartUp {
                first: r"(?m)^\(XEN\) Oxen ",
                dom0: r"(?m)^\(XEN\) Dom0 kernel: ",
            },
            Which::DebianXen => StartUp {
                first: r"(?m)^\(XEN\) Xen version ",
                dom0: r"(?m)^\(XEN\) \*\*\* Building a PV Dom0",
            },
        };
        figures::take_with_start_up(&machine, &log_file(which)?, lines)
    }
}

fn counted(which: Which) -> Result<Vec<Figure>> {
    let dir = setup::run_dir()?;
    let mut machine = setup::test_guest(which, ARGS, "mode=bench exit=reboot", 1, dir.path())?;
    machine.clock = Clock::Instructions;
    figures::take(&machine, &log_file(which)?)
}

/// The serial log, kept after the run.
fn log_file(which: Which) -> Result<PathBuf> {
    let logs = paths::target().join("logs");
    fs::create_dir_all(&logs)?;
    Ok(logs.join(match which {
        Which::Oxen => "bench-on-oxen.log",
        Which::DebianXen => "bench-on-xen.log",
    }))
}

/// A trace of what the guest's calls execute.
fn traced(which: Which, only: &str) -> Result<Vec<Executed>> {
    let dir = setup::run_dir()?;
    let mut machine =
        setup::test_guest(which, ARGS, "mode=bench trace exit=reboot", 1, dir.path())?;
    machine.trace = Some(Trace {
        monitor: dir.path().join("monitor"),
        log: dir.path().join("trace.log"),
    });
    let guest = symbols::Functions::read(&paths::dist().join("oxen-test-guest"))?;
    let marker = guest
        .address(MARKER)
        .context("the test guest has no marker")?;
    trace::take(&machine, &log_file(which)?, marker, only)
}

/// Instructions of each function, per call.
fn profile(prefix: &str, listing: bool) -> Result<ExitCode> {
    let all = traced(Which::Oxen, prefix)?;
    let dist = paths::dist();
    let ours = symbols::Functions::read(&dist.join("oxen-syms"))?;
    let guest = symbols::Functions::read(&dist.join("oxen-test-guest"))?;
    for executed in all {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for instruction in &executed.instructions {
            let name = ours
                .at(instruction.address)
                .or_else(|| guest.at(instruction.address).map(|_| "(the guest)"));
            *counts.entry(name.unwrap_or("?")).or_default() += 1;
        }
        let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        println!("{}: {} calls", executed.name, executed.calls);
        for (name, count) in counts {
            println!("{:>10.1}  {name}", per_call(count, executed.calls));
        }
        if listing {
            list(&executed, &ours);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The instructions from the last entry to the hypervisor on.
fn list(executed: &Executed, ours: &symbols::Functions) {
    let all = &executed.instructions;
    let entry = |instruction: &&Instruction| ours.at(instruction.address).is_some();
    let length = all.len() / usize::try_from(executed.calls).unwrap_or(usize::MAX).max(1);
    let start = all.len().saturating_sub(length);
    for instruction in all.get(start..).unwrap_or_default().iter().filter(entry) {
        let name = ours.at(instruction.address).unwrap_or_default();
        let name = name.rsplit("::").next().unwrap_or(name);
        println!("{:#x} {name:24} {}", instruction.address, instruction.text);
    }
}

/// Counts of a trace are far below the 53 bits that a float keeps.
fn per_call(count: u64, calls: u64) -> f64 {
    count as f64 / calls as f64
}

/// Those that both have.
fn rows(unit: &'static str, ours: &[Figure], xen: &[Figure]) -> Vec<Row> {
    ours.iter()
        .filter_map(|figure| {
            let other = xen.iter().find(|other| other.name == figure.name)?;
            Some(Row {
                name: figure.name.clone(),
                unit,
                ours: figure.value,
                xen: other.value,
                ratio: ratio(figure.value, other.value),
            })
        })
        .collect()
}

/// Rounded to thousandths; 1 where neither has any.
fn ratio(ours: f64, xen: f64) -> f64 {
    if ours == xen {
        return 1.0;
    }
    (ours / xen * 1000.0).round() / 1000.0
}

fn print(rows: &[Row]) {
    println!(
        "{:32} {:>14} {:>14} {:>7}  unit",
        "name", "ours", "xen", "ratio"
    );
    for row in rows {
        println!(
            "{:32} {:>14} {:>14} {:>7.3}  {}",
            row.name, row.ours, row.xen, row.ratio, row.unit
        );
    }
    if let Some(median) = aims::median(rows) {
        println!("median ratio {median:.3}");
    }
}
