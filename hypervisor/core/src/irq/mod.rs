//! Device interrupts: from a vector on a CPU to an event in the guest that drives the device.
//!
//! A *line* is a source of interrupts (a GSI of an IO-APIC, an MSI, an entry of an MSI-X table)
//! with its vector. A *PIRQ* is a domain's number for a line that it may bind to an event channel.
//! Level-triggered lines stay masked from the interrupt until all guests that got it have said
//! EOI; the others are acknowledged at once.
//!
//! Locks, from the left to the right: a domain's PIRQs < PCI devices < GSIs < a line < a CPU's
//! vectors. Events are sent with a line's lock held.

mod line;
mod map;
mod mmio;
mod msi;
pub mod pci;
mod physdev;
mod pirq;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use line::device_interrupt;
pub use mmio::is_read_only_mmio;
pub(crate) use mmio::read_only_write;
pub use physdev::{compat_physdev_op, physdev_op};
pub use pirq::{DomainIrqs, bind_pirq, follow_vcpu, release_all, unbind_pirq};

use line::Line;
use pci::Devices;

use crate::hypervisor::Hypervisor;
use crate::machine::{GsiMode, Machine};
use crate::sync::{Mutex, RwLock};
use crate::types::MAX_CPUS;

/// Device interrupts of the host.
pub struct Irqs<M: Machine> {
    /// The line behind each vector, by CPU.
    vectors: Box<[Mutex<Vectors<M>>]>,
    gsis: Mutex<BTreeMap<u32, Gsi<M>>>,
    devices: Mutex<Devices<M>>,
    /// Tables of MSI-X that the hypervisor programs, as addresses of their first and last byte.
    tables: RwLock<Vec<(u64, u64)>>,
}

/// A CPU's vectors that belong to lines, in ascending order.
type Vectors<M> = Vec<(u8, Arc<Line<M>>)>;

/// What is known of a GSI.
struct Gsi<M: Machine> {
    mode: GsiMode,
    /// Whether dom0 has said how it is wired (`PHYSDEVOP_setup_gsi`).
    set_up: bool,
    line: Arc<Line<M>>,
}

impl<M: Machine> Default for Irqs<M> {
    fn default() -> Self {
        Self {
            vectors: (0..MAX_CPUS).map(|_| Mutex::new(Vec::new())).collect(),
            gsis: Mutex::new(BTreeMap::new()),
            devices: Mutex::new(Devices::default()),
            tables: RwLock::new(Vec::new()),
        }
    }
}

/// The GSI's entry, made on first use with the wiring that the firmware describes: ISA interrupts
/// as in the MADT, all others as PCI has them (level, active low).
fn with_gsi<M: Machine, R>(
    hv: &Hypervisor<M>,
    number: u32,
    run: impl FnOnce(&mut Gsi<M>) -> R,
) -> Option<R> {
    if number >= hv.machine.gsi_count() {
        return None;
    }
    let mut gsis = hv.irqs.gsis.lock();
    let gsi = gsis.entry(number).or_insert_with(|| {
        let isa = (0..16)
            .map(|irq| hv.machine.isa_irq(irq))
            .find(|(gsi, _)| *gsi == number);
        let mode = isa.map_or(
            GsiMode {
                level: true,
                active_low: true,
            },
            |(_, mode)| mode,
        );
        Gsi {
            mode,
            set_up: false,
            line: Arc::new(Line::gsi(number)),
        }
    });
    Some(run(gsi))
}
