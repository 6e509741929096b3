//! System Resource Affinity Table and System Locality Information Table: which processors and which memory are near each
//! other (sections 5.2.16 and 5.2.17).

use arrayvec::ArrayVec;

use super::table::Table;
use crate::boot::phys::PhysMemory;
use crate::layout::MAX_CPUS;

/// Most nodes that are told apart.
const MAX_NODES: usize = 16;
/// Most pieces of memory.
const MAX_MEMORY: usize = 64;
/// Distance within a node, and to any other one where the firmware says nothing.
const NEAR: u8 = 10;
const FAR: u8 = 20;

/// Memory of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Physical address of its first byte.
    pub start: u64,
    /// Physical address past its last byte.
    pub end: u64,
    /// The node.
    pub node: u8,
}

/// What the tables say. Nodes are numbered from 0 in the order in which the SRAT names them.
#[derive(Debug, Default)]
pub struct Numa {
    /// The firmware's numbers of the nodes ("proximity domains").
    domains: ArrayVec<u32, MAX_NODES>,
    /// LAPIC ids and their nodes.
    cpus: ArrayVec<(u32, u8), MAX_CPUS>,
    /// Memory.
    memory: ArrayVec<Memory, MAX_MEMORY>,
    /// Distances by the firmware's numbers, row by row.
    distances: ArrayVec<u8, { MAX_NODES * MAX_NODES }>,
    localities: usize,
}

impl Numa {
    /// Nothing: one node.
    pub const fn new() -> Self {
        Self {
            domains: ArrayVec::new_const(),
            cpus: ArrayVec::new_const(),
            memory: ArrayVec::new_const(),
            distances: ArrayVec::new_const(),
            localities: 0,
        }
    }

    /// How many nodes there are, at least one.
    pub fn nodes(&self) -> usize {
        self.domains.len().max(1)
    }

    /// The node of a processor; 0 where that is not known.
    pub fn node_of_cpu(&self, apic_id: u32) -> u8 {
        let found = self.cpus.iter().find(|(id, _)| *id == apic_id);
        found.map_or(0, |(_, node)| *node)
    }

    /// Memory by node. What no piece covers belongs to node 0.
    pub fn memory(&self) -> &[Memory] {
        &self.memory
    }

    /// How far a node is from another, in tenths of the distance within a node.
    pub fn distance(&self, from: usize, to: usize) -> u8 {
        let place = |node: usize| {
            let domain = usize::try_from(*self.domains.get(node)?).ok()?;
            (domain < self.localities).then_some(domain)
        };
        let usual = if from == to { NEAR } else { FAR };
        let told = place(from).zip(place(to)).and_then(|(from, to)| {
            let distance = self.distances.get(from * self.localities + to)?;
            (*distance >= NEAR).then_some(*distance)
        });
        told.unwrap_or(usual)
    }

    /// The number of a proximity domain; past [`MAX_NODES`] they count as the first.
    fn node(&mut self, domain: u32) -> u8 {
        let known = self.domains.iter().position(|known| *known == domain);
        let node = known.or_else(|| {
            self.domains.try_push(domain).ok()?;
            Some(self.domains.len() - 1)
        });
        node.and_then(|node| u8::try_from(node).ok()).unwrap_or(0)
    }

    /// Reads the SRAT.
    pub(super) fn read_affinity<P: PhysMemory>(&mut self, table: &Table<'_, P>) {
        let mut at = 48;
        while let (Some(kind), Some(length)) = (table.u8(at), table.u8(at + 1)) {
            // An entry of no length would be met for ever.
            if length < 2 {
                break;
            }
            let _ = self.entry(table, at, kind, length);
            at += u64::from(length);
        }
    }

    fn entry<P: PhysMemory>(
        &mut self,
        table: &Table<'_, P>,
        at: u64,
        kind: u8,
        length: u8,
    ) -> Option<()> {
        const ENABLED: u32 = 1;
        match (kind, length) {
            (0, 16..) if table.u32(at + 4)? & ENABLED != 0 => {
                let high = table.u32(at + 8)? & 0xffff_ff00;
                let node = self.node(high | u32::from(table.u8(at + 2)?));
                self.cpus.try_push((table.u8(at + 3)?.into(), node)).ok()
            }
            (1, 40..) if table.u32(at + 28)? & ENABLED != 0 => {
                let (start, size) = (table.u64(at + 8)?, table.u64(at + 16)?);
                let end = start.checked_add(size).filter(|_| size > 0)?;
                let node = self.node(table.u32(at + 2)?);
                self.memory.try_push(Memory { start, end, node }).ok()
            }
            (2, 24..) if table.u32(at + 12)? & ENABLED != 0 => {
                let node = self.node(table.u32(at + 4)?);
                self.cpus.try_push((table.u32(at + 8)?, node)).ok()
            }
            _ => None,
        }
    }

