//! Memory-mapped PCI configuration space (PCI Firmware Specification 3.2, section 4.1.2).

use arrayvec::ArrayVec;

use super::MAX_ECAM;
use super::table::Table;
use crate::boot::phys::PhysMemory;

/// A window of 1 MiB a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// Physical address of bus 0's part, whether or not bus 0 is in the window.
    pub base: u64,
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus; not below the first.
    pub last_bus: u8,
}

/// Reads the table into `windows`.
pub(super) fn read<P: PhysMemory>(table: &Table<'_, P>, windows: &mut ArrayVec<Ecam, MAX_ECAM>) {
    for at in (44..table.length).step_by(16) {
        let fields = || {
            Some(Ecam {
                base: table.u64(at)?,
                segment: table.u16(at + 8)?,
                first_bus: table.u8(at + 10)?,
                last_bus: table.u8(at + 11)?,
            })
        };
        if let Some(window) = fields().filter(|w| w.first_bus <= w.last_bus && w.base != 0)
            && windows.try_push(window).is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::table::testing::with;

    #[test]
    fn windows_are_read_and_senseless_ones_left_out() {
        let mut body = vec![0; 8];
        for (first, last) in [(0u8, 255u8), (9, 3)] {
            body.extend(0xb000_0000u64.to_le_bytes());
            body.extend([0, 0, first, last, 0, 0, 0, 0]);
        }
        body.extend([1; 5]);
        let mut windows = ArrayVec::new();
        with(&body, |table| read(table, &mut windows));
        assert_eq!(
            windows.as_slice(),
            [Ecam {
                base: 0xb000_0000,
                segment: 0,
                first_bus: 0,
                last_bus: 255
            }]
        );
    }
}
