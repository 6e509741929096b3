//! `cargo xtask run`: boots the whole in QEMU with the serial console on the terminal.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use oxen_tests::console::{Console, Lines};
use oxen_tests::qemu::Machine;
use oxen_tests::session::{Linux, Tools};

use crate::dom0::Start;
use crate::hypervisor::Which;
use crate::packages::{self, Need};
use crate::paths;
use crate::setup::{self, Setup};

/// As long as anyone would wait when no `--timeout` is given.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// As `timeout(1)` exits.
const TIMED_OUT: u8 = 124;

/// Options of `run`.
#[derive(Args)]
pub(crate) struct Options {
    /// Virtual CPUs of the machine.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=255))]
    smp: u32,
    /// Memory of the machine, as QEMU takes it (4096M, 8G).
    #[arg(long, value_name = "SIZE", default_value = "4096M")]
    memory: String,
    /// End the run after so many seconds (exit status 124).
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
    /// Write everything that comes over the serial console to this file too.
    #[arg(long, value_name = "FILE")]
    serial_log: Option<PathBuf>,
    /// Further options of the hypervisor.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    hypervisor_args: String,
    /// Further options of dom0's kernel.
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    dom0_args: String,
    /// Debian's kernel to boot, in dom0 and in guests.
    #[arg(long, value_enum, default_value_t)]
    linux: Linux,
    /// The tools in dom0's image.
    #[arg(long, value_enum, default_value_t)]
    tools: Tools,
    /// Boot this ELF file or bzImage as dom0 instead of Debian's kernel (then without an initramfs unless one is named).
    #[arg(long, value_name = "FILE")]
    dom0_kernel: Option<PathBuf>,
    /// dom0's initramfs.
    #[arg(long, value_name = "FILE")]
    dom0_initrd: Option<PathBuf>,
    /// End the run when the console shows this (exit status 0; 1 if the machine stops before).
    #[arg(long, value_name = "REGEX", conflicts_with = "exec")]
    until: Option<String>,
    /// The hypervisor to boot.
    #[arg(long, value_enum, default_value_t)]
    hypervisor: Which,
    /// QEMU's own multiboot loader instead of GRUB.
    #[arg(long)]
    direct: bool,
    /// Start xend, but not the demo; run these commands in dom0's shell, print what they print, power off, and exit
    /// with their status.
    #[arg(long, value_name = "COMMANDS", conflicts_with = "dom0_kernel")]
    exec: Option<String>,
    /// Wait for gdb on TCP port 1234 before the first instruction.
    #[arg(long)]
    gdb: bool,
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::ensure(Need::Boot)?;
    let dir = setup::run_dir()?;
    let start = match (&options.exec, &options.until) {
        (Some(commands), _) => Start::Exec(commands),
        _ => Start::Demo,
    };
    let boot = setup::prepare(
        &Setup {
            linux: options.linux,
            tools: options.tools,
            hypervisor_args: &options.hypervisor_args,
            dom0_kernel: options.dom0_kernel.as_deref(),
            dom0_initrd: options.dom0_initrd.as_deref(),
            dom0_args: &options.dom0_args,
            start,
            direct: options.direct,
            ..Setup::new(options.hypervisor)
        },
        dir.path(),
    )?;
    let machine = Machine {
        gdb: options.gdb,
        ..Machine::new(options.smp, &options.memory, boot)
    };
    if options.gdb {
        eprintln!(
            "QEMU waits: gdb {} -ex 'target remote :1234'",
            paths::dist().join("oxen-syms").display()
        );
    }
    let time = options.timeout.map_or(FOREVER, Duration::from_secs);
    match (&options.exec, &options.until) {
        (Some(_), _) => exec(&machine, &log_file(options, dir.path()), time),
        (None, Some(pattern)) => until(&machine, &log_file(options, dir.path()), pattern, time),
        (None, None) => interactive(&machine, options.serial_log.as_deref(), time),
    }
}

