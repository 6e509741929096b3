//! Boots of the test guest as dom0, and the lines that it prints.
//!
//! It prints `CHECK name ok`, `CHECK name FAIL why` or `CHECK name skip why` for each check and ends with
//! `VERDICT passed=N failed=M skipped=K`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::console::{Console, Lines};
use crate::qemu::{Clock, Machine};
use crate::session::{Hypervisor, When, with_log};

/// Something that the test guest does in a boot of its own.
pub struct GuestRun {
    /// Its name in the table of results.
    pub name: &'static str,
    /// The test guest's command line.
    pub args: &'static str,
    /// Further options of the hypervisor.
    pub hypervisor_args: &'static str,
    /// Where it runs, and when.
    pub on: &'static [(Hypervisor, When)],
    /// Virtual CPUs.
    pub cpus: u32,
    /// Changes to the emulated CPU, as QEMU takes them: `,vendor=GenuineIntel`.
    pub cpu: &'static str,
    /// What the machine's clock follows.
    pub clock: Clock,
    /// Two NUMA nodes.
    pub two_nodes: bool,
    /// The longest that it may take.
    pub time: Duration,
}

/// The counts of a verdict.
pub struct Verdict {
    /// Checks that passed.
    pub passed: u32,
    /// Checks that could not run there.
    pub skipped: u32,
}

/// Boots `machine`, whose dom0 is the test guest, and reads its verdict. Failed checks are in the error.
pub fn run(machine: &Machine, log: &Path, time: Duration, echo: bool) -> Result<Verdict> {
    let mut console = Console::start(machine, log, echo, Lines::Dom0)?;
    let verdict = console
        .expect(r"(?m)^VERDICT (passed=\d+ failed=\d+ skipped=\d+)$", time)
        .context("the test guest reaches no verdict")
        .map_err(|err| with_log(err, log))?;
    // It powers off by itself; a hypervisor that cannot do that fails here.
    console
        .wait(Duration::from_secs(30))
        .context("after its verdict")?;
    let count = |name: &str| -> Result<u32> {
        let word = verdict
            .split(' ')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.and_then(|word| word.parse().ok())
            .with_context(|| format!("no {name} in {verdict}"))
    };
    let text = console.text();
    let failures: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("CHECK ") && line.contains(" FAIL"))
        .collect();
    ensure!(
        count("failed")? == 0 && failures.is_empty(),
        "{}\n{verdict}",
        failures.join("\n")
    );
    Ok(Verdict {
        passed: count("passed")?,
        skipped: count("skipped")?,
    })
}
