//! The order of CPUs, and which share a core or a socket.

use arrayvec::ArrayVec;

use crate::acpi::Cpu;
use crate::layout::MAX_CPUS;

/// How APIC ids are made up: the lowest bits number the threads of a core, the next ones the cores of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Bits for the threads of a core.
    pub thread_bits: u32,
    /// Bits for threads and cores of a socket.
    pub socket_bits: u32,
}

/// A CPU's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Thread within the core.
    pub thread: u32,
    /// Core within the socket.
    pub core: u32,
    /// Socket.
    pub socket: u32,
}

const fn low_bits(value: u32, bits: u32) -> u32 {
    if bits < 32 {
        value & ((1 << bits) - 1)
    } else {
        value
    }
}

const fn shifted(value: u32, bits: u32) -> u32 {
    if bits < 32 { value >> bits } else { 0 }
}

impl Topology {
    /// A CPU's place by its APIC id.
    pub const fn place(self, apic_id: u32) -> Place {
        let in_socket = low_bits(apic_id, self.socket_bits);
        Place {
            thread: low_bits(apic_id, self.thread_bits),
            core: shifted(in_socket, self.thread_bits),
            socket: shifted(apic_id, self.socket_bits),
        }
    }

    /// From what CPUID says of the CPU that executes this: leaf 0x1f or 0xb where there is one, else leaves 1 and 4.
    pub fn read() -> Self {
        let id = raw_cpuid::CpuId::new();
        let mut found = Self::default();
        if let Some(levels) = id
            .get_extended_topology_info_v2()
            .or_else(|| id.get_extended_topology_info())
        {
            for level in levels {
                match level.level_type() {
                    raw_cpuid::TopologyType::SMT => {
                        found.thread_bits = level.shift_right_for_next_apic_id()
                    }
                    _ => {
                        found.socket_bits =
                            found.socket_bits.max(level.shift_right_for_next_apic_id())
                    }
                }
            }
            found.socket_bits = found.socket_bits.max(found.thread_bits);
            if found.socket_bits > 0 {
                return found;
            }
        }
        let bits = |count: u32| count.max(1).next_power_of_two().trailing_zeros();
        let threads = id
            .get_feature_info()
            .filter(|features| features.has_htt())
            .map_or(1, |features| {
                u32::from(features.max_logical_processor_ids())
            });
        let cores = id
            .get_processor_capacity_feature_info()
            .map(|info| u32::try_from(info.num_phys_threads()).unwrap_or(1));
        let socket_bits = bits(threads);
        Self {
            thread_bits: socket_bits - bits(cores.unwrap_or(threads)).min(socket_bits),
            socket_bits,
        }
    }
}

/// The APIC id of the CPU that executes this.
pub fn own_apic_id() -> u32 {
    let id = raw_cpuid::CpuId::new();
    let x2 = id
        .get_extended_topology_info()
        .and_then(|mut levels| levels.next())
        .map(|level| level.x2apic_id());
    let initial = || {
        id.get_feature_info()
            .map_or(0, |features| u32::from(features.initial_local_apic_id()))
    };
    x2.unwrap_or_else(initial)
}

/// The CPUs in the order of their numbers: the one that booted, then the rest depth first (threads of a core, cores of
/// a socket, sockets), which is the order of APIC ids. Those that are not enabled are left out, and with `only_one` all
/// but the first.
pub fn order(cpus: &[Cpu], boot_apic_id: u32, only_one: bool) -> ArrayVec<Cpu, MAX_CPUS> {
    let own = cpus.iter().find(|cpu| cpu.apic_id == boot_apic_id).copied();
    let mut order = ArrayVec::new();
    order.push(own.unwrap_or(Cpu {
        apic_id: boot_apic_id,
        acpi_id: 0,
        enabled: true,
    }));
    if !only_one {
        let others = cpus
            .iter()
            .filter(|cpu| cpu.enabled && cpu.apic_id != boot_apic_id);
        for cpu in others.take(MAX_CPUS - 1) {
            order.push(*cpu);
        }
    }
    if let Some(others) = order.get_mut(1..) {
        others.sort_unstable_by_key(|cpu| cpu.apic_id);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(apic_id: u32, enabled: bool) -> Cpu {
        Cpu {
            apic_id,
            acpi_id: apic_id + 100,
            enabled,
        }
    }

    #[test]
    fn cpus_are_numbered_depth_first_behind_the_boot_cpu() {
        // Firmware often lists all first threads, then all second ones.
        let cpus = [
            cpu(0, true),
            cpu(2, true),
            cpu(4, true),
            cpu(1, true),
            cpu(3, false),
            cpu(5, true),
        ];
        let ids = |order: ArrayVec<Cpu, MAX_CPUS>| {
            order.iter().map(|cpu| cpu.apic_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(order(&cpus, 0, false)), [0, 1, 2, 4, 5]);
        assert_eq!(ids(order(&cpus, 4, false)), [4, 0, 1, 2, 5]);
        assert_eq!(ids(order(&cpus, 4, true)), [4]);
        assert_eq!(ids(order(&[], 7, false)), [7]);
    }

    #[test]
    fn a_full_table_is_no_panic() {
        let cpus: Vec<Cpu> = (0..256).map(|id| cpu(id, true)).collect();
        assert_eq!(order(&cpus, 1000, false).len(), MAX_CPUS);
        assert_eq!(order(&cpus, 255, false)[0].acpi_id, 355);
    }

    #[test]
    fn places_come_from_the_bits() {
        let topology = Topology {
            thread_bits: 1,
            socket_bits: 4,
        };
        assert_eq!(
            topology.place(0x17),
            Place {
                thread: 1,
                core: 3,
                socket: 1
            }
        );
        assert_eq!(
            Topology::default().place(5),
            Place {
                thread: 0,
                core: 0,
                socket: 5
            }
        );
    }
}