fn log_file(options: &Options, dir: &Path) -> PathBuf {
    options
        .serial_log
        .clone()
        .unwrap_or_else(|| dir.join("serial.log"))
}

/// The terminal is the serial console; QEMU itself does the talking.
fn interactive(machine: &Machine, log: Option<&Path>, time: Duration) -> Result<ExitCode> {
    // Ctrl-C belongs to the shell in dom0.
    let mut chardev = "stdio,id=com1,signal=off".to_owned();
    if let Some(log) = log {
        let path = std::path::absolute(log)?;
        chardev.push_str(&format!(
            ",logfile={}",
            path.display().to_string().replace(',', ",,")
        ));
    }
    let mut qemu = machine.command(&chardev)?;
    let mut child = qemu
        .stdin(Stdio::inherit())
        .spawn()
        .context("cannot start QEMU")?;
    let watch = Watch::start(child.id(), time)?;
    let status = child.wait()?;
    if watch.timed_out() {
        // QEMU could not put the terminal back in order.
        let _ = Command::new("stty")
            .arg("sane")
            .stderr(Stdio::null())
            .status();
        eprintln!("the machine did not end within {} s", time.as_secs());
        return Ok(ExitCode::from(TIMED_OUT));
    }
    Ok(code(status))
}

/// Ends a process after a time, unless it has ended before.
struct Watch {
    start: Instant,
    time: Duration,
}

impl Watch {
    fn start(pid: u32, time: Duration) -> Result<Self> {
        let watch = Self {
            start: Instant::now(),
            time,
        };
        if time < FOREVER {
            // The main thread waits for the child, so that its id stays valid as long as this matters.
            std::thread::Builder::new().spawn(move || {
                std::thread::park_timeout(time);
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            })?;
        }
        Ok(watch)
    }

    fn timed_out(&self) -> bool {
        self.start.elapsed() >= self.time
    }
}

/// Shows the console until it shows `pattern`.
fn until(machine: &Machine, log: &Path, pattern: &str, time: Duration) -> Result<ExitCode> {
    let deadline = Instant::now() + time;
    let mut console = Console::start(machine, log, true, Lines::All)?;
    let found = console.expect(pattern, time);
    println!();
    match found {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(err) => {
            eprintln!("error: {err:#}");
            Ok(if Instant::now() >= deadline {
                ExitCode::from(TIMED_OUT)
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

/// Prints what stands between the marks of `boot/dom0/start-exec`, and takes the status from the second.
fn exec(machine: &Machine, log: &Path, time: Duration) -> Result<ExitCode> {
    let deadline = Instant::now() + time;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut console = Console::start(machine, log, false, Lines::All)?;
    let outcome = (|| {
        console.expect(r"@@ exec begin[^\n]*\n", left())?;
        let mut status = None;
        while status.is_none() {
            let line = console.expect(r"(?s-u)(.*?)\n", left())?;
            match line.rsplit_once("@@ exec end ") {
                Some((rest, number)) => {
                    print!("{rest}");
                    // A line of the hypervisor may follow at once.
                    let digits = number.split(|c: char| !c.is_ascii_digit()).next();
                    let number = digits.unwrap_or_default().parse::<u8>();
                    status = Some(number.context("bad exit status in the end mark")?);
                }
                None => println!("{line}"),
            }
            std::io::stdout().flush()?;
        }
        // The status counts only if dom0 can power the machine off.
        console.wait(left().min(Duration::from_secs(60)))?;
        Ok(status.unwrap_or(1))
    })();
    match outcome {
        Ok(status) => Ok(ExitCode::from(status)),
        Err(err) => {
            let err: anyhow::Error = err;
            eprintln!("the console's last lines:\n{}", tail(&console.text(), 40));
            if left().is_zero() {
                eprintln!("error: {err:#}");
                return Ok(ExitCode::from(TIMED_OUT));
            }
            bail!(err)
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn code(status: ExitStatus) -> ExitCode {
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => ExitCode::from(code),
        _ => ExitCode::FAILURE,
    }
}
