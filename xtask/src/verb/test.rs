//! `cargo xtask test`: what CI runs. Every step runs, whatever the ones before said; a table ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use oxen_tests::boot_time;
use oxen_tests::boots::{self, BootRun};
use oxen_tests::disk;
use oxen_tests::guest::{self, GuestRun};
use oxen_tests::list::{BOOT_RUNS, GUEST_RUNS, SESSIONS};
use oxen_tests::qemu::{Boot, Machine};
use oxen_tests::session::{Hypervisor, Outcome, Session, Tools, Verdict, When, measure};
use tempfile::TempDir;

use crate::dom0::Start;
use crate::hypervisor::{self, Which};
use crate::packages::{self, Need};
use crate::setup::{self, Setup};
use crate::toolchain::Bare;
use crate::user_space::{self, Way};
use crate::{bare, kernel, paths, policy, sh, verb};

/// Options of `test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Also run what takes long.
    #[arg(long)]
    full: bool,
    /// Run the I-th of N shares only.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Run only the steps whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// A share of the steps: `1/3` to `3/3`.
#[derive(Clone, Copy)]
struct Shard {
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no share like 1/3");
        let (index, count) = text.split_once('/').ok_or_else(bad)?;
        let shard = Self {
            index: index.parse().map_err(|_| bad())?,
            count: count.parse().map_err(|_| bad())?,
        };
        if shard.index >= 1 && shard.index <= shard.count {
            Ok(shard)
        } else {
            Err(bad())
        }
    }
}

/// A step: its name, and what it does.
struct Step {
    name: String,
    /// It takes Debian's Xen 4.17, or its tools.
    with_xen: bool,
    run: Box<dyn FnOnce() -> Vec<Outcome>>,
}

impl Step {
    fn new(name: &str, run: impl FnOnce() -> Result<()> + 'static) -> Self {
        let title = name.to_owned();
        Self {
            name: name.to_owned(),
            with_xen: false,
            run: Box::new(move || vec![measure(title, run)]),
        }
    }

    fn with_xen(self, with_xen: bool) -> Self {
        Self { with_xen, ..self }
    }

    fn skip(self, reason: &str) -> Outcome {
        skipped(self.name, reason)
    }
}

fn skipped(name: String, reason: &str) -> Outcome {
    println!("skipped: {reason}");
    Outcome {
        name,
        verdict: Verdict::Skipped(reason.to_owned()),
        time: Duration::ZERO,
    }
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::ensure(Need::Test)?;
    let steps = steps(options);
    let no_xen = if steps.iter().any(|step| step.with_xen) {
        hypervisor::no_debian_xen()?
    } else {
        None
    };
    let mut outcomes = Vec::new();
    for step in steps {
        println!("==== {}", step.name);
        match &no_xen {
            Some(reason) if step.with_xen => outcomes.push(step.skip(reason)),
            _ => outcomes.extend((step.run)()),
        }
    }
    ensure!(!outcomes.is_empty(), "no step has such a name");
    Ok(summary(&outcomes))
}

fn steps(options: &Options) -> Vec<Step> {
    let mut steps = host_steps();
    for run in GUEST_RUNS {
        for &(hypervisor, when) in run.on {
            if when == When::Always || options.full {
                steps.push(guest_step(run, hypervisor));
            }
        }
    }
    for run in BOOT_RUNS {
        if run.when == When::Always || options.full {
            steps.push(boot_step(run));
        }
    }
    for session in SESSIONS {
        for &(hypervisor, when) in session.on {
            if when == When::Always || options.full {
                steps.push(session_step(session, hypervisor));
            }
        }
    }
    steps.push(Step::new("costs of calls", verb::bench::judge).with_xen(true));
    if options.full {
        steps.push(Step::new("boot time", boot_time).with_xen(true));
    }
    if let Some(shard) = options.shard {
        let mut number = 0;
        steps.retain(|_| {
            number += 1;
            number % shard.count == shard.index % shard.count
        });
    }
    if let Some(only) = &options.only {
        steps.retain(|step| step.name.contains(only.as_str()));
    }
    steps
}

/// What runs without an emulator.
fn host_steps() -> Vec<Step> {
    vec![
        Step::new("fmt", || sh::run(cargo().args(["fmt", "--all", "--check"]))),
        Step::new("unsafe code", policy::check),
        Step::new("clippy, host", || {
            sh::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]))
        }),
        Step::new("clippy, bare metal", || bare::clippy(&Bare::find()?)),
        Step::new("host tests", host_tests),
        Step::new("interleavings", interleavings),
        Step::new("build", || verb::build::run(&[]).map(|_| ())),
        Step::new("docs", || {
            sh::run(
                cargo()
                    .args(["doc", "--workspace", "--no-deps", "--quiet"])
                    .env("RUSTDOCFLAGS", "-Dwarnings"),
            )
        }),
    ]
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths::root());
    cargo
}

