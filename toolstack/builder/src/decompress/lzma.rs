//! The old .lzma format: properties, dictionary size, unpacked size, then one LZMA stream.

use std::io::Read;

use lzma_rust2::LzmaReader;

use super::fill;

/// Smallest dictionary that the decoder takes, in bytes.
pub(super) const MIN_DICTIONARY: u32 = 4096;

pub(super) fn unpack(data: &[u8], out: &mut [u8]) -> Result<(), String> {
    let (head, stream) = data.split_first_chunk::<13>().ok_or("it is cut short")?;
    let [properties, d0, d1, d2, d3, size @ ..] = *head;
    let dictionary = u32::from_le_bytes([d0, d1, d2, d3]);
    let size = u64::from_le_bytes(size);
    // All ones stands for "until the end mark".
    if size != u64::MAX && size != out.len() as u64 {
        return Err(format!(
            "it says {size} bytes where {} are expected",
            out.len()
        ));
    }
    let mut reader =
        LzmaReader::new_with_props(stream, size, properties, clamp(dictionary, out.len()), None)
            .map_err(|e| format!("{e:?}"))?;
    fill(out, |buffer| reader.read(buffer))
}

/// No dictionary needs to be larger than what it describes.
pub(super) fn clamp(dictionary: u32, out: usize) -> u32 {
    let most = u32::try_from(out).unwrap_or(u32::MAX);
    dictionary.min(most).max(MIN_DICTIONARY)
}
