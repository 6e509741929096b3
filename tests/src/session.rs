//! Sessions: one boot, several checks.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::console::{Console, Lines};
use crate::dom0::Dom0;
use crate::qemu::Machine;

/// The hypervisor under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hypervisor {
    /// Ours.
    Oxen,
    /// Debian's Xen 4.17.
    DebianXen,
}

impl Hypervisor {
    /// As it stands in names of results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oxen => "oxen",
            Self::DebianXen => "xen",
        }
    }
}

/// The kernel of dom0 and of its guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Linux {
    /// The one that the machine's Debian has: 6.1 on Debian 12.
    #[default]
    Stock,
    /// 5.10: Debian 11's.
    #[value(name = "5.10")]
    V5_10,
    /// 6.12: Debian 12's newer one, Debian 13's own.
    #[value(name = "6.12")]
    V6_12,
}

/// The toolstack that dom0's image holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Tools {
    /// Ours alone.
    #[default]
    Ours,
    /// Those of Debian's Xen 4.17 as well.
    Debian,
}

/// When a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In every `cargo xtask test`.
    Always,
    /// With `--full` only.
    Full,
}

/// Something to verify in a running dom0.
pub struct Check {
    /// Its name in the table of results.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&mut Dom0) -> Result<()>,
}

/// A boot of dom0, and what is verified in it.
pub struct Session {
    /// Its name in the table of results.
    pub name: &'static str,
    /// Where it runs, and when.
    pub on: &'static [(Hypervisor, When)],
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, as QEMU takes it.
    pub memory: &'static str,
    /// The kernel.
    pub linux: Linux,
    /// What is in dom0's image.
    pub tools: Tools,
    /// Further options of the hypervisor.
    pub hypervisor_args: &'static str,
    /// Further options of dom0's kernel.
    pub dom0_args: &'static str,
    /// Through GRUB; QEMU's own loader otherwise.
    pub grub: bool,
    /// With a disk (empty, 128 MiB) on the AHCI controller.
    pub disk: bool,
    /// In this order. A failed check does not keep the next from running.
    pub checks: &'static [Check],
    /// How the machine ends.
    pub end: End,
}

/// How dom0 ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It powers off.
    PowerOff,
    /// It reboots.
    Reboot,
    /// Its kernel panics.
    Crash,
}

/// How a check, or another step, ended.
pub struct Outcome {
    /// Session, hypervisor and check.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub time: Duration,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// With this error.
    Failed(String),
    /// Not begun, for this machine lacks what it needs.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed(_) => "FAILED",
            Self::Skipped(_) => "skipped",
        })
    }
}

/// Times `step` and says how it ended.
pub fn measure(name: String, step: impl FnOnce() -> Result<()>) -> Outcome {
    let start = Instant::now();
    let verdict = match step() {
        Ok(()) => Verdict::Passed,
        Err(err) => Verdict::Failed(format!("{err:#}")),
    };
    let outcome = Outcome {
        name,
        verdict,
        time: start.elapsed(),
    };
    println!(
        "{} {} ({:.1} s)",
        outcome.verdict,
        outcome.name,
        outcome.time.as_secs_f64()
    );
    if let Verdict::Failed(reason) = &outcome.verdict {
        println!("{reason}");
    }
    outcome
}

impl Session {
    /// Boots what `prepare` has made ready, runs the checks and ends the machine, whatever happened. `log` gets the
    /// serial console.
    pub fn run(
        &self,
        hypervisor: Hypervisor,
        prepare: impl FnOnce() -> Result<Machine>,
        log: &Path,
    ) -> Vec<Outcome> {
        let name = |check: &str| format!("{} on {}: {check}", self.name, hypervisor.name());
        let mut outcomes = Vec::new();
        let mut dom0 = None;
        outcomes.push(measure(name("boot"), || {
            let machine = prepare().context("cannot make the machine ready")?;
            let console = Console::start(&machine, log, false, Lines::Dom0)?;
            dom0 = Some(Dom0::ready(console).map_err(|err| with_log(err, log))?);
            Ok(())
        }));
        if let Some(mut dom0) = dom0 {
            for check in self.checks {
                let outcome = measure(name(check.name), || {
                    (check.run)(&mut dom0).map_err(|err| with_log(err, log))
                });
                let failed = outcome.verdict != Verdict::Passed;
                outcomes.push(outcome);
                if failed && let Err(err) = dom0.recover() {
                    // Nothing that follows could be told from this.
                    println!("dom0 takes no more commands: {err:#}");
                    return outcomes;
                }
            }
            let how = match self.end {
                End::PowerOff => "power off",
                End::Reboot => "reboot",
                End::Crash => "a crash ends the machine",
            };
            outcomes.push(measure(name(how), || {
                dom0.end(self.end).map_err(|err| with_log(err, log))
            }));
        }
        outcomes
    }
}

/// Adds the end of the serial console to an error.
pub(crate) fn with_log(err: anyhow::Error, log: &Path) -> anyhow::Error {
    const LINES: usize = 25;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join("\n  | ");
    anyhow::anyhow!("{err:#}\n  the serial console's last lines:\n  | {tail}")
}