/// With nextest where it is installed. It leaves doc tests out.
fn host_tests() -> Result<()> {
    let nextest = sh::quiet(cargo().args(["nextest", "--version"])).is_ok();
    if nextest {
        sh::run(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast"]))?;
        sh::run(cargo().args(["test", "--workspace", "--doc", "--quiet"]))
    } else {
        sh::run(cargo().args(["test", "--workspace", "--no-fail-fast", "--quiet"]))
    }
}

/// Models of the hypervisor's lock-free parts, in all interleavings. They are built apart, with loom's atomics.
fn interleavings() -> Result<()> {
    sh::run(
        cargo()
            .args(["test", "--quiet", "--package", "oxen-core"])
            .args(["--test", "interleavings"])
            .arg("--target-dir")
            .arg(paths::target().join("loom"))
            .env("RUSTFLAGS", "--cfg loom"),
    )
}

fn guest_step(run: &'static GuestRun, hypervisor: Hypervisor) -> Step {
    let name = format!("{} on {}", run.name, hypervisor.name());
    let log = log_file(&name);
    Step::new(&name, move || {
        let dir = folders(&log)?;
        let mut machine = setup::test_guest(
            Which::of(hypervisor),
            run.hypervisor_args,
            run.args,
            run.cpus,
            dir.path(),
        )?;
        machine.clock = run.clock;
        machine.cpu = run.cpu;
        machine.two_nodes = run.two_nodes;
        let verdict = guest::run(&machine, &log, run.time, false)?;
        println!(
            "{} checks passed, {} skipped",
            verdict.passed, verdict.skipped
        );
        Ok(())
    })
    .with_xen(hypervisor == Hypervisor::DebianXen)
}

fn boot_step(run: &'static BootRun) -> Step {
    let name = format!("{} on {}", run.name, Hypervisor::Oxen.name());
    let log = log_file(&name);
    Step::new(&name, move || {
        let dir = folders(&log)?;
        let machine = setup::boot_run(run, dir.path())?;
        boots::run(run, &machine, &log)
    })
}

fn session_step(session: &'static Session, hypervisor: Hypervisor) -> Step {
    let name = format!("{} on {}", session.name, hypervisor.name());
    let title = name.clone();
    Step {
        name,
        with_xen: hypervisor == Hypervisor::DebianXen || session.tools == Tools::Debian,
        run: Box::new(move || run_session(session, hypervisor, &title)),
    }
}

fn run_session(session: &Session, hypervisor: Hypervisor, title: &str) -> Vec<Outcome> {
    if let Some(reason) = kernel::missing(session.linux) {
        return vec![skipped(title.to_owned(), &reason)];
    }
    let log = log_file(title);
    let dir = match folders(&log) {
        Ok(dir) => dir,
        Err(err) => return vec![measure(title.to_owned(), || Err(err))],
    };
    session.run(
        hypervisor,
        || machine(session, hypervisor, dir.path()),
        &log,
    )
}

/// GRUB to user space.
fn boot_time() -> Result<()> {
    boot_time::judge(&user_space::times(Way::Grub)?)
}

/// Kept after the run, for whoever looks into a failure.
fn log_file(title: &str) -> PathBuf {
    paths::target()
        .join("logs")
        .join(format!("{}.log", file_name(title)))
}

fn folders(log: &Path) -> Result<TempDir> {
    if let Some(logs) = log.parent() {
        fs::create_dir_all(logs)?;
    }
    setup::run_dir()
}

fn machine(session: &Session, hypervisor: Hypervisor, dir: &Path) -> Result<Machine> {
    let setup = Setup {
        linux: session.linux,
        tools: session.tools,
        hypervisor_args: session.hypervisor_args,
        dom0_args: session.dom0_args,
        ..dom0_setup(hypervisor, session.grub)
    };
    let boot = setup::prepare(&setup, dir)?;
    let disk = session.disk.then(|| dir.join("disk.img"));
    if let Some(disk) = &disk {
        disk::make(disk)?;
    }
    Ok(machine_with(session.cpus, session.memory, boot, disk))
}

/// Debian's dom0, waiting for the tests' commands.
fn dom0_setup(hypervisor: Hypervisor, grub: bool) -> Setup<'static> {
    Setup {
        start: Start::Test,
        direct: !grub,
        ..Setup::new(Which::of(hypervisor))
    }
}

fn machine_with(cpus: u32, memory: &str, boot: Boot, disk: Option<PathBuf>) -> Machine {
    Machine {
        disk,
        ..Machine::new(cpus, memory, boot)
    }
}

/// Letters and digits of `title`.
fn file_name(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
        .to_lowercase()
}

fn summary(outcomes: &[Outcome]) -> ExitCode {
    println!("\n==== summary");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for outcome in outcomes {
        match outcome.verdict {
            Verdict::Passed => passed += 1,
            Verdict::Failed(_) => failed += 1,
            Verdict::Skipped(_) => skipped += 1,
        }
        println!(
            "{:7} {:8.1} s  {}",
            outcome.verdict.to_string(),
            outcome.time.as_secs_f64(),
            outcome.name
        );
    }
    print!("\n{passed} passed, {failed} failed");
    if skipped != 0 {
        print!(", {skipped} skipped");
    }
    println!();
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
