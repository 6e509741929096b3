//! An initramfs in memory: the "newc" cpio format of the kernel's `buffer-format.rst`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// An archive being written. Owners are root and times are 0, so that the same inputs give the same bytes.
#[derive(Default)]
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    seen: BTreeSet<String>,
    inode: u32,
}

impl Cpio {
    /// Adds a folder and those above it.
    pub(crate) fn dir(&mut self, path: &str) -> Result<()> {
        if path.is_empty() || self.seen.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.entry(path, S_IFDIR | 0o755, &[])
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, S_IFREG | mode, contents)
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, S_IFLNK | 0o777, target.as_bytes())
    }

    /// Adds everything below `from` at `to`.
    pub(crate) fn tree(&mut self, from: &Path, to: &str) -> Result<()> {
        let mut entries: Vec<_> = fs::read_dir(from)
            .with_context(|| format!("cannot read {}", from.display()))?
            .collect::<std::io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        self.dir(to)?;
        for entry in entries {
            let path = entry.path();
            let at = format!("{to}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.tree(&path, &at)?;
            } else if kind.is_symlink() {
                self.link(&at, &fs::read_link(&path)?.to_string_lossy())?;
            } else {
                let mode = entry.metadata()?.permissions().mode() & 0o777;
                self.file(&at, mode, &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    /// The finished archive, compressed.
    pub(crate) fn finish_gz(self) -> Result<Vec<u8>> {
        gzip(&self.finish()?)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.dir(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        self.seen.insert(path.to_owned());
        self.inode += 1;
        let links = if mode & S_IFDIR == S_IFDIR { 2 } else { 1 };
        let size = u32::try_from(contents.len()).with_context(|| format!("{path} is too large"))?;
        let name = u32::try_from(path.len() + 1)?;
        // inode, mode, uid, gid, links, mtime, size, four device numbers, name size, checksum
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08X}")?;
        }
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Compresses for speed: what boots is unpacked in the emulator once and thrown away. Nothing follows the
/// stream: GRUB takes the size of the unpacked file from the last four bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Puts one archive behind another. The kernel wants each at a multiple of 4 and skips the zeros between.
pub(crate) fn join(first: &mut Vec<u8>, second: &[u8]) {
    first.resize(first.len().next_multiple_of(4), 0);
    first.extend(second);
}

#[cfg(test)]
mod tests {
    use super::Cpio;

    #[test]
    fn parents_come_first_and_once() {
        let mut cpio = Cpio::default();
        cpio.file("etc/xen/demo", 0o644, b"name").expect("adds");
        cpio.link("etc/xen/other", "demo").expect("adds");
        let bytes = cpio.finish().expect("finishes");
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 5);
        assert_eq!(text.matches("etc/xen\0").count(), 1);
        assert!(text.find("etc\0") < text.find("etc/xen\0"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
