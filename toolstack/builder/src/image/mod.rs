//! Kernel images: from a file to what has to be put where.

mod bzimage;
mod elf;
mod notes;

use std::io::Read;
use std::path::Path;

pub use notes::Notes;

use crate::decompress::{self, Format};
use crate::error::{Error, ImageError};

/// Largest kernel file, and largest unpacked kernel, in bytes. Debian's 6.1 unpacks to 66 MB.
pub const MAX_IMAGE: u64 = 512 << 20;

/// A kernel that can be started as a PV guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The unpacked ELF file.
    pub(crate) elf: Vec<u8>,
    /// What is loaded, by address.
    pub(crate) segments: Vec<Segment>,
    /// What the kernel says about itself.
    pub notes: Notes,
}

/// A part of the file that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it goes, in bytes from the start of the domain's pseudo-physical memory.
    pub(crate) address: u64,
    /// Where it is in the ELF file.
    pub(crate) offset: usize,
    /// Its bytes in the file.
    pub(crate) file_size: usize,
    /// Its bytes in memory; those past `file_size` are zero.
    pub(crate) memory_size: u64,
}

impl Kernel {
    /// Reads and unpacks the kernel at `path`.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Image`], which name the path.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = read_bounded(path).map_err(|source| Error::File {
            what: "kernel",
            path: path.to_owned(),
            source,
        })?;
        Self::parse(file).map_err(|source| Error::Image {
            path: path.to_owned(),
            source,
        })
    }

    /// Unpacks a kernel file: an ELF file, a bzImage, or an ELF file packed with gzip.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: Vec<u8>) -> Result<Self, ImageError> {
        let elf = if elf::is_elf(&file) {
            file
        } else if let Some(payload) = bzimage::payload(&file)? {
            decompress::unpack(payload.format, payload.packed, bounded(payload.size)?)?
        } else if let Some(Format::Gzip) = Format::detect(&file)? {
            let size =
                decompress::gzip_size(&file).ok_or(ImageError::Damaged("no gzip trailer"))?;
            decompress::unpack(Format::Gzip, &file, bounded(size)?)?
        } else {
            return Err(ImageError::UnknownFormat);
        };
        let (segments, notes) = elf::parse(&elf)?;
        Ok(Self {
            elf,
            segments,
            notes,
        })
    }

    /// The first byte past the kernel, in pseudo-physical memory.
    pub(crate) fn end(&self) -> u64 {
        let end = |s: &Segment| s.address.saturating_add(s.memory_size);
        self.segments.iter().map(end).max().unwrap_or(0)
    }

    /// A segment's bytes in the file.
    pub(crate) fn bytes(&self, segment: &Segment) -> &[u8] {
        let end = segment.offset.saturating_add(segment.file_size);
        self.elf.get(segment.offset..end).unwrap_or(&[])
    }
}

fn bounded(size: u64) -> Result<usize, ImageError> {
    usize::try_from(size)
        .ok()
        .filter(|_| size <= MAX_IMAGE)
        .ok_or(ImageError::TooLarge {
            bytes: size,
            limit: MAX_IMAGE,
        })
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    if meta.len() > MAX_IMAGE {
        let text = format!("it is larger than {MAX_IMAGE} bytes");
        return Err(std::io::Error::other(text));
    }
    let mut bytes = Vec::new();
    file.take(MAX_IMAGE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
