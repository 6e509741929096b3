//! Multiboot 2 information (Multiboot2 Specification 2.0, section 3.6): GRUB's `multiboot2`.

use super::e820::{Kind, Region};
use super::info::{BootError, BootInfo, text};
use super::phys::PhysMemory;
use crate::num::to_usize;

/// EAX at entry.
pub const MAGIC: u32 = 0x36d7_6289;

const TAG_END: u32 = 0;
const TAG_COMMAND_LINE: u32 = 1;
const TAG_LOADER_NAME: u32 = 2;
const TAG_MODULE: u32 = 3;
const TAG_BASIC_MEMORY: u32 = 4;
const TAG_MEMORY_MAP: u32 = 6;
const TAG_EFI_32: u32 = 11;
const TAG_EFI_64: u32 = 12;
const TAG_ACPI_OLD: u32 = 14;
const TAG_ACPI_NEW: u32 = 15;

/// A tag: its type, where its payload starts, and how long that is.
#[derive(Clone, Copy)]
struct Tag {
    kind: u32,
    at: u64,
    size: u64,
}

/// Reads the structure at physical address `addr` into `info`.
pub(super) fn read(
    info: &mut BootInfo,
    memory: &impl PhysMemory,
    addr: u64,
) -> Result<(), BootError> {
    let unreadable = BootError::Unreadable {
        what: "multiboot2 information",
        addr,
    };
    let total = memory.u32(addr).ok_or(unreadable)?;
    let end = addr + u64::from(total);
    let mut basic = None;
    let mut at = addr + 8;
    loop {
        if at + 8 > end {
            return Err(BootError::Length {
                what: "multiboot2 information",
                length: total,
            });
        }
        let kind = memory.u32(at).ok_or(unreadable)?;
        let size = memory.u32(at + 4).ok_or(unreadable)?;
        if size < 8 || at + u64::from(size) > end {
            return Err(BootError::Length {
                what: "multiboot2 tag",
                length: size,
            });
        }
        let tag = Tag {
            kind,
            at: at + 8,
            size: u64::from(size) - 8,
        };
        match kind {
            TAG_END => break,
            TAG_BASIC_MEMORY => basic = Some(tag),
            _ => read_tag(info, memory, tag)?,
        }
        // Tags are 8-byte aligned.
        at += u64::from(size).next_multiple_of(8);
    }
    if let (true, Some(tag)) = (info.memory.is_empty(), basic) {
        basic_memory(info, memory, tag)?;
    }
    Ok(())
}

fn read_tag(info: &mut BootInfo, memory: &impl PhysMemory, tag: Tag) -> Result<(), BootError> {
    let line = |offset: u64| {
        text(
            memory,
            "command line",
            tag.at + offset,
            to_usize(tag.size.saturating_sub(offset)),
        )
    };
    match tag.kind {
        TAG_COMMAND_LINE => info.command_line = line(0)?,
        TAG_LOADER_NAME => info.loader = line(0)?,
        TAG_MODULE => {
            let (start, end) = (word(memory, tag, 0)?, word(memory, tag, 4)?);
            info.add_module(start, end, line(8)?)?;
        }
        TAG_MEMORY_MAP => memory_map(info, memory, tag)?,
        TAG_EFI_32 | TAG_EFI_64 => info.uefi = true,
        TAG_ACPI_NEW => info.rsdp = rsdp(memory, tag),
        TAG_ACPI_OLD if info.rsdp.is_none() => info.rsdp = rsdp(memory, tag),
        _ => {}
    }
    let newest = match tag.kind {
        TAG_COMMAND_LINE => Some(&info.command_line),
        TAG_MODULE => info.modules.last().map(|module| &module.command_line),
        _ => None,
    };
    info.cut |= newest.is_some_and(|line| line.is_full());
    Ok(())
}

/// The 32-bit word at `offset` of the tag's payload.
fn word(memory: &impl PhysMemory, tag: Tag, offset: u64) -> Result<u32, BootError> {
    if offset + 4 > tag.size {
        return Err(short(tag));
    }
    memory.u32(tag.at + offset).ok_or(BootError::Unreadable {
        what: "multiboot2 tag",
        addr: tag.at,
    })
}

fn short(tag: Tag) -> BootError {
    BootError::Length {
        what: "multiboot2 tag",
        length: u32::try_from(tag.size + 8).unwrap_or(u32::MAX),
    }
}

fn memory_map(info: &mut BootInfo, memory: &impl PhysMemory, tag: Tag) -> Result<(), BootError> {
    let entry_size = u64::from(word(memory, tag, 0)?);
    if entry_size < 24 {
        return Err(BootError::Length {
            what: "memory map entry",
            length: word(memory, tag, 0)?,
        });
    }
    let mut offset = 8;
    while offset + entry_size <= tag.size {
        let half = |at: u64| word(memory, tag, offset + at).map(u64::from);
        info.add_region(Region {
            start: half(0)? | half(4)? << 32,
            size: half(8)? | half(12)? << 32,
            kind: Kind::from_e820(word(memory, tag, offset + 16)?),
        })?;
        offset += entry_size;
    }
    Ok(())
}

