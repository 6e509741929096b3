//! Multiboot 1 information (Multiboot Specification 0.6.96, section 3.3): QEMU's `-kernel`, and GRUB's `multiboot`.

use super::e820::{Kind, Region};
use super::info::{BootError, BootInfo, MAX_COMMAND_LINE, Text, text, without_first_word};
use super::phys::PhysMemory;

/// EAX at entry.
pub const MAGIC: u32 = 0x2bad_b002;

const HAS_MEMORY: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// Bytes of a module's entry.
const MODULE_SIZE: u64 = 16;

/// Reads the structure at physical address `addr` into `info`.
pub(super) fn read(
    info: &mut BootInfo,
    memory: &impl PhysMemory,
    addr: u64,
) -> Result<(), BootError> {
    let field = |offset: u64| {
        memory.u32(addr + offset).ok_or(BootError::Unreadable {
            what: "multiboot information",
            addr,
        })
    };
    let flags = field(0)?;
    if flags & HAS_LOADER_NAME != 0 {
        info.loader = text(memory, "name", field(64)?.into(), MAX_COMMAND_LINE)?;
    }
    // GRUB 2 leaves the file's name out, everyone else puts it in front.
    let named = !info.loader.starts_with("GRUB 2");
    let mut cut = false;
    let mut line = |at: u32| -> Result<Text, BootError> {
        if at == 0 {
            return Ok(Text::new());
        }
        let line = text(memory, "command line", at.into(), MAX_COMMAND_LINE)?;
        cut |= line.is_full();
        Ok(if named {
            without_first_word(&line)
        } else {
            line
        })
    };
    if flags & HAS_COMMAND_LINE != 0 {
        info.command_line = line(field(16)?)?;
    }
    if flags & HAS_MODULES != 0 {
        let (count, table) = (field(20)?, u64::from(field(24)?));
        for i in 0..u64::from(count) {
            let word = |offset: u64| {
                memory
                    .u32(table + i * MODULE_SIZE + offset)
                    .ok_or(BootError::Unreadable {
                        what: "module list",
                        addr: table,
                    })
            };
            info.add_module(word(0)?, word(4)?, line(word(8)?)?)?;
        }
    }
    info.cut = cut;
    if flags & HAS_MEMORY_MAP != 0 {
        memory_map(info, memory, field(48)?.into(), field(44)?)?;
    } else if flags & HAS_MEMORY != 0 {
        // KiB below 640 KiB, and KiB above 1 MiB up to the first hole.
        let (lower, upper) = (u64::from(field(4)?) << 10, u64::from(field(8)?) << 10);
        info.add_region(Region {
            start: 0,
            size: lower,
            kind: Kind::Ram,
        })?;
        info.add_region(Region {
            start: 1 << 20,
            size: upper,
            kind: Kind::Ram,
        })?;
    }
    Ok(())
}

/// Entries of (size of the rest, base, length, type); the size need not be the same in all.
fn memory_map(
    info: &mut BootInfo,
    memory: &impl PhysMemory,
    start: u64,
    length: u32,
) -> Result<(), BootError> {
    let unreadable = BootError::Unreadable {
        what: "memory map",
        addr: start,
    };
    let mut at = start;
    while at < start + u64::from(length) {
        let size = memory.u32(at).ok_or(unreadable)?;
        if size < 20 {
            return Err(BootError::Length {
                what: "memory map entry",
                length: size,
            });
        }
        info.add_region(Region {
            start: memory.u64(at + 4).ok_or(unreadable)?,
            size: memory.u64(at + 12).ok_or(unreadable)?,
            kind: Kind::from_e820(memory.u32(at + 20).ok_or(unreadable)?),
        })?;
        at += u64::from(size) + 4;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::phys::fake::Fake;

    const INFO: u64 = 0x9500;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn sample(loader: &str, count: u32) -> Fake {
        let mut info = [0u32; 29];
        info[0] = HAS_COMMAND_LINE | HAS_MODULES | HAS_MEMORY_MAP | HAS_LOADER_NAME;
        info[4] = 0x1000;
        (info[5], info[6]) = (count, 0x2000);
        (info[11], info[12]) = (48, 0x3000);
        info[16] = 0x4000;
        Fake(vec![
            (INFO, words(&info)),
            (0x1000, b"oxen loglvl=all  com1=115200\0".to_vec()),
            (
                0x2000,
                words(&[0x10_0000, 0x18_0000, 0x5000, 0, 0x20_0000, 0x20_0000, 0, 0]),
            ),
            (
                0x3000,
                words(&[
                    20,
                    0,
                    0,
                    0xa_0000,
                    0,
                    1,
                    20,
                    0x10_0000,
                    0,
                    0x7ff0_0000,
                    0,
                    1,
                ]),
            ),
            (0x4000, [loader.as_bytes(), b"\0"].concat()),
            (0x5000, b"vmlinuz console=hvc0\0".to_vec()),
        ])
    }

    #[test]
    fn everything_is_read() {
        let mut info = BootInfo::default();
        info.read(&sample("qemu", 2), MAGIC, 0x9500).unwrap();
        assert_eq!(&*info.command_line, "loglvl=all  com1=115200");
        assert_eq!(info.modules.len(), 2);
        assert_eq!(
            (info.modules[0].start, info.modules[0].end),
            (0x10_0000, 0x18_0000)
        );
        assert_eq!(&*info.modules[0].command_line, "console=hvc0");
        assert_eq!(&*info.modules[1].command_line, "");
        assert_eq!(info.memory.len(), 2);
        assert_eq!(
            info.memory[1],
            Region {
                start: 0x10_0000,
                size: 0x7ff0_0000,
                kind: Kind::Ram
            }
        );
    }

    #[test]
    fn grub_2_does_not_name_the_file() {
        let mut info = BootInfo::default();
        info.read(&sample("GRUB 2.06", 1), MAGIC, 0x9500).unwrap();
        assert_eq!(&*info.command_line, "oxen loglvl=all  com1=115200");
    }

    #[test]
    fn a_long_list_and_bad_lengths_are_errors() {
        let mut info = BootInfo::default();
        let many = info.read(&sample("qemu", u32::MAX), MAGIC, 0x9500);
        assert!(matches!(
            many,
            Err(BootError::Unreadable {
                what: "module list",
                ..
            })
        ));
        let mut memory = sample("qemu", 0);
        memory.0[3].1[0] = 4;
        let short = BootInfo::default().read(&memory, MAGIC, 0x9500);
        assert_eq!(
            short,
            Err(BootError::Length {
                what: "memory map entry",
                length: 4
            })
        );
        let none = BootInfo::default().read(&Fake::default(), MAGIC, 0x9500);
        assert!(matches!(none, Err(BootError::Unreadable { .. })));
        assert_eq!(
            BootInfo::default().read(&memory, 1, 0x9500),
            Err(BootError::Magic(1))
        );
    }
}
