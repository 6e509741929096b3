//! PCI functions: what dom0 has reported, which messages are in use, and dom0's writes to
//! configuration space, which must not touch the messages.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;

use crate::hypervisor::Hypervisor;
use crate::irq::line::Line;
use crate::irq::msi::{MSI_ENABLE, Msi, Table};
use crate::machine::{IoSize, Machine};

const COMMAND: u16 = 0x04;
const COMMAND_MEMORY: u16 = 1 << 1;
const STATUS: u16 = 0x06;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const HEADER_TYPE: u16 = 0x0e;
const BAR0: u16 = 0x10;
const CAPABILITIES: u16 = 0x34;
const CARDBUS_CAPABILITIES: u16 = 0x14;

/// A PCI function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Function {
    /// Segment.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device in bits 3-7, function in bits 0-2.
    pub devfn: u8,
}

pub(super) fn read<M: Machine>(machine: &M, f: Function, offset: u16, size: IoSize) -> u32 {
    machine.pci_read(f.segment, f.bus, f.devfn, offset, size)
}

#[allow(clippy::cast_possible_truncation, reason = "the size is two bytes")]
pub(super) fn read16<M: Machine>(machine: &M, f: Function, offset: u16) -> u16 {
    read(machine, f, offset, IoSize::Word) as u16
}

pub(super) fn write<M: Machine>(machine: &M, f: Function, offset: u16, size: IoSize, value: u32) {
    machine.pci_write(f.segment, f.bus, f.devfn, offset, size, value);
}

pub(super) fn write16<M: Machine>(machine: &M, f: Function, offset: u16, value: u16) {
    write(machine, f, offset, IoSize::Word, u32::from(value));
}

impl Function {
    /// Whether something answers there.
    pub(super) fn exists<M: Machine>(self, machine: &M) -> bool {
        read16(machine, self, 0) != 0xffff
    }

    fn header<M: Machine>(self, machine: &M) -> u32 {
        read(machine, self, HEADER_TYPE, IoSize::Byte) & 0x7f
    }

    /// The offset of a capability. A list that runs in circles ends after 48 entries, all that
    /// fit.
    pub(super) fn capability<M: Machine>(self, machine: &M, id: u8) -> Option<u16> {
        const MOST: u32 = 48;
        let status = read16(machine, self, STATUS);
        if status == 0xffff || status & STATUS_CAPABILITIES == 0 {
            return None;
        }
        let first = match self.header(machine) {
            0 | 1 => CAPABILITIES,
            2 => CARDBUS_CAPABILITIES,
            _ => return None,
        };
        let mut at = read16(machine, self, first) & 0xfc;
        for _ in 0..MOST {
            if at < 0x40 {
                return None;
            }
            let [found, next] = read16(machine, self, at).to_le_bytes();
            if found == id {
                return Some(at);
            }
            if found == 0xff {
                return None;
            }
            at = u16::from(next & 0xfc);
        }
        None
    }

    /// The address in a base register of a function whose memory is switched on; `None` for a
    /// register that is missing, unset or for ports.
    pub(super) fn memory_bar<M: Machine>(self, machine: &M, index: u8) -> Option<u64> {
        let registers = match self.header(machine) {
            0 => 6,
            1 => 2,
            _ => 0,
        };
        if index >= registers || read16(machine, self, COMMAND) & COMMAND_MEMORY == 0 {
            return None;
        }
        let offset = BAR0 + 4 * u16::from(index);
        let low = read(machine, self, offset, IoSize::Dword);
        let high = match low & 7 {
            0 => 0,
            4 if index + 1 < registers => read(machine, self, offset + 4, IoSize::Dword),
            _ => return None,
        };
        let address = u64::from(high) << 32 | u64::from(low & !0xf);
        (address != 0).then_some(address)
    }
}

