//! The file that says who is xend, and lets only one be it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Pid;

/// Held by the daemon for as long as it lives; the kernel drops the lock with the process.
pub(crate) struct PidFile {
    _file: File,
}

impl PidFile {
    /// Becomes the one daemon.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mut file = open(path).with_context(|| format!("cannot open {shown}"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!("another xend is running"),
            Err(e) => return Err(e).with_context(|| format!("cannot lock {shown}")),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write {shown}"))?;
        Ok(Self { _file: file })
    }

    /// The daemon's process id, if one runs.
    pub(crate) fn owner(path: &Path) -> Result<Option<Pid>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot open {}", path.display())),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(None),
            Err(Errno::WOULDBLOCK) => {}
            Err(e) => return Err(e).with_context(|| format!("cannot lock {}", path.display())),
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.map(Some)
            .with_context(|| format!("{} is locked but names no process", path.display()))
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("xend.pid");
        assert_eq!(PidFile::owner(&path).unwrap(), None);
        let held = PidFile::take(&path).unwrap();
        assert!(PidFile::take(&path).is_err());
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(PidFile::owner(&path).unwrap(), Pid::from_raw(me));
        drop(held);
        assert_eq!(PidFile::owner(&path).unwrap(), None);
    }
}
