//! The hardware that dom0 may use: everything but what the hypervisor drives itself.

use super::Boot;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::options::Serial;

/// Ports of devices that the hypervisor keeps, first and last: both interrupt controllers and
/// their edge/level registers, the interval timer, its gate and the speaker, and the access to
/// PCI configuration space (which is carried out for dom0 with a look at what it does).
const KEPT: [(u64, u64); 6] = [
    (0x20, 0x21),
    (0xa0, 0xa1),
    (0x4d0, 0x4d1),
    (0x40, 0x43),
    (0x61, 0x61),
    (0xcf8, 0xcff),
];

/// Allows dom0 its ports, device memory and interrupts. Which device memory is the hypervisor's
/// own the machine knows ([`Machine::is_mappable_io`]).
pub(super) fn allow<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>, boot: &Boot<'_>) {
    let mut permissions = domain.permissions.lock();
    permissions.ports.insert(0, 0xffff);
    for (first, last) in KEPT {
        permissions.ports.remove(first, last);
    }
    if let Some(port) = boot.pm_timer {
        permissions
            .ports
            .remove(u64::from(port), u64::from(port) + 3);
    }
    let console = hv.options.console;
    for (used, Serial { io_base, .. }) in [
        (console.com1, hv.options.com1),
        (console.com2, hv.options.com2),
    ] {
        if used.is_some() {
            permissions
                .ports
                .remove(u64::from(io_base), u64::from(io_base) + 7);
        }
    }
    permissions.iomem.insert(0, (1 << 40) - 1);
    if has_hypertransport(&hv.machine) {
        permissions
            .iomem
            .remove(0xfd_0000_0000 >> 12, 0xff_ffff_ffff >> 12);
    }
    if let Some(last) = hv.machine.gsi_count().checked_sub(1) {
        permissions.irqs.insert(0, u64::from(last));
    }
}

/// Whether the processor is of a make that reserves the HyperTransport range below 2^40 (AMD64 APM
/// vol. 2, 5.3.3), in which there is no device memory: AMD's or Hygon's.
fn has_hypertransport<M: Machine>(machine: &M) -> bool {
    let [_, ebx, _, _] = machine.cpuid(0, 0);
    ebx == u32::from_le_bytes(*b"Auth") || ebx == u32::from_le_bytes(*b"Hygo")
}
