//! Boots that are judged by what the hypervisor itself prints: what it does with its options, and how it refuses what
//! it cannot start.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::console::{Console, Lines};
use crate::monitor;
use crate::qemu::{Clock, Machine, Port};
use crate::session::{When, with_log};

/// The longest that a line may take to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the hypervisor is given as dom0's kernel.
#[derive(Clone, Copy, Debug)]
pub enum Kernel {
    /// The test guest, with this command line.
    TestGuest(&'static str),
    /// The first half of the test guest, an ELF file.
    HalfElf,
    /// The first half of Debian's kernel, a bzImage.
    HalfBzImage,
    /// The boot loader loads no module.
    Missing,
}

/// A boot, and the lines that it must print.
pub struct BootRun {
    /// Its name in the table of results.
    pub name: &'static str,
    /// When it runs.
    pub when: When,
    /// Further options of the hypervisor.
    pub hypervisor_args: &'static str,
    /// dom0's kernel.
    pub kernel: Kernel,
    /// Contents of the files that the boot loader loads behind the kernel.
    pub modules: &'static [&'static [u8]],
    /// Virtual CPUs.
    pub cpus: u32,
    /// Changes to the emulated CPU, as QEMU takes them: `,vendor=GenuineIntel`.
    pub cpu: &'static str,
    /// Changes to the emulated machine, as QEMU takes them: `,hpet=off`.
    pub machine: &'static str,
    /// What the machine's clock follows.
    pub clock: Clock,
    /// The serial port that is looked at.
    pub port: Port,
    /// What must come, and what is done, in this order.
    pub steps: &'static [Step],
}

/// A step of a boot.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The console shows this pattern.
    Shows(&'static str),
    /// Nothing that the console has shown so far matches this pattern.
    Never(&'static str),
    /// The machine ends by itself, within so many seconds.
    Ends(u64),
    /// The machine is still there after so many seconds.
    Stands(u64),
    /// Something is typed.
    Types(&'static str),
    /// QEMU's monitor gets a command.
    Monitor(&'static str),
    /// While CPU 0 runs a guest, this is right of what the monitor lists as mapped (`info mem`).
    InGuest(fn(&str) -> Result<()>),
}

/// Attempts to find CPU 0 with a guest.
const ATTEMPTS: u32 = 2000;

fn in_guest(monitor: &mut monitor::Monitor, check: &fn(&str) -> Result<()>) -> Result<()> {
    for _ in 0..ATTEMPTS {
        monitor.command("stop")?;
        let found = monitor.command("info registers")?.contains("CPL=3");
        let outcome = if found {
            check(&monitor.command("info mem")?)
        } else {
            Ok(())
        };
        monitor.command("cont")?;
        if found {
            return outcome.context("while a guest runs");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("CPU 0 never runs a guest")
}

/// Boots `machine` and waits for the lines; then the machine is killed. `log` gets the serial console.
pub fn run(boot: &BootRun, machine: &Machine, log: &Path) -> Result<()> {
    let mut console = Console::start(machine, log, false, Lines::All)?;
    for step in boot.steps {
        match step {
            Step::Shows(pattern) => {
                console
                    .expect(pattern, PATIENCE)
                    .context("in this order")
                    .map_err(|err| with_log(err, log))?;
            }
            Step::Never(pattern) => {
                let found = regex::Regex::new(pattern)
                    .with_context(|| format!("bad pattern {pattern:?}"))?
                    .is_match(&console.text());
                if found {
                    let err = anyhow::anyhow!("the console shows {pattern:?}");
                    return Err(with_log(err, log));
                }
            }
            Step::Ends(seconds) => {
                console
                    .wait(Duration::from_secs(*seconds))
                    .map_err(|err| with_log(err, log))?;
            }
            Step::Stands(seconds) => {
                if console.wait(Duration::from_secs(*seconds)).is_ok() {
                    let err = anyhow::anyhow!("the machine ended, which was to stand");
                    return Err(with_log(err, log));
                }
            }
            Step::Types(text) => console.type_bytes(text.as_bytes())?,
            Step::Monitor(command) => {
                let path = machine.monitor.as_deref().context("there is no monitor")?;
                let mut monitor = UnixStream::connect(path).context("QEMU's monitor")?;
                writeln!(monitor, "{command}")?;
                // QEMU carries it out before it answers with a prompt; the connection may end then.
                monitor.set_read_timeout(Some(Duration::from_secs(2)))?;
                let _ = monitor.read(&mut [0; 4096]);
            }
            Step::InGuest(check) => {
                let path = machine.monitor.as_deref().context("there is no monitor")?;
                in_guest(&mut monitor::Monitor::open(path)?, check)
                    .map_err(|err| with_log(err, log))?;
            }
        }
    }
    Ok(())
}
