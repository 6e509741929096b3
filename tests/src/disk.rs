//! The disk of the machines that have one.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Its signature: bytes 440 to 443 of its first sector.
pub const SIGNATURE: u32 = 0x4f58_454e;

/// Its size in bytes.
const SIZE: u64 = 128 << 20;

/// Makes its raw image: a first sector with a signature and without code or partitions, and nothing else.
pub fn make(path: &Path) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.set_len(SIZE)?;
        file.seek(SeekFrom::Start(440))?;
        file.write_all(&SIGNATURE.to_le_bytes())?;
        file.seek(SeekFrom::Start(510))?;
        file.write_all(&[0x55, 0xaa])
    };
    write().context("cannot make a disk image")
}
