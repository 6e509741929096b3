//! Unpacks kernel payloads, each into a buffer whose size is known beforehand.
//!
//! A decoder gets the compressed bytes and an exact output size, and fills the output or says why
//! it cannot. The most memory that is used is the output plus the window of the format, and the
//! window is never larger than the output or [`zstd::MAX_WINDOW`].

mod gzip;
mod lz4;
mod lzma;
mod xz;
mod zstd;

use crate::error::ImageError;

/// A compression format of kernel payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Gzip,
    Xz,
    Zstd,
    Lz4,
    Lzma,
}

impl Format {
    /// Recognises the format by its first bytes.
    pub(crate) fn detect(data: &[u8]) -> Result<Option<Self>, ImageError> {
        let starts = |magic: &[u8]| data.starts_with(magic);
        Ok(Some(if starts(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if starts(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Self::Xz
        } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else if starts(&[0x02, 0x21, 0x4c, 0x18]) {
            Self::Lz4
        } else if starts(&[0x5d, 0, 0]) {
            Self::Lzma
        } else if starts(b"BZh") {
            return Err(ImageError::Compression("bzip2"));
        } else if starts(&[0x89, b'L', b'Z', b'O']) {
            return Err(ImageError::Compression("LZO"));
        } else {
            return Ok(None);
        }))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Lzma => "lzma",
        }
    }
}

/// The unpacked size of a gzip file.
pub(crate) fn gzip_size(data: &[u8]) -> Option<u64> {
    gzip::claimed_size(data).map(u64::from)
}

/// Unpacks `data` into exactly `size` bytes.
pub(crate) fn unpack(format: Format, data: &[u8], size: usize) -> Result<Vec<u8>, ImageError> {
    let failed = |reason: String| ImageError::Payload {
        format: format.name(),
        reason,
    };
    let mut out = Vec::new();
    out.try_reserve_exact(size)
        .map_err(|_| failed(format!("there is no memory for {size} bytes")))?;
    out.resize(size, 0);
    // The decoders are other people's code and their input may be hostile: should one of them panic,
    // that is a damaged payload and not the end of the daemon.
    let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match format {
        Format::Gzip => gzip::unpack(data, &mut out),
        Format::Xz => xz::unpack(data, &mut out),
        Format::Zstd => zstd::unpack(data, &mut out),
        Format::Lz4 => lz4::unpack(data, &mut out),
        Format::Lzma => lzma::unpack(data, &mut out),
    }));
    match decoded {
        Ok(Ok(())) => Ok(out),
        Ok(Err(reason)) => Err(failed(reason)),
        Err(_) => Err(failed("the decoder gave up on it".into())),
    }
}

/// Reads from an in-memory decoder until `out` is full, and makes sure that nothing is left.
fn fill<E: std::fmt::Debug>(
    out: &mut [u8],
    mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), String> {
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|r| !r.is_empty()) {
        match read(rest).map_err(|e| format!("{e:?}"))? {
            0 => return Err(format!("it ends after {done} of {} bytes", out.len())),
            n => done = done.saturating_add(n),
        }
    }
    match read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(format!("it is longer than {} bytes", out.len())),
        Err(e) => Err(format!("{e:?}")),
    }
}

#[cfg(test)]
mod tests;
