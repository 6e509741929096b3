//! Linux's bzImage: a boot sector with a header (Documentation/arch/x86/boot.rst), set-up code, and
//! a payload that unpacks to the kernel's ELF file.

use crate::decompress::Format;
use crate::error::ImageError;

/// The first protocol version whose header says where the payload is.
const VERSION_WITH_PAYLOAD: u16 = 0x208;

/// A packed kernel inside a bzImage.
pub(super) struct Payload<'a> {
    pub(super) format: Format,
    pub(super) packed: &'a [u8],
    /// Bytes that it unpacks to, as the image claims.
    pub(super) size: u64,
}

/// The payload; `None` if this is no bzImage.
pub(super) fn payload(file: &[u8]) -> Result<Option<Payload<'_>>, ImageError> {
    let is_bzimage = file.get(0x202..0x206) == Some(b"HdrS".as_slice());
    if !is_bzimage {
        return Ok(None);
    }
    let header = ImageError::Damaged("the bzImage header is cut short");
    let version = u16_at(file, 0x206).ok_or(header.clone())?;
    if version < VERSION_WITH_PAYLOAD {
        return Err(ImageError::Damaged(
            "the bzImage is older than boot protocol 2.08 (Linux 2.6.24) and names no payload",
        ));
    }
    let setup_sectors = match file.get(0x1f1).copied().ok_or(header.clone())? {
        0 => 4, // what the oldest kernels meant by 0
        n => usize::from(n),
    };
    let start = (setup_sectors + 1) * 512;
    let offset = u32_at(file, 0x248).ok_or(header.clone())? as usize;
    let length = u32_at(file, 0x24c).ok_or(header)? as usize;
    let payload = file
        .get(start..)
        .and_then(|f| f.get(offset..))
        .and_then(|f| f.get(..length))
        .ok_or(ImageError::Damaged(
            "the payload reaches past the end of the file",
        ))?;
    // The kernel's build appends the unpacked size; in gzip it is part of the format.
    let (packed, size) = payload
        .split_last_chunk::<4>()
        .ok_or(ImageError::Damaged("the payload is empty"))?;
    let size = u64::from(u32::from_le_bytes(*size));
    let format = Format::detect(payload)?.ok_or(ImageError::Compression("an unknown format"))?;
    let packed = if format == Format::Gzip {
        payload
    } else {
        packed
    };
    Ok(Some(Payload {
        format,
        packed,
        size,
    }))
}

fn u16_at(file: &[u8], at: usize) -> Option<u16> {
    let bytes = file.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(file: &[u8], at: usize) -> Option<u32> {
    let bytes = file.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}
