//! Names of functions, for backtraces and for dom0's profilers.
//!
//! `cargo xtask build` writes the table into the image after linking. All numbers are little-endian: the magic, a
//! 32-bit count, then for each function its offset from the image's base and its name's offset in the table (32 bits
//! each), ascending; then the names, each ended by a NUL.

const MAGIC: &[u8; 8] = b"OXSYMS1\0";
/// Bytes before the first entry.
const HEADER: usize = 12;
/// Bytes of an entry.
const ENTRY: usize = 8;

fn word(table: &[u8], at: usize) -> Option<u32> {
    let bytes = table.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn at(table: &[u8], index: usize) -> Option<(u32, u32)> {
    let place = index.checked_mul(ENTRY)?.checked_add(HEADER)?;
    Some((word(table, place)?, word(table, place + 4)?))
}

/// How many functions the table has; 0 when nothing was written into it.
pub fn count(table: &[u8]) -> usize {
    if !table.starts_with(MAGIC) {
        return 0;
    }
    word(table, MAGIC.len()).map_or(0, |count| usize::try_from(count).unwrap_or(0))
}

/// Function `index` by address: its offset from the image's base, and its name.
pub fn nth(table: &[u8], index: usize) -> Option<(u32, &str)> {
    if index >= count(table) {
        return None;
    }
    let (start, name) = at(table, index)?;
    let name = table.get(usize::try_from(name).ok()?..)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some((start, core::str::from_utf8(name.get(..end)?).ok()?))
}

/// The function that `offset` (from the image's base) lies in, and how far into it.
pub fn lookup(table: &[u8], offset: u32) -> Option<(&str, u32)> {
    // How many start at or before it.
    let (mut low, mut high) = (0, count(table));
    while low < high {
        let middle = low + (high - low) / 2;
        if at(table, middle)?.0 <= offset {
            low = middle + 1
        } else {
            high = middle
        }
    }
    let (start, name) = nth(table, low.checked_sub(1)?)?;
    Some((name, offset.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let mut table = MAGIC.to_vec();
        for value in [3u32, 0x100, 36, 0x200, 42, 0x300, 49] {
            table.extend(value.to_le_bytes());
        }
        table.extend(b"start\0middle\0end\0");
        table
    }

    #[test]
    fn a_function_is_found_by_any_address_in_it() {
        let table = sample();
        assert_eq!(lookup(&table, 0xff), None);
        assert_eq!(lookup(&table, 0x100), Some(("start", 0)));
        assert_eq!(lookup(&table, 0x2ff), Some(("middle", 0xff)));
        assert_eq!(lookup(&table, u32::MAX), Some(("end", u32::MAX - 0x300)));
        assert_eq!(lookup(&[0; 64], 0x100), None);
    }

    #[test]
    fn functions_by_number() {
        let table = sample();
        assert_eq!(count(&table), 3);
        assert_eq!(nth(&table, 0), Some((0x100, "start")));
        assert_eq!(nth(&table, 2), Some((0x300, "end")));
        assert_eq!(nth(&table, 3), None);
        assert_eq!((count(&[0; 64]), nth(&[0; 64], 0)), (0, None));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..60, value: u8, length in 0usize..60, offset: u32) {
            let mut table = sample();
            if let Some(byte) = table.get_mut(at) {
                *byte = value;
            }
            table.truncate(length);
            // Any answer will do.
            let _ = lookup(&table, offset);
            for index in 0..4 {
                let _ = nth(&table, index);
            }
        }
    }
}
