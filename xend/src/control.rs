//! `xend start`, `stop`, `restart` and `status`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};

use crate::cli::{Action, Cli};
use crate::log::Detail;
use crate::pid_file::PidFile;
use crate::{daemon, paths, ready};

/// Exit status of `status` when xend does not run; what init scripts expect (LSB).
const NOT_RUNNING: u8 = 3;
/// How long `stop` waits, in seconds: xend finishes the domain that it is starting first.
const STOP_SECONDS: i64 = 60;

pub(crate) fn run(cli: &Cli) -> Result<ExitCode> {
    if !geteuid().is_root() {
        bail!("this has to be run as root");
    }
    let action = cli.action.unwrap_or(Action::Start);
    let detail = match action {
        Action::TraceStart | Action::DaemonTrace => Detail::Trace,
        _ => Detail::Usual,
    };
    match action {
        Action::Start | Action::TraceStart if cli.foreground => daemon::foreground(detail)?,
        Action::Start | Action::TraceStart => start(detail)?,
        Action::Stop => stop()?,
        Action::Restart => {
            stop()?;
            start(detail)?;
        }
        Action::Status => return status(),
        Action::Daemon | Action::DaemonTrace => daemon::background(detail)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status() -> Result<ExitCode> {
    match owner()? {
        Some(pid) => {
            println!("xend is running (process {})", pid.as_raw_nonzero());
            Ok(ExitCode::SUCCESS)
        }
        None => {
            println!("xend is not running");
            Ok(ExitCode::from(NOT_RUNNING))
        }
    }
}

fn owner() -> Result<Option<Pid>> {
    PidFile::owner(Path::new(paths::PID_FILE))
}

/// Starts the background process and waits until it answers requests.
fn start(detail: Detail) -> Result<()> {
    if owner()?.is_some() {
        return Ok(());
    }
    let debug_log = open_debug_log()?;
    let action = match detail {
        Detail::Usual => "daemon",
        Detail::Trace => "daemon-trace",
    };
    let program = std::env::current_exe().context("cannot find xend's own program")?;
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(debug_log)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let output = child.stdout.take().context("no pipe to the daemon")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    match line.trim_end() {
        ready::READY => Ok(()),
        "" => bail!("it ended while it was starting; see {}", paths::DEBUG_LOG),
        problem => bail!("{problem}"),
    }
}

fn open_debug_log() -> Result<File> {
    std::fs::create_dir_all(paths::LOG_DIR)
        .with_context(|| format!("cannot make {}", paths::LOG_DIR))?;
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(paths::DEBUG_LOG)
        .with_context(|| format!("cannot open {}", paths::DEBUG_LOG))
}

fn stop() -> Result<()> {
    let Some(pid) = owner()? else {
        return Ok(());
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(Errno::SRCH) => return Ok(()),
        Err(e) => return Err(e).context("cannot find xend's process"),
    };
    match pidfd_send_signal(&process, Signal::TERM) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(()),
        Err(e) => return Err(e).context("cannot signal xend"),
    }
    let timeout = Timespec {
        tv_sec: STOP_SECONDS,
        tv_nsec: 0,
    };
    // The descriptor becomes readable when the process has ended.
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)).context("cannot wait for xend")? {
        0 => bail!(
            "process {} did not stop within {STOP_SECONDS} s; see {}",
            pid.as_raw_nonzero(),
            paths::LOG
        ),
        _ => Ok(()),
    }
}