/// What is known of a function.
pub(super) struct Device<M: Machine> {
    /// Its MSI, while mapped.
    pub(super) msi: Option<Msi>,
    /// Its MSI-X table, while an entry is mapped or it is prepared.
    pub(super) msix: Option<Table>,
    /// Prepared by `PHYSDEVOP_prepare_msix`: the table stays read-only without mapped entries.
    pub(super) prepared: bool,
    /// Lines of messages that are mapped; the MSI-X entry with each.
    pub(super) lines: Vec<(u16, Arc<Line<M>>)>,
}

/// The functions that dom0 has reported.
pub(super) type Devices<M> = BTreeMap<Function, Device<M>>;

impl<M: Machine> Device<M> {
    fn new() -> Self {
        Self {
            msi: None,
            msix: None,
            prepared: false,
            lines: Vec::new(),
        }
    }
}

/// dom0 reports a function.
pub(super) fn add<M: Machine>(hv: &Hypervisor<M>, function: Function) {
    hv.irqs
        .devices
        .lock()
        .entry(function)
        .or_insert_with(Device::new);
}

/// A function is gone. `ENODEV` if it was not known, `EBUSY` while messages of it are mapped.
pub(super) fn remove<M: Machine>(hv: &Hypervisor<M>, function: Function) -> Result<(), Errno> {
    let mut devices = hv.irqs.devices.lock();
    match devices.get(&function) {
        None => Err(Errno::ENODEV),
        Some(device) if !device.lines.is_empty() => Err(Errno::EBUSY),
        Some(_) => {
            devices.remove(&function);
            drop(devices);
            update_tables(hv);
            Ok(())
        }
    }
}

/// Works out anew where MSI-X tables in use are.
pub(super) fn update_tables<M: Machine>(hv: &Hypervisor<M>) {
    let devices = hv.irqs.devices.lock();
    let in_use = devices.values().filter_map(|device| device.msix);
    // The list's memory is used again: it grows only where a table is added.
    let mut tables = hv.irqs.tables.write();
    tables.clear();
    tables.extend(in_use.map(|table| table.bytes()));
}

/// Runs with a function that dom0 has reported or that at least answers; `ENODEV` otherwise.
pub(super) fn with_device<M: Machine, R>(
    hv: &Hypervisor<M>,
    function: Function,
    run: impl FnOnce(&mut Device<M>) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let mut devices = hv.irqs.devices.lock();
    if !devices.contains_key(&function) && !function.exists(&hv.machine) {
        return Err(Errno::ENODEV);
    }
    run(devices.entry(function).or_insert_with(Device::new))
}

/// Carries out dom0's write to configuration space. While the hypervisor has the function's MSI
/// in use, only the enable bit of its capability is dom0's; the rest of the write is left out.
pub fn config_write<M: Machine>(
    hv: &Hypervisor<M>,
    function: Function,
    offset: u16,
    size: IoSize,
    value: u32,
) {
    let devices = hv.irqs.devices.lock();
    let msi = devices.get(&function).and_then(|device| device.msi);
    let allowed = msi.map_or(u32::MAX, |msi| writable_bits(&msi, offset, size)) & size.ones();
    if allowed == 0 {
        return;
    }
    let mut new = value;
    if allowed != size.ones() {
        let old = read(&hv.machine, function, offset, size);
        new = old & !allowed | value & allowed;
    }
    write(&hv.machine, function, offset, size, new);
}

/// The bits of an access that dom0 may change.
fn writable_bits(msi: &Msi, offset: u16, size: IoSize) -> u32 {
    let mut bits = 0;
    for (shift, at) in (0..u16::from(size.bytes())).map(|n| (8 * n, offset.saturating_add(n))) {
        let control = msi.at + 2;
        let byte = if at == control {
            u32::from(MSI_ENABLE)
        } else if (control..msi.at + msi.len()).contains(&at) {
            0
        } else {
            0xff
        };
        bits |= byte << shift;
    }
    bits
}