/// KiB below 640 KiB, and KiB above 1 MiB up to the first hole.
fn basic_memory(info: &mut BootInfo, memory: &impl PhysMemory, tag: Tag) -> Result<(), BootError> {
    let (lower, upper) = (word(memory, tag, 0)?, word(memory, tag, 4)?);
    info.add_region(Region {
        start: 0,
        size: u64::from(lower) << 10,
        kind: Kind::Ram,
    })?;
    info.add_region(Region {
        start: 1 << 20,
        size: u64::from(upper) << 10,
        kind: Kind::Ram,
    })
}

/// The copy of the root pointer: 20 bytes for ACPI 1, 36 from ACPI 2 on.
fn rsdp(memory: &impl PhysMemory, tag: Tag) -> Option<[u8; 36]> {
    let mut copy = [0; 36];
    let length = to_usize(tag.size).min(copy.len());
    memory.read(tag.at, copy.get_mut(..length)?).then_some(copy)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::boot::phys::fake::Fake;

    const INFO: u64 = 0x1_0000;

    fn tag(kind: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = kind.to_le_bytes().to_vec();
        out.extend(u32::try_from(payload.len() + 8).unwrap().to_le_bytes());
        out.extend(payload);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    fn structure(tags: &[Vec<u8>]) -> Vec<u8> {
        let body = tags.concat();
        let mut out = u32::try_from(body.len() + 8)
            .unwrap()
            .to_le_bytes()
            .to_vec();
        out.extend([0; 4]);
        out.extend(body);
        out
    }

    fn sample() -> Vec<u8> {
        let module = [
            &0x40_0000u32.to_le_bytes()[..],
            &0x40_1000u32.to_le_bytes(),
            b"placeholder root=/dev/sda1\0",
        ];
        let mut map = vec![24, 0, 0, 0, 0, 0, 0, 0];
        for (start, size, kind) in [
            (0u64, 0x9_fc00u64, 1u32),
            (0x10_0000, 0x3fef_0000, 1),
            (1 << 32, 1 << 30, 2),
        ] {
            map.extend(start.to_le_bytes());
            map.extend(size.to_le_bytes());
            map.extend(kind.to_le_bytes());
            map.extend([0; 4]);
        }
        structure(&[
            tag(TAG_COMMAND_LINE, b"com1=115200 console=com1\0"),
            tag(TAG_LOADER_NAME, b"GRUB 2.06\0"),
            tag(TAG_MODULE, &module.concat()),
            tag(TAG_MEMORY_MAP, &map),
            tag(TAG_ACPI_OLD, b"RSD PTR old.........."),
            tag(TAG_ACPI_NEW, b"RSD PTR new........................."),
            tag(TAG_END, b""),
        ])
    }

    fn parse(bytes: Vec<u8>) -> Result<BootInfo, BootError> {
        let mut info = BootInfo::default();
        info.read(&Fake(vec![(INFO, bytes)]), MAGIC, 0x1_0000)
            .map(|()| info)
    }

    #[test]
    fn everything_is_read() {
        let info = parse(sample()).unwrap();
        assert_eq!(&*info.command_line, "com1=115200 console=com1");
        assert_eq!(&*info.loader, "GRUB 2.06");
        assert_eq!(&*info.modules[0].command_line, "placeholder root=/dev/sda1");
        assert_eq!(
            (info.modules[0].start, info.modules[0].end),
            (0x40_0000, 0x40_1000)
        );
        assert_eq!(info.memory.len(), 3);
        assert_eq!(
            info.memory[2],
            Region {
                start: 1 << 32,
                size: 1 << 30,
                kind: Kind::Reserved
            }
        );
        assert_eq!(&info.rsdp.unwrap()[..11], b"RSD PTR new");
    }

    #[test]
    fn uefi_is_told_of() {
        assert!(!parse(sample()).unwrap().uefi);
        for kind in [TAG_EFI_32, TAG_EFI_64] {
            let mut info = BootInfo::default();
            let bytes = structure(&[tag(kind, &[0; 8]), tag(TAG_END, b"")]);
            read(&mut info, &Fake(vec![(INFO, bytes)]), INFO).unwrap();
            assert!(info.uefi);
        }
    }

    #[test]
    fn a_tag_of_no_length_ends_in_an_error() {
        let bytes = structure(&[vec![1, 0, 0, 0, 0, 0, 0, 0], tag(TAG_END, b"")]);
        assert!(matches!(
            parse(bytes),
            Err(BootError::Length {
                what: "multiboot2 tag",
                length: 0
            })
        ));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..400, value: [u8; 4], length in 0usize..500) {
            let mut bytes = sample();
            bytes.truncate(length);
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&value);
            }
            // Any answer will do.
            let _ = parse(bytes);
        }
    }
}
