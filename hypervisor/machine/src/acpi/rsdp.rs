//! The root pointer, and the list of tables it leads to (sections 5.2.5 to 5.2.8).

use super::table::{HEADER, Table};
use crate::boot::phys::PhysMemory;

const SIGNATURE: &[u8; 8] = b"RSD PTR ";

/// Where the list of tables is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// A list of 32-bit addresses.
    Rsdt(u64),
    /// A list of 64-bit addresses.
    Xsdt(u64),
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn le(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Root {
    /// From the bytes of the root pointer structure.
    pub(super) fn parse(bytes: &[u8; 36]) -> Option<Self> {
        let (old, _) = bytes.split_at(20);
        if !bytes.starts_with(SIGNATURE) || sum(old) != 0 {
            return None;
        }
        let (rsdt, xsdt) = (le(&bytes[16..20]), le(&bytes[24..32]));
        let extended = bytes[15] >= 2 && xsdt != 0 && sum(bytes) == 0;
        Some(if extended {
            Self::Xsdt(xsdt)
        } else {
            Self::Rsdt(rsdt)
        })
    }

    /// Physical addresses of the tables.
    pub(super) fn tables<P: PhysMemory>(self, memory: &P) -> impl Iterator<Item = u64> {
        let (address, signature, size) = match self {
            Self::Rsdt(address) => (address, b"RSDT", 4),
            Self::Xsdt(address) => (address, b"XSDT", 8),
        };
        let list = Table::at(memory, address).filter(|table| &table.signature == signature);
        let count = list
            .as_ref()
            .map_or(0, |table| (table.length - HEADER) / size);
        (0..count).filter_map(move |i| {
            let offset = HEADER + i * size;
            let list = list.as_ref()?;
            if size == 4 {
                list.u32(offset).map(u64::from)
            } else {
                list.u64(offset)
            }
        })
    }
}

/// Searches the first KiB of the extended BIOS data area and the BIOS's ROM area.
pub(super) fn find(memory: &impl PhysMemory) -> Option<Root> {
    let mut word = [0; 2];
    let ebda = if memory.read(0x40e, &mut word) {
        u64::from(u16::from_le_bytes(word)) << 4
    } else {
        0
    };
    let places = (ebda..ebda + 1024)
        .step_by(16)
        .filter(|_| ebda != 0)
        .chain((0xe_0000..0x10_0000).step_by(16));
    for address in places {
        let mut bytes = [0; 36];
        if memory.read(address, &mut bytes)
            && let Some(root) = Root::parse(&bytes)
        {
            return Some(root);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::table::testing;
    use crate::boot::phys::fake::Fake;

    fn root(revision: u8, rsdt: u32, xsdt: u64) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[15] = revision;
        bytes[16..20].copy_from_slice(&rsdt.to_le_bytes());
        bytes[20] = 36;
        bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
        bytes[8] = 0u8.wrapping_sub(sum(&bytes[..20]));
        bytes[32] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }

    #[test]
    fn the_xsdt_is_preferred_where_there_is_one() {
        assert_eq!(Root::parse(&root(0, 0x1000, 0)), Some(Root::Rsdt(0x1000)));
        assert_eq!(
            Root::parse(&root(2, 0x1000, 0x2000)),
            Some(Root::Xsdt(0x2000))
        );
        let mut damaged = root(2, 0x1000, 0x2000);
        damaged[25] ^= 1;
        assert_eq!(Root::parse(&damaged), Some(Root::Rsdt(0x1000)));
        damaged[16] ^= 1;
        assert_eq!(Root::parse(&damaged), None);
    }

    #[test]
    fn it_is_found_in_the_rom_and_the_lists_are_walked() {
        let mut rom = vec![0; 0x2_0000];
        rom[0x50..0x74].copy_from_slice(&root(0, 0x1000, 0));
        let entries: Vec<u8> = [0x5000u32, 0x6000]
            .iter()
            .flat_map(|a| a.to_le_bytes())
            .collect();
        let memory = Fake(vec![
            (0xe_0000, rom),
            (0x1000, testing::bytes(b"RSDT", &entries)),
        ]);
        let found = find(&memory).unwrap();
        assert_eq!(found, Root::Rsdt(0x1000));
        assert_eq!(found.tables(&memory).collect::<Vec<_>>(), [0x5000, 0x6000]);
        assert_eq!(Root::Xsdt(0x1000).tables(&memory).count(), 0);
        assert_eq!(find(&Fake::default()), None);
    }
}
