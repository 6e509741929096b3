//! Zstandard (RFC 8878): one frame with a window of at most [`MAX_WINDOW`].

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

/// Largest window, in bytes: what `zstd --ultra -22`, which distributions use, asks for.
pub(super) const MAX_WINDOW: u64 = 128 << 20;
/// How much is decoded between two reads, in bytes.
const STEP: usize = 1 << 20;

pub(super) fn unpack(data: &[u8], out: &mut [u8]) -> Result<(), String> {
    check_window(data, out.len() as u64)?;
    let mut input = data;
    let mut decoder = FrameDecoder::new();
    decoder.init(&mut input).map_err(|e| e.to_string())?;
    let mut done = 0;
    loop {
        decoder
            .decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(STEP))
            .map_err(|e| e.to_string())?;
        let rest = out.get_mut(done..).unwrap_or(&mut []);
        let n = decoder.read(rest).map_err(|e| e.to_string())?;
        done = done.saturating_add(n);
        if decoder.can_collect() != 0 {
            return Err(format!("it is longer than {} bytes", out.len()));
        }
        if decoder.is_finished() {
            break;
        }
    }
    if done != out.len() {
        return Err(format!("it ends after {done} of {} bytes", out.len()));
    }
    let stored = decoder.get_checksum_from_data();
    if stored.is_some() && stored != decoder.get_calculated_checksum() {
        return Err("the checksum is wrong".into());
    }
    Ok(())
}

/// Looks at the frame header before the decoder reserves what it asks for.
fn check_window(data: &[u8], out: u64) -> Result<(), String> {
    let descriptor = data.get(4).ok_or("it is cut short")?;
    let single_segment = descriptor & 0x20 != 0;
    let window = if single_segment {
        out // the content's size, which has to be the output's
    } else {
        let code = data.get(5).ok_or("it is cut short")?;
        let base = 1u64 << (10 + (code >> 3));
        base + base / 8 * u64::from(code & 7)
    };
    if window > MAX_WINDOW.max(out) {
        return Err(format!(
            "it needs a window of {window} bytes; the limit is {MAX_WINDOW}"
        ));
    }
    if single_segment {
        let content = content_size(data).ok_or("it is cut short")?;
        if content != out {
            return Err(format!("it says {content} bytes where {out} are expected"));
        }
    }
    Ok(())
}

/// The content size of a single-segment frame; its field follows the dictionary id.
fn content_size(data: &[u8]) -> Option<u64> {
    let descriptor = *data.get(4)?;
    let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3))?;
    let field = data.get(5 + dictionary..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*field.first()?),
        1 => u64::from(u16::from_le_bytes(*field.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*field.first_chunk()?)),
        _ => u64::from_le_bytes(*field.first_chunk()?),
    })
}
