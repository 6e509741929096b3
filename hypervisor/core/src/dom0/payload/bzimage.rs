//! Linux's bzImage: a real-mode part, the decompressor, and in it the compressed kernel.
//!
//! Offsets are those of the kernel's Documentation/arch/x86/boot.rst; the payload's place is
//! there since protocol 2.08.

use core::fmt;

use super::Format;

/// A bzImage that has been looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BzImage<'a> {
    /// How the payload is compressed.
    pub(crate) format: Format,
    /// The compressed kernel, without the length that the kernel's build puts behind it.
    pub(crate) payload: &'a [u8],
    /// Its length uncompressed, in bytes.
    pub(crate) size: usize,
}

/// Why a file is no bzImage that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ImageError {
    /// It has no bzImage header at all.
    NotBzImage,
    /// Its boot protocol is older than 2.08.
    TooOld {
        /// The version: major in the high byte.
        version: u16,
    },
    /// It ends before its payload does.
    Truncated {
        /// Bytes that the header tells of.
        wanted: u64,
        /// Bytes there are.
        found: usize,
    },
    /// The payload's first bytes are of no known format.
    UnknownFormat,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotBzImage => f.write_str("it is neither an ELF file nor a Linux bzImage"),
            Self::TooOld { version } => write!(
                f,
                "its boot protocol {}.{:02} is too old; 2.08 (Linux 2.6.26) or later is needed",
                version >> 8,
                version & 0xff
            ),
            Self::Truncated { wanted, found } => write!(
                f,
                "the file is truncated: its header tells of {wanted} bytes, {found} were loaded"
            ),
            Self::UnknownFormat => f.write_str("its payload is compressed in an unknown format"),
        }
    }
}

impl<'a> BzImage<'a> {
    /// Finds the payload.
    pub(crate) fn parse(image: &'a [u8]) -> Result<Self, ImageError> {
        let bytes = |at: usize| {
            image
                .get(at..)
                .and_then(|rest| rest.first_chunk::<4>().copied())
        };
        if bytes(0x202) != Some(*b"HdrS") {
            return Err(ImageError::NotBzImage);
        }
        let word = |at| {
            bytes(at)
                .map(u32::from_le_bytes)
                .ok_or(ImageError::NotBzImage)
        };
        let version = (word(0x206)? & 0xffff) as u16;
        if version < 0x208 {
            return Err(ImageError::TooOld { version });
        }
        // 0 stands for 4 in very old kernels.
        let sectors = match word(0x1f1)? & 0xff {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let start = (sectors + 1) * 512 + u64::from(word(0x248)?);
        let end = start + u64::from(word(0x24c)?);
        let truncated = ImageError::Truncated {
            wanted: end,
            found: image.len(),
        };
        let payload = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| image.get(start..end))
            .ok_or(truncated)?;
        let format = Format::detect(payload).ok_or(ImageError::UnknownFormat)?;
        let (compressed, length) = payload.split_last_chunk::<4>().ok_or(truncated)?;
        let (payload, size) = match format {
            Format::Elf => (payload, payload.len()),
            // gzip's own trailer ends with the length.
            Format::Gzip => (payload, u32::from_le_bytes(*length) as usize),
            _ => (compressed, u32::from_le_bytes(*length) as usize),
        };
        Ok(Self {
            format,
            payload,
            size,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// A bzImage around a payload that is compressed already.
    pub(crate) fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn finds_the_payload() {
        let image = image(b"\xfd7zXZ\0data\x39\x30\0\0");
        let found = BzImage::parse(&image).unwrap();
        assert_eq!(found.format, Format::Xz);
        assert_eq!(found.payload, b"\xfd7zXZ\0data");
        assert_eq!(found.size, 12345);
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(
            BzImage::parse(b"hello").unwrap_err(),
            ImageError::NotBzImage
        );
        let mut bad = image(b"\xfd7zXZ\0data\x39\x30\0\0");
        let whole = bad.len();
        bad.pop();
        let wanted = ImageError::Truncated {
            wanted: whole as u64,
            found: whole - 1,
        };
        assert_eq!(BzImage::parse(&bad).unwrap_err(), wanted);
        let mut old = image(b"\xfd7zXZ\0data\x39\x30\0\0");
        old[0x206] = 7;
        assert_eq!(
            BzImage::parse(&old).unwrap_err(),
            ImageError::TooOld { version: 0x207 }
        );
        assert_eq!(
            BzImage::parse(&image(b"what is this")).unwrap_err(),
            ImageError::UnknownFormat
        );
    }
}
