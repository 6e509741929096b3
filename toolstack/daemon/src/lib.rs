//! What the toolstack's daemons have in common: pid file, log file.

#![forbid(unsafe_code)]

pub mod log;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Writes the process id to `path` and locks the file, so that there is one daemon only. The lock goes with the
/// returned file.
///
/// # Errors
/// Another daemon holds the lock, or the file cannot be written.
pub fn lock_pid_file(path: &Path) -> Result<File> {
    let name = path.display();
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path);
    let mut file = file.with_context(|| format!("cannot open {name}"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN) => {
            let pid = fs::read_to_string(path).unwrap_or_default();
            bail!("it runs already, as process {} ({name})", pid.trim());
        }
        Err(e) => return Err(e).with_context(|| format!("cannot lock {name}")),
    }
    file.set_len(0)
        .with_context(|| format!("cannot empty {name}"))?;
    writeln!(file, "{}", std::process::id()).with_context(|| format!("cannot write {name}"))?;
    Ok(file)
}

/// Opens a log file for appending; makes it and its directory where they are missing.
///
/// # Errors
/// The directory or the file cannot be made.
pub fn append_to(path: &Path) -> Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    file.with_context(|| format!("cannot open the log {}", path.display()))
}

/// Asks the kernel to end others first when memory runs out: without these daemons no domain can be controlled.
pub fn avoid_out_of_memory_killer() {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-900") {
        tracing::debug!("cannot lower the score for the out-of-memory killer: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.pid");
        let held = lock_pid_file(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        let error = lock_pid_file(&path).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(held);
        lock_pid_file(&path).unwrap();
    }
}
