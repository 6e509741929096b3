//! The xenstore daemon.
//!
//! Serves the tree to dom0's kernel and the guests through their rings, and to dom0's programs through Unix sockets. It
//! stays in the foreground; xend starts it. On SIGTERM and SIGINT it saves its state and the next one takes it up, so
//! that guests do not notice; a state that was never saved (SIGKILL, a crash of the machine) is lost.

#![forbid(unsafe_code)]

mod files;
mod logic;
mod server;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::logic::quota::Limits;
use server::Server;

/// The xenstore daemon.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Log to standard error instead of the log file. (The daemon never detaches by itself.)
    #[arg(short = 'D', long)]
    foreground: bool,
    /// Where the process id is written; the file is locked while the daemon runs.
    #[arg(long, default_value = "/run/xenstored.pid")]
    pid_file: PathBuf,
    /// Directory of the sockets (socket, socket_ro) and of the saved state.
    #[arg(long, default_value = "/run/xenstored")]
    directory: PathBuf,
    /// The log file.
    #[arg(long, default_value = "/var/log/xen/xenstored.log")]
    log_file: PathBuf,
    /// Serve the sockets only; for tests on a machine without a hypervisor.
    #[arg(long)]
    no_domains: bool,
    /// Forget a saved state.
    #[arg(long)]
    fresh: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xenstored: {error:#}");
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let log = (!arguments.foreground).then_some(arguments.log_file.as_path());
    daemon::log::start("XENSTORED_LOG", log)?;
    // Held until the end.
    let _pid_file = daemon::lock_pid_file(&arguments.pid_file)?;
    daemon::avoid_out_of_memory_killer();
    files::allow_many_connections();
    // Before anything can be lost: a signal from here on leads to an orderly end.
    let (signal, sender) = std::os::unix::net::UnixStream::pair().context("a pair of sockets")?;
    for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let sender = sender.try_clone().context("a socket for signals")?;
        signal_hook::low_level::pipe::register(number, sender).context("a signal handler")?;
    }
    std::fs::create_dir_all(&arguments.directory)
        .with_context(|| format!("cannot make {}", arguments.directory.display()))?;
    let saved = if arguments.fresh {
        None
    } else {
        files::load_state(&arguments.directory)?
    };
    let restarted = saved.is_some();
    let mut server = Server::new(Limits::default(), saved.as_ref(), !arguments.no_domains)?;
    // The sockets come last: who can connect is served at once.
    let listeners = files::listen(&arguments.directory)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        restarted,
        "xenstored is ready"
    );
    // A bug that panics does not lose the tree either: what the logic changes, it changes as a whole.
    let result = catch_unwind(AssertUnwindSafe(|| server.run(&listeners, &signal)));
    files::save_state(&arguments.directory, &server.save())?;
    tracing::info!("xenstored ends; its state is saved");
    result.unwrap_or_else(|_| {
        bail!("a bug in xenstored; it ends, and the next one goes on from its state")
    })
}
