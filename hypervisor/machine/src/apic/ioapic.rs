//! The IO-APICs: wires of devices to vectors of CPUs.

use alloc::vec::Vec;

use spin::{Mutex, Once};

use crate::paging::{MapError, Mmio, map_mmio};

/// An IO-APIC as the MADT describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Description {
    /// Physical address of its registers.
    pub(crate) address: u64,
    /// The first GSI that is wired to it.
    pub(crate) gsi_base: u32,
}

/// Registers: index and data window.
const INDEX: u64 = 0;
const WINDOW: u64 = 0x10;
const VERSION: u32 = 1;
const REDIRECTION: u32 = 0x10;

const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const REMOTE_IRR: u32 = 1 << 14;
const ACTIVE_LOW: u32 = 1 << 13;

#[derive(Debug)]
struct IoApic {
    description: Description,
    pins: u32,
    registers: Mutex<Mmio>,
}

static ALL: Once<Vec<IoApic>> = Once::new();

/// Maps the IO-APICs and masks every line. Called once, by the boot CPU.
pub(crate) fn init(descriptions: &[Description]) -> Result<(), MapError> {
    let mut all = Vec::new();
    for description in descriptions {
        let registers = map_mmio(description.address, 0x20)?;
        let pins = ((read(&registers, VERSION) >> 16) & 0xff) + 1;
        let apic = IoApic {
            description: *description,
            pins,
            registers: Mutex::new(registers),
        };
        for pin in 0..pins {
            apic.write(pin, MASKED, 0);
        }
        all.push(apic);
    }
    ALL.call_once(|| all);
    Ok(())
}

/// One more than the highest GSI.
pub(crate) fn gsi_count() -> u32 {
    all()
        .iter()
        .map(|apic| apic.description.gsi_base.saturating_add(apic.pins))
        .max()
        .unwrap_or(0)
}

/// Whether a frame (physical address >> 12) holds an IO-APIC's registers.
pub(crate) fn owns_frame(frame: u64) -> bool {
    all()
        .iter()
        .any(|apic| apic.description.address >> 12 == frame)
}

fn all() -> &'static [IoApic] {
    ALL.get().map_or(&[], Vec::as_slice)
}

/// The IO-APIC and the pin of a GSI.
fn find(gsi: u32) -> Option<(&'static IoApic, u32)> {
    all().iter().find_map(|apic| {
        let pin = gsi.checked_sub(apic.description.gsi_base)?;
        (pin < apic.pins).then_some((apic, pin))
    })
}

fn read(registers: &Mmio, index: u32) -> u32 {
    registers.write32(INDEX, index);
    registers.read32(WINDOW)
}

fn write(registers: &Mmio, index: u32, value: u32) {
    registers.write32(INDEX, index);
    registers.write32(WINDOW, value);
}

impl IoApic {
    /// Writes a redirection entry; the half with the mask last, so that nothing comes to a half-written destination.
    fn write(&self, pin: u32, low: u32, high: u32) {
        let registers = self.registers.lock();
        let index = REDIRECTION + 2 * pin;
        write(&registers, index, read(&registers, index) | MASKED);
        write(&registers, index + 1, high);
        write(&registers, index, low);
    }

    fn change(&self, pin: u32, change: impl FnOnce(u32) -> u32) {
        let registers = self.registers.lock();
        let index = REDIRECTION + 2 * pin;
        let old = read(&registers, index);
        let new = change(old & !REMOTE_IRR);
        write(&registers, index, new);
    }
}

/// Reads a register of the IO-APIC at a physical address; `None` if there is no such one.
pub(crate) fn register(address: u64, index: u8) -> Option<u32> {
    let apic = all()
        .iter()
        .find(|apic| apic.description.address == address)?;
    Some(read(&apic.registers.lock(), u32::from(index)))
}

/// Writes a GSI's redirection entry: fixed delivery to one LAPIC. Returns whether there is such a GSI.
pub(crate) fn route(
    gsi: u32,
    level: bool,
    active_low: bool,
    apic_id: u32,
    vector: u8,
    masked: bool,
) -> bool {
    let Some((apic, pin)) = find(gsi) else {
        return false;
    };
    let mut low = u32::from(vector);
    for (set, bit) in [(level, LEVEL), (active_low, ACTIVE_LOW), (masked, MASKED)] {
        if set {
            low |= bit;
        }
    }
    apic.write(pin, low, apic_id << 24);
    true
}

/// Makes a GSI, edge-triggered and active high, a non-maskable interrupt of one LAPIC. Returns whether there is such a
/// GSI.
pub(crate) fn route_nmi(gsi: u32, apic_id: u32) -> bool {
    const DELIVER_NMI: u32 = 4 << 8;
    find(gsi)
        .map(|(apic, pin)| apic.write(pin, DELIVER_NMI, apic_id << 24))
        .is_some()
}

/// Masks or unmasks a GSI.
pub(crate) fn mask(gsi: u32, masked: bool) {
    if let Some((apic, pin)) = find(gsi) {
        apic.change(pin, |low| if masked { low | MASKED } else { low & !MASKED });
    }
}
