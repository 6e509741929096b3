//! A log that does not fill the disk: at a certain size it becomes `NAME.1`, and a new one begins.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Size at which a log is put aside, in bytes.
const MOST: u64 = 8 << 20;

/// An open log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
    failed: bool,
}

impl LogFile {
    /// Opens a log for appending.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let file = daemon::append_to(&path)?;
        let size = file.metadata().map_or(0, |m| m.len());
        Ok(Self {
            path,
            file,
            size,
            most: MOST,
            failed: false,
        })
    }

    /// Appends. A full disk costs log lines, not the console; it is reported once.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.size >= self.most {
            self.put_aside();
        }
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.size = self.size.saturating_add(bytes.len() as u64);
                self.failed = false;
            }
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!("cannot write {}: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }

    fn put_aside(&mut self) {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        let renamed = std::fs::rename(&self.path, Path::new(&old));
        match renamed
            .map_err(anyhow::Error::from)
            .and_then(|()| daemon::append_to(&self.path))
        {
            Ok(file) => self.file = file,
            Err(error) => tracing::warn!("cannot put {} aside: {error:#}", self.path.display()),
        }
        // Also after an error, so that it is not tried again at once.
        self.size = 0;
    }
}

/// The file of a guest of this name. A name is the guest owner's choice, so it must not lead out of the directory.
pub(crate) fn guest_log(directory: &Path, name: &str) -> PathBuf {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.+@".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(200).map(safe).collect();
    directory.join(format!("guest-{name}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_directory() {
        let dir = Path::new("/log");
        assert_eq!(guest_log(dir, "web 1"), Path::new("/log/guest-web_1.log"));
        assert_eq!(
            guest_log(dir, "../../etc/x"),
            Path::new("/log/guest-.._.._etc_x.log")
        );
    }

    #[test]
    fn a_big_log_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guest-a.log");
        let mut log = LogFile::open(path.clone()).unwrap();
        log.most = 10;
        for text in ["0123456789", "next"] {
            log.write(text.as_bytes());
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "next");
        assert_eq!(
            std::fs::read_to_string(directory.path().join("guest-a.log.1")).unwrap(),
            "0123456789"
        );
    }
}
