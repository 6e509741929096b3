//! One ACPI table: a header with signature and length, then the table's own fields.

use crate::boot::phys::PhysMemory;

/// Bytes of the header that all tables have.
pub(super) const HEADER: u64 = 36;
/// No table that is read here is longer; a longer one is damaged.
const LONGEST: u64 = 1 << 20;

/// A table in physical memory. Offsets are from its start, header included.
pub(super) struct Table<'a, P> {
    memory: &'a P,
    address: u64,
    /// Its name.
    pub(super) signature: [u8; 4],
    /// Its length in bytes.
    pub(super) length: u64,
}

impl<'a, P: PhysMemory> Table<'a, P> {
    /// The table at a physical address, if there is one.
    pub(super) fn at(memory: &'a P, address: u64) -> Option<Self> {
        let signature = memory.u32(address)?.to_le_bytes();
        let length = u64::from(memory.u32(address.checked_add(4)?)?);
        (HEADER..=LONGEST).contains(&length).then_some(Self {
            memory,
            address,
            signature,
            length,
        })
    }

    /// Fills `bytes` from `offset`; false past the table's end.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let inside = offset
            .checked_add(bytes.len() as u64)
            .is_some_and(|end| end <= self.length);
        inside
            && self
                .address
                .checked_add(offset)
                .is_some_and(|at| self.memory.read(at, bytes))
    }

    /// A byte.
    pub(super) fn u8(&self, offset: u64) -> Option<u8> {
        let mut bytes = [0; 1];
        self.read(offset, &mut bytes).then_some(bytes[0])
    }

    /// A little-endian 16-bit field.
    pub(super) fn u16(&self, offset: u64) -> Option<u16> {
        let mut bytes = [0; 2];
        self.read(offset, &mut bytes)
            .then(|| u16::from_le_bytes(bytes))
    }

    /// A little-endian 32-bit field.
    pub(super) fn u32(&self, offset: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes)
            .then(|| u32::from_le_bytes(bytes))
    }

    /// A little-endian 64-bit field.
    pub(super) fn u64(&self, offset: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes)
            .then(|| u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::Table;
    use crate::boot::phys::fake::Fake;

    /// A table with this signature and these bytes after the header.
    pub(in super::super) fn bytes(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut out = signature.to_vec();
        out.extend(u32::try_from(36 + body.len()).unwrap().to_le_bytes());
        out.resize(36, 0);
        out.extend(body);
        out
    }

    /// Runs `check` on such a table.
    pub(in super::super) fn with<T>(body: &[u8], check: impl FnOnce(&Table<'_, Fake>) -> T) -> T {
        let memory = Fake(vec![(0x1000, bytes(b"TEST", body))]);
        check(&Table::at(&memory, 0x1000).unwrap())
    }
}
