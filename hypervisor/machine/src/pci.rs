//! PCI configuration space: the two ports, and MMCONFIG where the firmware describes it.

use alloc::vec::Vec;

use oxen_core::machine::IoSize;
use spin::{Mutex, Once};

use crate::paging::{Mmio, map_mmio};
use crate::pio::{inb, inl, inw, outb, outl, outw};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;
/// Bytes of configuration space of a bus in MMCONFIG.
const BUS_BYTES: u64 = 1 << 20;

/// A segment's range of MMCONFIG, as the MCFG table describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// Physical address of bus 0's space (also when the first bus is another).
    pub(crate) base: u64,
    /// PCI segment.
    pub(crate) segment: u16,
    /// First bus.
    pub(crate) first: u8,
    /// Last bus.
    pub(crate) last: u8,
}

struct Window {
    range: Range,
    /// One mapping a bus, made when first used.
    buses: Vec<Option<Mmio>>,
}

/// The address port and the data port belong together.
static PORTS: Mutex<()> = Mutex::new(());
static RANGES: Once<Vec<Range>> = Once::new();
static WINDOWS: Mutex<Vec<Window>> = Mutex::new(Vec::new());

/// Takes the MCFG's ranges. Called once, by the boot CPU.
pub(crate) fn set_mmconfig(ranges: Vec<Range>) {
    let ranges = RANGES.call_once(|| ranges);
    let mut windows = WINDOWS.lock();
    for range in ranges {
        let buses = usize::from(range.last.saturating_sub(range.first)) + 1;
        let mut mappings = Vec::new();
        mappings.resize_with(buses, || None);
        windows.push(Window {
            range: *range,
            buses: mappings,
        });
    }
}

/// The MCFG's ranges.
pub(crate) fn mmconfig() -> &'static [Range] {
    RANGES.get().map_or(&[], Vec::as_slice)
}

/// Reads; all ones where nothing is.
pub(crate) fn read(segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize) -> u32 {
    if segment == 0 && offset < 256 {
        return with_ports(bus, devfn, offset, |port| match size {
            IoSize::Byte => u32::from(inb(port)),
            IoSize::Word => u32::from(inw(port)),
            IoSize::Dword => inl(port),
        });
    }
    with_window(segment, bus, devfn, offset, |mmio, at| match size {
        IoSize::Byte => u32::from(mmio.read8(at)),
        IoSize::Word => u32::from(mmio.read16(at)),
        IoSize::Dword => mmio.read32(at),
    })
    .unwrap_or(size.ones())
}

/// Writes; nothing happens where nothing is.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the value has the access's size"
)]
pub(crate) fn write(segment: u16, bus: u8, devfn: u8, offset: u16, size: IoSize, value: u32) {
    if segment == 0 && offset < 256 {
        with_ports(bus, devfn, offset, |port| match size {
            IoSize::Byte => outb(port, value as u8),
            IoSize::Word => outw(port, value as u16),
            IoSize::Dword => outl(port, value),
        });
        return;
    }
    with_window(segment, bus, devfn, offset, |mmio, at| match size {
        IoSize::Byte => mmio.write8(at, value as u8),
        IoSize::Word => mmio.write16(at, value as u16),
        IoSize::Dword => mmio.write32(at, value),
    });
}

fn with_ports<R>(bus: u8, devfn: u8, offset: u16, access: impl FnOnce(u16) -> R) -> R {
    let address =
        ENABLE | (u32::from(bus) << 16) | (u32::from(devfn) << 8) | u32::from(offset & 0xfc);
    let _held = PORTS.lock();
    outl(ADDRESS, address);
    access(DATA + (offset & 3))
}

fn with_window<R>(
    segment: u16,
    bus: u8,
    devfn: u8,
    offset: u16,
    access: impl FnOnce(&Mmio, u64) -> R,
) -> Option<R> {
    let mut windows = WINDOWS.lock();
    let window = windows
        .iter_mut()
        .find(|w| w.range.segment == segment && (w.range.first..=w.range.last).contains(&bus))?;
    let base = window.range.base + u64::from(bus) * BUS_BYTES;
    let slot = window
        .buses
        .get_mut(usize::from(bus - window.range.first))?;
    let mmio = match slot {
        Some(mmio) => *mmio,
        None => *slot.insert(map_mmio(base, BUS_BYTES).ok()?),
    };
    drop(windows);
    Some(access(
        &mmio,
        (u64::from(devfn) << 12) | u64::from(offset & 0xfff),
    ))
}
