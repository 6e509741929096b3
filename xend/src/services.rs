//! The daemons that xend needs: xenstored and xenconsoled. They are processes of their own, so that
//! guests run on when xend stops; xend starts what is missing.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use xenstore::Client;

use crate::paths;

/// How long xenstored may take to answer.
const START: Duration = Duration::from_secs(20);
/// How often it is tried: there is no sign of readiness that every xenstored gives.
const STEP: Duration = Duration::from_millis(20);

/// Connects to xenstored, and starts it if it does not run.
pub(crate) async fn xenstore() -> Result<Client> {
    if let Ok(client) = Client::connect().await {
        return Ok(client);
    }
    let running = is_running(&["xenstored", "oxenstored"]);
    let mut child = if running {
        None
    } else {
        Some(spawn("xenstored")?)
    };
    let deadline = Instant::now() + START;
    loop {
        if let Ok(client) = Client::connect().await {
            return Ok(client);
        }
        // A daemon that goes into the background by itself ends here with success.
        if let Some(status) = child.as_mut().and_then(|c| c.try_wait().ok().flatten())
            && !status.success()
        {
            bail!(
                "xenstored ended at once ({status}); see {}",
                log("xenstored")
            );
        }
        if Instant::now() > deadline {
            bail!("xenstored does not answer; see {}", log("xenstored"));
        }
        sleep(STEP).await;
    }
}

/// Starts xenconsoled unless it runs.
pub(crate) fn console_daemon() -> Result<()> {
    if !is_running(&["xenconsoled"]) {
        spawn("xenconsoled")?;
    }
    Ok(())
}

/// Whether a process of one of these names runs. The daemons of different toolstacks have their pid
/// files in different places, but the same names.
fn is_running(names: &[&str]) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    processes.flatten().any(|process| {
        std::fs::read_to_string(process.path().join("comm"))
            .is_ok_and(|comm| names.contains(&comm.trim_end()))
    })
}

fn log(name: &str) -> String {
    format!("{}/{name}.log", paths::LOG_DIR)
}

/// Runs a daemon in a process group of its own, so that a Ctrl-C at xend's terminal does not end it.
fn spawn(name: &str) -> Result<Child> {
    let program = find(name).with_context(|| {
        format!("{name} is not running and its program is nowhere to be found; is Oxen installed?")
    })?;
    let log = log(name);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&log)
        .with_context(|| format!("cannot open {log}"))?;
    tracing::info!("starting {}", program.display());
    Command::new(&program)
        .stdin(Stdio::null())
        .stdout(
            file.try_clone()
                .with_context(|| format!("cannot open {log}"))?,
        )
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))
}

/// The program beside xend's own, or where system programs are.
fn find(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let places = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from);
    own.into_iter()
        .chain(places)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
