//! Compressed kernels: finding the payload of a bzImage and decoding it.
//!
//! All decoders write straight to where the data is to be, so that no second copy of a kernel of
//! 60 MiB is needed, and none of the hypervisor's heap beyond their tables.

mod bcj;
mod bzimage;
mod copy;
mod gzip;
mod lz4;
mod lzma;
mod lzma2;
mod range;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

use core::fmt;

#[cfg(test)]
pub(crate) use bzimage::tests::image as test_image;

pub(crate) use bzimage::{BzImage, ImageError};

/// Compressed data that cannot be decoded, or that is more than there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damaged;

/// Why a payload was not decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PayloadError {
    /// The data is damaged, or longer than it says.
    Damaged(Format),
    /// No decoder for this format.
    Unsupported(Format),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(format) => write!(f, "its {format} payload is damaged"),
            Self::Unsupported(format) => write!(
                f,
                "its payload is compressed with {format}, which is not supported; use gzip, xz, \
                 zstd, lz4 or lzma"
            ),
        }
    }
}

/// Decodes a payload to the start of `out`; returns how many bytes. `pause` is called now and then
/// between pieces, with how many there are by then.
pub(crate) fn decode(
    format: Format,
    payload: &[u8],
    out: &mut [u8],
    pause: &mut dyn FnMut(usize),
) -> Result<usize, PayloadError> {
    let decoded = match format {
        Format::Elf => out.get_mut(..payload.len()).ok_or(Damaged).map(|out| {
            out.copy_from_slice(payload);
            payload.len()
        }),
        Format::Gzip => gzip::decode(payload, out),
        Format::Xz => xz::decode(payload, out, pause),
        Format::Lzma => lzma::decode_alone(payload, out),
        Format::Lz4 => lz4::decode(payload, out),
        Format::Zstd => zstd::decode(payload, out, pause),
        Format::Bzip2 | Format::Lzo => return Err(PayloadError::Unsupported(format)),
    };
    decoded.map_err(|Damaged| PayloadError::Damaged(format))
}

/// How a payload is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Not at all: an ELF file.
    Elf,
    /// gzip.
    Gzip,
    /// XZ, with or without the x86 filter.
    Xz,
    /// The older LZMA file.
    Lzma,
    /// LZ4's legacy frame.
    Lz4,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZO.
    Lzo,
}

impl Format {
    /// Tells a payload's format from its first bytes.
    pub(crate) fn detect(payload: &[u8]) -> Option<Self> {
        Some(match *payload {
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf,
            [0x1f, 0x8b | 0x9e, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x5d, 0, 0, ..] => Self::Lzma,
            [0x02, 0x21, 0x4c, 0x18, ..] => Self::Lz4,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0x89, b'L', b'Z', b'O', ..] => Self::Lzo,
            _ => return None,
        })
    }
}

impl Format {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Elf => "ELF",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Lzo => "lzo",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
