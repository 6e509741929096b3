//! What the loader says, in plain data of our own.
//!
//! GRUB may put its structures into alignment gaps of the loaded image, and everything it says is read once, here,
//! before any memory outside the image is written.

use core::fmt;

use arrayvec::{ArrayString, ArrayVec};

use super::e820::{MAX_REGIONS, Region};
use super::phys::PhysMemory;
use super::{multiboot1, multiboot2};

/// Most modules that are taken.
pub const MAX_MODULES: usize = 16;
/// Longest command line in bytes: Linux takes 2047.
pub const MAX_COMMAND_LINE: usize = 2048;

/// A command line or a name, in printable ASCII: white space is replaced by blanks, any other byte by `?`.
pub type Text = ArrayString<MAX_COMMAND_LINE>;

/// A file that the loader put into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Physical address of its first byte.
    pub start: u64,
    /// Physical address past its last byte; not below `start`.
    pub end: u64,
    /// Its command line, without the file's name.
    pub command_line: Text,
}

/// What the loader says.
#[derive(Debug, Default)]
pub struct BootInfo {
    /// The loader's name.
    pub loader: Text,
    /// The hypervisor's command line, without the image's name.
    pub command_line: Text,
    /// There was more of some command line than is kept.
    pub cut: bool,
    /// Modules, in the order of the loader's entries.
    pub modules: ArrayVec<Module, MAX_MODULES>,
    /// Memory map as the firmware gives it: unsorted, possibly overlapping.
    pub memory: ArrayVec<Region, MAX_REGIONS>,
    /// A copy of the ACPI root pointer structure (20 or 36 bytes used), if the loader gives one.
    pub rsdp: Option<[u8; 36]>,
    /// The firmware is UEFI, as far as the loader tells: there is no BIOS to call.
    pub uefi: bool,
}

/// Why the loader's information is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// EAX does not hold the magic number of a loader.
    Magic(u32),
    /// A structure lies where nothing can be read.
    Unreadable {
        /// Which one.
        what: &'static str,
        /// Its physical address.
        addr: u64,
    },
    /// A structure says that it is shorter than its own header, or longer than the whole.
    Length {
        /// Which one.
        what: &'static str,
        /// The length it gives, in bytes.
        length: u32,
    },
    /// There is no memory map.
    NoMemoryMap,
    /// There are more of these than are taken.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: usize,
    },
    /// A module's end lies before its start.
    Module {
        /// Its number, from 0.
        index: usize,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic(magic) => write!(
                f,
                "not started by a multiboot loader (EAX = {magic:#x}); use GRUB's multiboot2 or QEMU's -kernel"
            ),
            Self::Unreadable { what, addr } => {
                write!(f, "the loader's {what} at {addr:#x} cannot be read")
            }
            Self::Length { what, length } => {
                write!(f, "the loader's {what} has the impossible length {length}")
            }
            Self::NoMemoryMap => write!(f, "the loader gives no memory map"),
            Self::TooMany { what, limit } => write!(f, "the loader gives more than {limit} {what}"),
            Self::Module { index } => {
                write!(f, "the loader's module {index} ends before it starts")
            }
        }
    }
}

impl BootInfo {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            loader: Text::new_const(),
            command_line: Text::new_const(),
            cut: false,
            modules: ArrayVec::new_const(),
            memory: ArrayVec::new_const(),
            rsdp: None,
            uefi: false,
        }
    }

    /// Reads what the loader left, by the number that it left in EAX and the address in EBX.
    pub fn read(
        &mut self,
        memory: &impl PhysMemory,
        magic: u32,
        addr: u32,
    ) -> Result<(), BootError> {
        match magic {
            multiboot1::MAGIC => multiboot1::read(self, memory, addr.into())?,
            multiboot2::MAGIC => multiboot2::read(self, memory, addr.into())?,
            other => return Err(BootError::Magic(other)),
        }
        if self.memory.is_empty() {
            return Err(BootError::NoMemoryMap);
        }
        Ok(())
    }

    pub(super) fn add_module(
        &mut self,
        start: u32,
        end: u32,
        command_line: Text,
    ) -> Result<(), BootError> {
        if end < start {
            return Err(BootError::Module {
                index: self.modules.len(),
            });
        }
        let module = Module {
            start: start.into(),
            end: end.into(),
            command_line,
        };
        self.modules
            .try_push(module)
            .map_err(|_| BootError::TooMany {
                what: "modules",
                limit: MAX_MODULES,
            })
    }

    pub(super) fn add_region(&mut self, region: Region) -> Result<(), BootError> {
        self.memory
            .try_push(region)
            .map_err(|_| BootError::TooMany {
                what: "memory map entries",
                limit: MAX_REGIONS,
            })
    }
}

/// A NUL-terminated text at `addr`, at most `limit` bytes and [`MAX_COMMAND_LINE`] of them kept.
pub(super) fn text(
    memory: &impl PhysMemory,
    what: &'static str,
    addr: u64,
    limit: usize,
) -> Result<Text, BootError> {
    let mut text = Text::new();
    for i in 0..limit.min(MAX_COMMAND_LINE) as u64 {
        let mut byte = [0];
        if !addr
            .checked_add(i)
            .is_some_and(|at| memory.read(at, &mut byte))
        {
            return Err(BootError::Unreadable { what, addr });
        }
        match byte {
            [0] => break,
            [c] if c.is_ascii_graphic() => text.push(c.into()),
            [c] if c.is_ascii_whitespace() => text.push(' '),
            _ => text.push('?'),
        }
    }
    Ok(text)
}

/// `text` without its first word, which some loaders make the file's name.
pub(super) fn without_first_word(text: &Text) -> Text {
    let rest = text
        .trim_start()
        .split_once(' ')
        .map_or("", |(_, rest)| rest.trim_start());
    let mut out = Text::new();
    out.push_str(rest);
    out
}
