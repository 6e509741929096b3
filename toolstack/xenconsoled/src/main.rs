//! The console daemon.
//!
//! Gives each guest's console a pseudo-terminal, whose name it writes to `console/tty` in the guest's xenstore
//! directory, and keeps what guests print in `/var/log/xen/console/guest-NAME.log`. It stays in the foreground; xend
//! starts it. It can be restarted while guests run: they go on, their consoles get new pseudo-terminals.

#![forbid(unsafe_code)]

mod backlog;
mod console;
mod hypervisor_log;
mod log_file;
mod manager;
mod pace;
mod ports;
mod ring;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// The console daemon.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Log to standard error instead of the log file. (The daemon never detaches by itself.)
    #[arg(short = 'D', long)]
    foreground: bool,
    /// What is kept in files: nothing, what guests print, the hypervisor's log, or both.
    #[arg(long, value_enum, default_value_t = Keep::Guest)]
    log: Keep,
    /// Directory of those files.
    #[arg(long, default_value = "/var/log/xen/console")]
    log_dir: PathBuf,
    /// Where the process id is written; the file is locked while the daemon runs.
    #[arg(long, default_value = "/run/xenconsoled.pid")]
    pid_file: PathBuf,
    /// The daemon's own log file.
    #[arg(long, default_value = "/var/log/xen/xenconsoled.log")]
    log_file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Keep {
    None,
    Guest,
    Hv,
    All,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xenconsoled: {error:#}");
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<()> {
    let log = (!arguments.foreground).then_some(arguments.log_file.as_path());
    daemon::log::start("XENCONSOLED_LOG", log)?;
    // Held until the end.
    let _pid_file = daemon::lock_pid_file(&arguments.pid_file)?;
    daemon::avoid_out_of_memory_killer();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("tokio")?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("a signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("a signal handler")?;
    let ports = ports::Ports::open()?;
    if matches!(arguments.log, Keep::Hv | Keep::All) {
        let path = arguments.log_dir.join("hypervisor.log");
        tokio::spawn(hypervisor_log::keep(path, ports.clone()));
    }
    let keep = matches!(arguments.log, Keep::Guest | Keep::All);
    let log_dir = keep.then(|| arguments.log_dir.clone());
    let manager = manager::Manager::new(ports.clone(), log_dir)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "xenconsoled is ready");
    tokio::select! {
        result = manager.run() => result,
        result = ports.dispatch() => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
