//! QEMU's monitor, in a conversation.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// The emulator's monitor.
pub(crate) struct Monitor(UnixStream);

impl Monitor {
    /// Connects to the monitor that listens at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).context("cannot reach QEMU's monitor")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self(stream);
        monitor.prompt()?;
        Ok(monitor)
    }

    /// Has a command carried out; returns what is shown until the next prompt, the echoed command included.
    pub(crate) fn command(&mut self, text: &str) -> Result<String> {
        self.0.write_all(format!("{text}\n").as_bytes())?;
        self.prompt()
    }

    /// Reads up to the next prompt.
    fn prompt(&mut self) -> Result<String> {
        let mut seen = Vec::new();
        let start = Instant::now();
        let mut piece = [0; 4096];
        while !seen.ends_with(b"(qemu) ") {
            let count = self.0.read(&mut piece)?;
            ensure!(
                count > 0 && start.elapsed() < PATIENCE,
                "QEMU's monitor does not answer"
            );
            seen.extend(piece.iter().take(count));
        }
        Ok(String::from_utf8_lossy(&seen).into_owned())
    }
}