    /// Reads the SLIT, if it is of a size that is told apart.
    pub(super) fn read_distances<P: PhysMemory>(&mut self, table: &Table<'_, P>) {
        let count = table.u64(36).and_then(|count| usize::try_from(count).ok());
        let Some(count) = count.filter(|count| *count <= MAX_NODES) else {
            return;
        };
        self.localities = count;
        self.distances = (44..)
            .take(count * count)
            .map_while(|at| table.u8(at))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::acpi::table::testing::with;

    fn cpu(domain: u32, apic: u8) -> Vec<u8> {
        let [low, rest @ ..] = domain.to_le_bytes();
        [&[0, 16, low, apic, 1, 0, 0, 0, 0][..], &rest, &[0; 4]].concat()
    }

    fn x2(domain: u32, apic: u32, flags: u32) -> Vec<u8> {
        [
            &[2, 24, 0, 0][..],
            &domain.to_le_bytes(),
            &apic.to_le_bytes(),
            &flags.to_le_bytes(),
            &[0; 8],
        ]
        .concat()
    }

    fn memory(domain: u32, start: u64, size: u64) -> Vec<u8> {
        [
            &[1, 40][..],
            &domain.to_le_bytes(),
            &[0; 2],
            &start.to_le_bytes(),
            &size.to_le_bytes(),
            &[0; 4],
            &1u32.to_le_bytes(),
            &[0; 8],
        ]
        .concat()
    }

    fn read(body: &[Vec<u8>]) -> Numa {
        let body = [vec![0; 12], body.concat()].concat();
        with(&body, |table| {
            let mut numa = Numa::new();
            numa.read_affinity(table);
            numa
        })
    }

    #[test]
    fn two_nodes_with_numbers_of_the_firmwares_own() {
        let mut numa = read(&[
            cpu(7, 0),
            cpu(0x1_0300, 2),
            x2(7, 300, 1),
            x2(9, 301, 0),
            memory(7, 0, 0xa_0000),
            memory(0x1_0300, 0x1_0000_0000, 0x4000_0000),
            memory(3, 5, 0),
            memory(3, u64::MAX, 2),
        ]);
        assert_eq!(numa.nodes(), 2);
        assert_eq!(
            [0, 2, 300, 301, 5].map(|id| numa.node_of_cpu(id)),
            [0, 1, 0, 0, 0]
        );
        let wanted = Memory {
            start: 0x1_0000_0000,
            end: 0x1_4000_0000,
            node: 1,
        };
        assert_eq!(numa.memory()[1], wanted);
        assert_eq!((numa.distance(0, 0), numa.distance(0, 1)), (10, 20));
        // The SLIT has rows by the firmware's numbers, of which node 1 is past the end.
        let body = [8u64.to_le_bytes().to_vec(), vec![31; 64]].concat();
        with(&body, |table| numa.read_distances(table));
        assert_eq!((numa.distance(0, 0), numa.distance(0, 1)), (31, 20));
    }

    #[test]
    fn distances() {
        let mut numa = read(&[cpu(0, 0), cpu(1, 1)]);
        let body = [2u64.to_le_bytes().to_vec(), vec![10, 25, 26, 10]].concat();
        with(&body, |table| numa.read_distances(table));
        assert_eq!(
            (
                numa.distance(0, 1),
                numa.distance(1, 0),
                numa.distance(5, 5)
            ),
            (25, 26, 10)
        );
    }

    #[test]
    fn more_nodes_than_are_told_apart() {
        let cpus: Vec<_> = (0..40).map(|n| cpu(n, u8::try_from(n).unwrap())).collect();
        let numa = read(&cpus);
        assert_eq!(numa.nodes(), MAX_NODES);
        assert_eq!(numa.node_of_cpu(39), 0);
        assert_eq!(Numa::new().nodes(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_end(body in prop::collection::vec(any::<u8>(), 0..600)) {
            let numa = read(&[body]);
            prop_assert!(numa.nodes() <= MAX_NODES);
        }
    }
}
