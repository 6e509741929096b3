//! Single accesses to device memory that `core` makes on dom0's behalf: MSI-X tables.

use alloc::collections::BTreeMap;

use oxen_core::Mfn;
use spin::Mutex;

use crate::layout::PAGE_SIZE;
use crate::paging::{Mmio, map_mmio};

/// Pages that have been mapped. MSI-X tables are few and stay where they are.
static PAGES: Mutex<BTreeMap<u64, Mmio>> = Mutex::new(BTreeMap::new());

/// The mapping and offset of four aligned bytes of device memory.
fn place(address: u64) -> Option<(Mmio, u64)> {
    let mfn = Mfn::containing(address);
    if !address.is_multiple_of(4) || !crate::frames::is_mappable_io(mfn) {
        return None;
    }
    let mut pages = PAGES.lock();
    let mmio = match pages.get(&mfn.0) {
        Some(mmio) => *mmio,
        None => {
            let mmio = map_mmio(mfn.address(), PAGE_SIZE).ok()?;
            pages.insert(mfn.0, mmio);
            mmio
        }
    };
    Some((mmio, address % PAGE_SIZE))
}

/// Reads four bytes.
pub(crate) fn read32(address: u64) -> Option<u32> {
    place(address).map(|(mmio, offset)| mmio.read32(offset))
}

/// Writes four bytes.
pub(crate) fn write32(address: u64, value: u32) -> bool {
    place(address)
        .map(|(mmio, offset)| mmio.write32(offset, value))
        .is_some()
}
