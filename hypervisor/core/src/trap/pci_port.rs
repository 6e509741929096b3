//! dom0's PCI configuration accesses through ports 0xcf8 to 0xcff.

use crate::irq::pci::{Function, config_write};
use crate::machine::{IoSize, Machine};
use crate::percpu::Cx;

/// The address register's enable bit.
const ENABLE: u32 = 1 << 31;

/// A configuration register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    bus: u8,
    devfn: u8,
    offset: u16,
}

/// What an address register and a data port (0-3) name; `None` while configuration access is off
/// or the access leaves its doubleword. Bits 24-27 are AMD's way to registers past 255.
fn place(address: u32, data: u16, size: IoSize) -> Option<Place> {
    if address & ENABLE == 0 || data + u16::from(size.bytes()) > 4 {
        return None;
    }
    let [low, devfn, bus, high] = address.to_le_bytes();
    Some(Place {
        bus,
        devfn,
        offset: (u16::from(high & 0xf) << 8) | u16::from(low & 0xfc) | data,
    })
}

/// Reads.
pub(super) fn read<M: Machine>(cx: &Cx<'_, M>, address: u32, data: u16, size: IoSize) -> u32 {
    place(address, data, size).map_or(size.ones(), |at| {
        cx.machine().pci_read(0, at.bus, at.devfn, at.offset, size)
    })
}

/// Writes.
pub(super) fn write<M: Machine>(cx: &Cx<'_, M>, address: u32, data: u16, size: IoSize, value: u32) {
    if let Some(at) = place(address, data, size) {
        let function = Function {
            segment: 0,
            bus: at.bus,
            devfn: at.devfn,
        };
        config_write(cx.hv, function, at.offset, size, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{ENABLE, Place, place};
    use crate::machine::IoSize;

    #[test]
    fn addresses_are_taken_apart() {
        let address = ENABLE | 0x00_02_19_44;
        assert_eq!(
            place(address, 2, IoSize::Word),
            Some(Place {
                bus: 2,
                devfn: 0x19,
                offset: 0x46
            })
        );
        assert_eq!(place(address & !ENABLE, 0, IoSize::Byte), None);
        assert_eq!(place(address, 3, IoSize::Word), None);
        assert_eq!(
            place(address | 0x0100_0000, 0, IoSize::Dword).map(|at| at.offset),
            Some(0x144)
        );
    }
}
