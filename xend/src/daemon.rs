//! The daemon's life: set up, serve, finish.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use hypercall::Hypervisor;
use tokio::signal::unix::{SignalKind, signal};

use crate::log::{self, Copy, Detail};
use crate::manager::Manager;
use crate::pid_file::PidFile;
use crate::{api, paths, ready, services};

/// Who waits for xend to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Starter {
    /// `xend start`, at the other end of standard output.
    Command,
    /// A terminal or a service manager.
    Terminal,
}

/// Runs as this process.
pub(crate) fn foreground(detail: Detail) -> Result<()> {
    log::open(detail, Copy::Stderr)?;
    run(Starter::Terminal)
}

/// Runs as the background process of `xend start`.
pub(crate) fn background(detail: Detail) -> Result<()> {
    let done = detach().and_then(|()| {
        log::open(detail, Copy::None)?;
        run(Starter::Command)
    });
    if let Err(e) = &done {
        ready::tell_failure(&format!("{e:#}"));
    }
    done
}

/// Leaves the terminal's session and the current folder.
fn detach() -> Result<()> {
    rustix::process::setsid().context("cannot leave the terminal's session")?;
    rustix::process::chdir("/").context("cannot change to /")?;
    Ok(())
}

fn run(starter: Starter) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(serve(starter));
    if let Err(e) = &done {
        tracing::error!("{e:#}");
    }
    done
}

async fn serve(starter: Starter) -> Result<()> {
    make_folders()?;
    let _pid_file = PidFile::take(Path::new(paths::PID_FILE))?;
    let hypervisor = Hypervisor::open().context("no hypervisor to manage")?;
    let store = services::xenstore().await?;
    services::console_daemon()?;
    let manager = Arc::new(Manager::new(hypervisor, store));
    manager.describe_dom0().await?;
    manager.recover().await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = api::listen()?;
    tracing::info!("xend {} is ready", env!("CARGO_PKG_VERSION"));
    match starter {
        Starter::Command => ready::tell_parent()?,
        Starter::Terminal => ready::tell_service_manager(),
    }
    let done = tokio::select! {
        served = api::serve(listener, Arc::clone(&manager)) => served.context("cannot serve requests"),
        watched = manager.watch_domains() => watched.context("cannot look after domains"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Whatever is half-way is finished first, so that no half-built domain stays behind.
    manager.finish().await;
    api::remove_socket();
    tracing::info!("xend stops; domains run on");
    done
}

fn make_folders() -> Result<()> {
    for dir in [paths::RUN_DIR, paths::DOMAINS] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
    }
    Ok(())
}
