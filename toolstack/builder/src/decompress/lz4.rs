//! LZ4's legacy frame, which Linux uses: after the magic, blocks of at most 8 MiB, each with its
//! compressed size in front.

const BLOCK: usize = 8 << 20;

pub(super) fn unpack(data: &[u8], out: &mut [u8]) -> Result<(), String> {
    let mut rest = data.get(4..).ok_or("it is cut short")?;
    let mut done = 0usize;
    while let Some((size, tail)) = rest.split_first_chunk::<4>() {
        let size = u32::from_le_bytes(*size) as usize;
        let block = tail.get(..size).ok_or("a block is cut short")?;
        rest = tail.get(size..).unwrap_or(&[]);
        let end = done.saturating_add(BLOCK).min(out.len());
        let target = out.get_mut(done..end).unwrap_or(&mut []);
        let n = lz4_flex::block::decompress_into(block, target).map_err(|e| e.to_string())?;
        done = done.saturating_add(n);
    }
    if !rest.is_empty() {
        return Err("it ends inside a block's size".into());
    }
    if done != out.len() {
        return Err(format!("it ends after {done} of {} bytes", out.len()));
    }
    Ok(())
}
