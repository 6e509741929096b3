//! Page-table entries of the hypervisor's own tables.

use bitflags::bitflags;

bitflags! {
    /// Bits of an entry (SDM volume 3, section 4.5).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Flags: u64 {
        /// Present.
        const PRESENT = 1 << 0;
        /// Writable.
        const WRITE = 1 << 1;
        /// Accessible in ring 3.
        const USER = 1 << 2;
        /// Low bit of the PAT index.
        const PWT = 1 << 3;
        /// Second bit of the PAT index.
        const PCD = 1 << 4;
        /// Accessed; set from the start, so that the CPU need not write.
        const ACCESSED = 1 << 5;
        /// Dirty; set from the start likewise.
        const DIRTY = 1 << 6;
        /// In an L2 or L3 entry: a leaf.
        const LARGE = 1 << 7;
        /// Not executable.
        const NX = 1 << 63;
    }
}

/// Physical address bits of an entry.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

impl Flags {
    /// Supervisor, read-only, not executable.
    pub const READ: Self = Self::PRESENT
        .union(Self::ACCESSED)
        .union(Self::DIRTY)
        .union(Self::NX);
    /// Supervisor, read-write, not executable.
    pub const READ_WRITE: Self = Self::READ.union(Self::WRITE);
    /// Supervisor, executable, not writable.
    pub const EXECUTE: Self = Self::PRESENT.union(Self::ACCESSED).union(Self::DIRTY);
    /// Supervisor, read-write, uncached: PAT index 3.
    pub const DEVICE: Self = Self::READ_WRITE.union(Self::PWT).union(Self::PCD);
    /// For every ring, read-only, not executable.
    pub const USER_READ: Self = Self::READ.union(Self::USER);
    /// An entry that leads to a table which does not restrict.
    pub const TABLE: Self = Self::PRESENT.union(Self::WRITE).union(Self::ACCESSED);
}
