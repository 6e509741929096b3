//! The log file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Mutex;

use anyhow::{Context, Result};
use tracing::Level;

use crate::paths;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What happens to domains.
    Usual,
    /// Every step.
    Trace,
}

/// Where the log goes besides its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copy {
    /// Nowhere.
    None,
    /// To standard error.
    Stderr,
}

/// Opens the log; from then on all threads log to it.
pub(crate) fn open(detail: Detail, copy: Copy) -> Result<()> {
    std::fs::create_dir_all(paths::LOG_DIR)
        .with_context(|| format!("cannot make {}", paths::LOG_DIR))?;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(paths::LOG)
        .with_context(|| format!("cannot open {}", paths::LOG))?;
    let level = match detail {
        Detail::Usual => Level::INFO,
        Detail::Trace => Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(detail == Detail::Trace)
        .with_writer(Mutex::new(Tee { file, copy }))
        .init();
    Ok(())
}

struct Tee {
    file: std::fs::File,
    copy: Copy,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.copy == Copy::Stderr {
            io::stderr().write_all(bytes)?;
        }
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
