//! The files of the daemon: sockets and saved state.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::logic::state::Saved;
use crate::server::{Listeners, MOST_SOCKETS};

/// Makes the sockets, for root only.
pub(crate) fn listen(directory: &Path) -> Result<Listeners> {
    let bind = |name: &str| -> Result<UnixListener> {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(e).with_context(|| format!("cannot remove the old {}", path.display()));
            }
        }
        // Bound under another name first, so that nobody connects before the permissions are set.
        let early = directory.join(format!(".{name}"));
        let _ = fs::remove_file(&early);
        let listener = UnixListener::bind(&early)
            .with_context(|| format!("cannot bind {}", early.display()))?;
        fs::set_permissions(&early, fs::Permissions::from_mode(0o600))
            .context("cannot protect the socket")?;
        listener
            .set_nonblocking(true)
            .context("cannot set up the socket")?;
        fs::rename(&early, &path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(listener)
    };
    let read_only = bind("socket_ro")?;
    Ok(Listeners {
        all: bind("socket")?,
        read_only,
    })
}

const STATE: &str = "state.json";

/// Takes the state that the last daemon saved. It is removed: a state is good once.
pub(crate) fn load_state(directory: &Path) -> Result<Option<Saved>> {
    let path = directory.join(STATE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let saved = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is damaged; with --fresh xenstored starts without it, and running guests lose it",
            path.display()
        )
    })?;
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(Some(saved))
}

/// Saves the state for the next daemon.
pub(crate) fn save_state(directory: &Path, saved: &Saved) -> Result<()> {
    let path = directory.join(STATE);
    let early = directory.join(".state.json");
    let text = serde_json::to_vec(saved).context("cannot express the state")?;
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&early);
    let written = file.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot save the state to {}", early.display()))?;
    fs::rename(&early, &path)
        .with_context(|| format!("cannot save the state to {}", path.display()))
}

/// Raises the limit of open files to what the most connections need.
pub(crate) fn allow_many_connections() {
    let needed = Some(MOST_SOCKETS as u64 + 64);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|now| Some(now) < needed) {
        let maximum = limit.maximum.max(needed);
        let raised = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: needed,
                maximum: limit.maximum.and(maximum),
            },
        );
        if let Err(error) = raised {
            tracing::warn!("cannot raise the limit of open files: {error}");
        }
    }
}
