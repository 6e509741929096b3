//! Message-signalled interrupts of PCI functions (PCI Local Bus Specification 3.0, 6.8): finding
//! the capability, writing the message, masking it. Only the hypervisor writes messages.

use oxen_abi::errno::Errno;

use crate::irq::pci::{Function, read, read16, write, write16};
use crate::machine::{IoSize, Machine};

/// Capability ids.
const CAP_MSI: u8 = 0x05;
const CAP_MSIX: u8 = 0x11;

/// Message control of MSI: enabled.
pub(super) const MSI_ENABLE: u16 = 1 << 0;
const MSI_QSIZE: u16 = 7 << 4;
const MSI_64BIT: u16 = 1 << 7;
const MSI_MASKABLE: u16 = 1 << 8;
/// Message control of MSI-X: entries less one.
const MSIX_SIZE: u16 = 0x7ff;
/// Vector control of an MSI-X entry: masked.
const ENTRY_MASKED: u32 = 1 << 0;
const ENTRY_SIZE: u64 = 16;

/// A message of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// The one of an MSI capability (several need interrupt remapping).
    Msi(Msi),
    /// One entry of an MSI-X table, at this physical address.
    MsiX {
        /// The entry.
        entry: u64,
    },
}

/// An MSI capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Msi {
    function: Function,
    /// Offset of the capability.
    pub(super) at: u16,
    wide: bool,
    maskable: bool,
}

impl Msi {
    /// Finds a function's; `ENODEV` if it has none.
    pub(super) fn find<M: Machine>(machine: &M, function: Function) -> Result<Self, Errno> {
        let at = function.capability(machine, CAP_MSI).ok_or(Errno::ENODEV)?;
        let control = read16(machine, function, at + 2);
        Ok(Self {
            function,
            at,
            wide: control & MSI_64BIT != 0,
            maskable: control & MSI_MASKABLE != 0,
        })
    }

    /// Bytes of the capability.
    pub(super) const fn len(&self) -> u16 {
        let plain = if self.wide { 14 } else { 10 };
        if self.maskable {
            self.mask_at() - self.at + 8
        } else {
            plain
        }
    }

    const fn mask_at(&self) -> u16 {
        self.at + if self.wide { 16 } else { 12 }
    }

    /// Switches it off, to one message.
    pub(super) fn disable<M: Machine>(&self, machine: &M) {
        let control = read16(machine, self.function, self.at + 2);
        write16(
            machine,
            self.function,
            self.at + 2,
            control & !(MSI_ENABLE | MSI_QSIZE),
        );
    }

    fn write<M: Machine>(&self, machine: &M, address: u64, data: u32) {
        let [low, high] = halves(address);
        write(machine, self.function, self.at + 4, IoSize::Dword, low);
        let data_at = if self.wide {
            write(machine, self.function, self.at + 8, IoSize::Dword, high);
            self.at + 12
        } else {
            self.at + 8
        };
        write(machine, self.function, data_at, IoSize::Word, data & 0xffff);
    }

    fn mask<M: Machine>(&self, machine: &M, masked: bool) {
        if self.maskable {
            let at = self.mask_at();
            let bits = read(machine, self.function, at, IoSize::Dword);
            let bits = if masked { bits | 1 } else { bits & !1 };
            write(machine, self.function, at, IoSize::Dword, bits);
        }
    }
}

const fn halves(address: u64) -> [u32; 2] {
    #[allow(clippy::cast_possible_truncation, reason = "it is cut in two")]
    [address as u32, (address >> 32) as u32]
}

impl Message {
    /// Writes address and data; masked meanwhile, and afterwards if `masked`. `false` when the
    /// table is not device memory.
    pub(super) fn write<M: Machine>(
        self,
        machine: &M,
        address: u64,
        data: u32,
        masked: bool,
    ) -> bool {
        match self {
            Self::Msi(msi) => {
                msi.mask(machine, true);
                msi.write(machine, address, data);
                msi.mask(machine, masked);
                true
            }
            Self::MsiX { entry } => {
                let [low, high] = halves(address);
                self.mask(machine, true).is_ok()
                    && machine.mmio_write32(entry, low)
                    && machine.mmio_write32(entry + 4, high)
                    && machine.mmio_write32(entry + 8, data)
                    && self.mask(machine, masked).is_ok()
            }
        }
    }

    /// Masks or unmasks it. MSI without mask bits stays as it is: its function is told to be
    /// silent by its driver.
    pub(super) fn mask<M: Machine>(self, machine: &M, masked: bool) -> Result<(), Errno> {
        match self {
            Self::Msi(msi) => {
                msi.mask(machine, masked);
                Ok(())
            }
            Self::MsiX { entry } => {
                let control = machine.mmio_read32(entry + 12).ok_or(Errno::ENXIO)?;
                let bit = if masked { ENTRY_MASKED } else { 0 };
                if machine.mmio_write32(entry + 12, control & !ENTRY_MASKED | bit) {
                    Ok(())
                } else {
                    Err(Errno::ENXIO)
                }
            }
        }
    }
}

/// A function's MSI-X table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Table {
    /// Offset of the capability.
    pub(super) at: u16,
    /// Physical address of entry 0.
    pub(super) address: u64,
    /// Entries.
    pub(super) entries: u16,
}

impl Table {
    /// Finds a function's: `ENODEV` if it has none, `ENXIO` if its memory is not switched on or
    /// not where memory can be.
    pub(super) fn find<M: Machine>(machine: &M, function: Function) -> Result<Self, Errno> {
        let at = function
            .capability(machine, CAP_MSIX)
            .ok_or(Errno::ENODEV)?;
        let control = read16(machine, function, at + 2);
        let place = read(machine, function, at + 4, IoSize::Dword);
        let bar = function
            .memory_bar(machine, (place & 7) as u8)
            .ok_or(Errno::ENXIO)?;
        let address = bar.checked_add(u64::from(place & !7)).ok_or(Errno::ENXIO)?;
        let table = Self {
            at,
            address,
            entries: (control & MSIX_SIZE) + 1,
        };
        // The last byte must have an address too.
        table.last().map(|_| table).ok_or(Errno::ENXIO)
    }

    /// The address of the last byte.
    fn last(&self) -> Option<u64> {
        self.address
            .checked_add(u64::from(self.entries) * ENTRY_SIZE - 1)
    }

    /// The addresses of its first and last byte.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.address, self.last().unwrap_or(self.address))
    }

    /// One of its messages; `EINVAL` past the end.
    pub(super) fn message(&self, entry: u16) -> Result<Message, Errno> {
        if entry >= self.entries {
            return Err(Errno::EINVAL);
        }
        Ok(Message::MsiX {
            entry: self.address + u64::from(entry) * ENTRY_SIZE,
        })
    }
}
