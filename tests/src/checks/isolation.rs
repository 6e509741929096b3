//! What of the hypervisor's memory is mapped while a guest runs, by the emulator's own walk of the page tables.

use std::ops::Range;

use anyhow::{Result, ensure};

/// The hypervisor's addresses, without the machine-to-physical table that guests may read (hypervisor/machine/src/layout.rs).
const OWN: Range<u64> = 0xffff_8080_0000_0000..0xffff_8800_0000_0000;
/// Those of it with no part that a guest's page tables need: the frame table, and the direct map of all RAM.
const SECRET: [Range<u64>; 2] = [
    OWN.start..0xffff_8200_0000_0000,
    0xffff_8300_0000_0000..OWN.end,
];
/// Most pages that are mapped of the rest: entry code and what it touches.
const MOST: u64 = 64;

/// Nothing of the hypervisor's is mapped but what its entry code needs.
pub fn hidden(memory: &str) -> Result<()> {
    for range in SECRET {
        let bytes = mapped(memory, &range)?;
        ensure!(bytes == 0, "{bytes:#x} bytes of {range:#x?} are mapped");
    }
    let pages = mapped(memory, &OWN)? / 4096;
    ensure!(
        (1..=MOST).contains(&pages),
        "{pages} pages of the hypervisor's are mapped"
    );
    Ok(())
}

/// All RAM is mapped: what the check above must not find.
pub fn shown(memory: &str) -> Result<()> {
    for range in SECRET {
        ensure!(
            mapped(memory, &range)? > 0,
            "nothing of {range:#x?} is mapped"
        );
    }
    Ok(())
}

/// Bytes of `range` that the monitor's `info mem` lists.
fn mapped(memory: &str, range: &Range<u64>) -> Result<u64> {
    let mut sum = 0;
    let mut lines = 0;
    for line in memory.lines() {
        let Some((start, rest)) = line.trim().split_once('-') else {
            continue;
        };
        let Some((end, _)) = rest.split_once(' ') else {
            continue;
        };
        let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16))
        else {
            continue;
        };
        lines += 1;
        // The end of the address space is shown as 0.
        let last = end.wrapping_sub(1).min(range.end - 1);
        let first = start.max(range.start);
        sum += (last + 1).saturating_sub(first);
    }
    ensure!(lines > 0, "no line of a mapping in {memory:?}");
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "info mem\r\n\
        0000000000400000-0000000000401000 0000000000001000 ur-\r\n\
        ffff800000000000-ffff800000200000 0000000000200000 ur-\r\n\
        ffff820000000000-ffff820000001000 0000000000001000 -r-\r\n\
        ffffffff80000000-0000000000000000 0000000080000000 urw\r\n(qemu) ";

    #[test]
    fn mappings_are_counted_by_what_they_are_of() {
        assert_eq!(mapped(NONE, &OWN).unwrap(), 0x1000);
        assert!(hidden(NONE).is_ok() && shown(NONE).is_err());
        let all = NONE.replace(
            "ffff820000000000-ffff820000001000 0000000000001000",
            "ffff808000000000-ffff830040000000 0000027fc0000000",
        );
        assert!(hidden(&all).is_err() && shown(&all).is_ok());
        assert!(hidden("").is_err());
    }
}
