//! The HPET's description table (IA-PC HPET Specification 1.0a, section 3.2.4).

use super::table::Table;
use crate::boot::phys::PhysMemory;

/// Physical address of the registers, if they are in memory.
pub(super) fn read<P: PhysMemory>(table: &Table<'_, P>) -> Option<u64> {
    let in_memory = table.u8(40)? == 0;
    table.u64(44).filter(|address| in_memory && *address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::table::testing::with;

    #[test]
    fn the_address_is_taken_when_it_is_one_of_memory() {
        let body = [
            1, 0x82, 0x86, 0x80, 0, 64, 0, 0, 0, 0, 0xd0, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(with(&body, read), Some(0xfed0_0000));
        assert_eq!(
            with(&[0, 0, 0, 0, 1, 64, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], read),
            None
        );
        assert_eq!(with(&[0; 4], read), None);
    }
}
