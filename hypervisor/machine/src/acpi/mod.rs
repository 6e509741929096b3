//! What the firmware's ACPI tables say of the machine (ACPI Specification 6.5).
//!
//! The tables are read once, at boot, into plain data. They are the firmware's and trusted, but firmware has bugs: what
//! makes no sense is left out. AML is never run here; that is dom0's part.

mod fadt;
mod hpet;
mod madt;
mod mcfg;
mod rsdp;
mod srat;
mod table;

pub use fadt::{Fadt, Register, Space};
pub use madt::{Cpu, IoApic, LocalNmi, Madt, Override};
pub use mcfg::Ecam;
pub use srat::Numa;

use arrayvec::ArrayVec;
use spin::Once;

use crate::boot::phys::PhysMemory;
use table::Table;

/// Most PCI segments' configuration windows that are taken.
const MAX_ECAM: usize = 16;

/// What the tables say.
#[derive(Debug)]
pub struct AcpiInfo {
    /// Processors and interrupt controllers.
    pub madt: Option<Madt>,
    /// Fixed hardware: timer, reset, sleep.
    pub fadt: Option<Fadt>,
    /// Windows of PCI configuration space.
    pub ecam: ArrayVec<Ecam, MAX_ECAM>,
    /// Physical address of the HPET's registers.
    pub hpet: Option<u64>,
    /// NUMA nodes.
    pub numa: Numa,
    /// How many tables were found.
    pub tables: usize,
}

impl AcpiInfo {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            madt: None,
            fadt: None,
            ecam: ArrayVec::new_const(),
            hpet: None,
            numa: Numa::new(),
            tables: 0,
        }
    }

    /// Reads the tables. `rsdp` is the loader's copy of the root pointer; without it the BIOS's places are searched.
    pub fn read(&mut self, memory: &impl PhysMemory, rsdp: Option<&[u8; 36]>) {
        let root = rsdp
            .and_then(rsdp::Root::parse)
            .or_else(|| rsdp::find(memory));
        let Some(root) = root else { return };
        for address in root.tables(memory) {
            let Some(table) = Table::at(memory, address) else {
                continue;
            };
            self.tables += 1;
            match &table.signature {
                b"APIC" if self.madt.is_none() => self.madt = Some(madt::read(&table)),
                b"FACP" if self.fadt.is_none() => self.fadt = fadt::read(&table),
                b"MCFG" => mcfg::read(&table, &mut self.ecam),
                b"SRAT" => self.numa.read_affinity(&table),
                b"SLIT" => self.numa.read_distances(&table),
                b"HPET" if self.hpet.is_none() => self.hpet = hpet::read(&table),
                _ => {}
            }
        }
    }
}

impl Default for AcpiInfo {
    fn default() -> Self {
        Self::new()
    }
}

static INFO: Once<AcpiInfo> = Once::new();

/// Reads the tables of this machine, once.
#[cfg(target_os = "none")]
pub(crate) fn init(memory: &impl PhysMemory, rsdp: Option<&[u8; 36]>) {
    INFO.call_once(|| {
        let mut info = AcpiInfo::new();
        info.read(memory, rsdp);
        info
    });
}

/// What this machine's tables say; nothing before they have been read.
pub fn info() -> &'static AcpiInfo {
    static NOTHING: AcpiInfo = AcpiInfo::new();
    INFO.get().unwrap_or(&NOTHING)
}
