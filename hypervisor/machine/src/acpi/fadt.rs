//! Fixed ACPI Description Table: the timer, and the registers for reset and sleep (section 5.2.9).

use super::table::Table;
use crate::boot::phys::PhysMemory;

/// An address space that a register may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Io,
    /// PCI configuration space of bus 0 (device in bits 32-47, function in 16-31, offset in 0-15).
    Pci,
}

/// A register by its Generic Address Structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Where.
    pub space: Space,
    /// Width in bits.
    pub bits: u8,
    /// Address in the space.
    pub address: u64,
}

/// The table's contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fadt {
    /// The 3.579545 MHz timer.
    pub pm_timer: Option<Register>,
    /// The timer has 32 bits, else 24.
    pub pm_timer_32: bool,
    /// What to write where for a reset.
    pub reset: Option<(Register, u8)>,
    /// PM1a control register.
    pub pm1a_control: Option<Register>,
    /// PM1b control register.
    pub pm1b_control: Option<Register>,
    /// PM1a status (and enable) register block.
    pub pm1a_event: Option<Register>,
    /// PM1b status (and enable) register block.
    pub pm1b_event: Option<Register>,
    /// There is a keyboard controller (or the table is too old to say).
    pub has_8042: bool,
    /// There is no VGA text screen.
    pub no_vga: bool,
}

const FLAG_TIMER_32: u32 = 1 << 8;
const FLAG_RESET: u32 = 1 << 10;
const BOOT_8042: u16 = 1 << 1;
const BOOT_NO_VGA: u16 = 1 << 2;

/// The Generic Address Structure at `offset` (section 5.2.3.2); `None` for "no such register".
fn gas<P: PhysMemory>(table: &Table<'_, P>, offset: u64) -> Option<Register> {
    let space = match table.u8(offset)? {
        0 => Space::Memory,
        1 => Space::Io,
        2 => Space::Pci,
        _ => return None,
    };
    let address = table.u64(offset + 4)?;
    (address != 0).then_some(Register {
        space,
        bits: table.u8(offset + 1)?,
        address,
    })
}

/// A register that newer tables have as a GAS and all have as a port.
fn either<P: PhysMemory>(
    table: &Table<'_, P>,
    extended: u64,
    port: u64,
    bits: u8,
) -> Option<Register> {
    gas(table, extended).or_else(|| {
        let address = u64::from(table.u32(port)?);
        (address != 0).then_some(Register {
            space: Space::Io,
            bits,
            address,
        })
    })
}

/// Reads the table; `None` if it is too short for its first version.
pub(super) fn read<P: PhysMemory>(table: &Table<'_, P>) -> Option<Fadt> {
    let flags = table.u32(112)?;
    let boot = table
        .u16(109)
        .filter(|_| table.u8(8).is_some_and(|revision| revision >= 2));
    let reset = (flags & FLAG_RESET != 0)
        .then(|| Some((gas(table, 116)?, table.u8(128)?)))
        .flatten();
    Some(Fadt {
        pm_timer: either(table, 208, 76, 32),
        pm_timer_32: flags & FLAG_TIMER_32 != 0,
        reset,
        pm1a_control: either(table, 172, 64, 16),
        pm1b_control: either(table, 184, 68, 16),
        pm1a_event: either(table, 148, 56, 32),
        pm1b_event: either(table, 160, 60, 32),
        has_8042: boot.is_none_or(|boot| boot & BOOT_8042 != 0),
        no_vga: boot.is_some_and(|boot| boot & BOOT_NO_VGA != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::table::testing::with;

    /// Version 3 fields of a q35: PM base 0x600, reset at port 0xcf9.
    fn sample() -> Vec<u8> {
        let mut body = vec![0; 244 - 36];
        let mut put = |offset: usize, bytes: &[u8]| {
            body[offset - 36..offset - 36 + bytes.len()].copy_from_slice(bytes)
        };
        put(56, &0x600u32.to_le_bytes());
        put(64, &0x604u32.to_le_bytes());
        put(76, &0x608u32.to_le_bytes());
        put(112, &(FLAG_RESET | FLAG_TIMER_32).to_le_bytes());
        put(116, &[1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0]);
        put(128, &[0x0f]);
        put(208, &[1, 32, 0, 3, 0x08, 0x06, 0, 0, 0, 0, 0, 0]);
        body
    }

    #[test]
    fn registers_come_from_either_form() {
        let fadt = with(&sample(), read).unwrap();
        let io = |address, bits| {
            Some(Register {
                space: Space::Io,
                bits,
                address,
            })
        };
        assert_eq!(fadt.pm_timer, io(0x608, 32));
        assert_eq!(fadt.pm1a_control, io(0x604, 16));
        assert_eq!(fadt.pm1b_control, None);
        assert_eq!(
            fadt.reset,
            Some((
                Register {
                    space: Space::Io,
                    bits: 8,
                    address: 0xcf9
                },
                0x0f
            ))
        );
        assert!(fadt.pm_timer_32 && fadt.has_8042);
    }

    #[test]
    fn a_short_table_gives_what_it_has() {
        let body = sample();
        assert_eq!(with(&body[..40], read), None);
        let old = with(&body[..80], read).unwrap();
        assert_eq!(old.reset, None);
        assert_eq!(old.pm_timer.map(|register| register.address), Some(0x608));
    }
}
