//! What running domains were made from: one file for each, under /run, so that it lasts exactly as
//! long as the host runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use domain_config::DomainConfig;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

/// What xend knows about a domain that it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) config: DomainConfig,
    pub(super) stage: Stage,
    /// When it was started, in seconds since 1970.
    pub(super) started: u64,
}

/// How far a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Being built. Should xend find such a record when it starts, the domain is a ruin.
    Building,
    /// Complete, with this id.
    Complete(u16),
}

impl Record {
    /// The record of a domain whose building begins now.
    pub(super) fn new(config: &DomainConfig) -> Self {
        Self {
            config: config.clone(),
            stage: Stage::Building,
            started: now(),
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// The folder of records.
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    fn path(&self, uuid: Uuid) -> PathBuf {
        self.folder.join(format!("{uuid}.json"))
    }

    /// Writes a record; whoever reads meanwhile sees the old one or the new one.
    pub(super) fn write(&self, uuid: Uuid, record: &Record) -> Result<()> {
        let path = self.path(uuid);
        let temporary = self.folder.join(format!("{uuid}.new"));
        let written = serde_json::to_vec_pretty(record)
            .map_err(std::io::Error::other)
            .and_then(|bytes| {
                let mut file = fs::File::create(&temporary)?;
                file.write_all(&bytes)?;
                fs::rename(&temporary, &path)
            });
        written.map_err(|source| Error::File {
            doing: format!("write {}", path.display()),
            source,
        })
    }

    /// Reads a domain's record; `None` if xend did not start it. One that cannot be read is reported
    /// in the log and treated as if it were not there.
    pub(super) fn read(&self, uuid: Uuid) -> Option<Record> {
        let path = self.path(uuid);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(e) => {
                tracing::warn!("cannot read {}: {e}", path.display());
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Some(record),
            Err(e) => {
                tracing::warn!("{} is not a record of a domain: {e}", path.display());
                None
            }
        }
    }

    /// Removes a record, if there is one.
    pub(super) fn remove(&self, uuid: Uuid) {
        let path = self.path(uuid);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => tracing::warn!("cannot remove {}: {e}", path.display()),
        }
    }

    /// The UUIDs of all records.
    pub(super) fn all(&self) -> Vec<Uuid> {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        files
            .flatten()
            .filter_map(|file| {
                let name = file.file_name();
                name.to_str()?.strip_suffix(".json")?.parse().ok()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path());
        let uuid = Uuid::from_u128(7);
        assert_eq!(records.read(uuid), None);
        let config = serde_json::from_str(
            r#"{"name":"demo","image":{"kernel":"/k"},"memory_mib":64,"maxmem_mib":64,"vcpus":1}"#,
        )
        .unwrap();
        let mut record = Record::new(&config);
        records.write(uuid, &record).unwrap();
        record.stage = Stage::Complete(3);
        records.write(uuid, &record).unwrap();
        assert_eq!(records.read(uuid), Some(record));
        assert_eq!(records.all(), [uuid]);
        fs::write(records.path(uuid), "{").unwrap();
        assert_eq!(records.read(uuid), None);
        records.remove(uuid);
        records.remove(uuid);
        assert!(records.all().is_empty());
    }
}
