//! NUMA nodes: which memory is near which CPUs.

use alloc::vec;
use alloc::vec::Vec;

use crate::types::{CpuId, Mfn};

/// Distance within a node.
const NEAR: u8 = 10;

/// The host's nodes, numbered from 0. There is always one.
#[derive(Clone, Debug)]
pub struct Nodes {
    count: usize,
    memory: Vec<(Mfn, Mfn, u8)>,
    cpus: Vec<u8>,
    distances: Vec<u8>,
    /// For each node, all nodes, the nearest first.
    nearest: Vec<usize>,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            count: 1,
            memory: Vec::new(),
            cpus: Vec::new(),
            distances: vec![NEAR],
            nearest: vec![0],
        }
    }
}

impl Nodes {
    /// `count` nodes, with `memory` (first frame, frame past the end, node), the node of each CPU
    /// by its number, and the distance from one node to another. What is not listed, or listed for
    /// a node that there is not, belongs to node 0.
    pub fn new(
        count: usize,
        memory: Vec<(Mfn, Mfn, u8)>,
        cpus: Vec<u8>,
        distance: impl Fn(usize, usize) -> u8,
    ) -> Self {
        let count = count.max(1);
        let distances = (0..count * count)
            .map(|at| distance(at / count, at % count))
            .collect();
        let mut nodes = Self {
            count,
            memory,
            cpus,
            distances,
            nearest: Vec::new(),
        };
        let sorted = |node| {
            let mut all: Vec<usize> = (0..count).collect();
            all.sort_by_key(|other| (*other != node, nodes.distance(node, *other)));
            all
        };
        nodes.nearest = (0..count).flat_map(sorted).collect();
        nodes
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The node of a frame.
    #[inline]
    pub fn of_frame(&self, mfn: Mfn) -> usize {
        if self.count == 1 {
            return 0;
        }
        let piece = self
            .memory
            .iter()
            .find(|(first, end, _)| (*first..*end).contains(&mfn));
        self.known(piece.map_or(0, |(_, _, node)| *node))
    }

    /// The node of a CPU.
    pub fn of_cpu(&self, cpu: CpuId) -> usize {
        self.known(self.cpus.get(cpu.index()).copied().unwrap_or(0))
    }

    fn known(&self, node: u8) -> usize {
        let node = usize::from(node);
        if node < self.count { node } else { 0 }
    }

    /// How far a node is from another, in tenths of the distance within a node.
    pub fn distance(&self, from: usize, to: usize) -> u8 {
        let place = from.saturating_mul(self.count).saturating_add(to);
        self.distances.get(place).copied().unwrap_or(u8::MAX)
    }

    /// All nodes, the nearest to `node` first. It takes no memory: the byte heap grows by it.
    pub fn nearest(&self, node: usize) -> &[usize] {
        let first = if node < self.count { node } else { 0 };
        let mut rows = self.nearest.chunks_exact(self.count);
        rows.nth(first).unwrap_or(&[0])
    }

    /// Frames of memory in a node, of a host with `total` frames that are in some piece or none.
    pub fn frames(&self, node: usize, total: u64) -> u64 {
        let listed = |wanted: usize| -> u64 {
            self.memory
                .iter()
                .filter(|(_, _, node)| self.known(*node) == wanted)
                .map(|(first, end, _)| end.0.saturating_sub(first.0))
                .sum()
        };
        if node == 0 {
            let others: u64 = (1..self.count).map(listed).sum();
            total.saturating_sub(others)
        } else if node < self.count {
            listed(node)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Nodes {
        let memory = vec![
            (Mfn(0), Mfn(100), 0),
            (Mfn(100), Mfn(300), 1),
            (Mfn(400), Mfn(500), 9),
        ];
        Nodes::new(3, memory, vec![0, 1, 2, 7], |from, to| {
            match from.abs_diff(to) {
                0 => 10,
                1 => 30,
                _ => 20,
            }
        })
    }

    #[test]
    fn frames_and_cpus_have_nodes() {
        let nodes = three();
        assert_eq!(
            [5, 100, 299, 300, 450].map(|mfn| nodes.of_frame(Mfn(mfn))),
            [0, 1, 1, 0, 0]
        );
        assert_eq!(
            [0, 1, 2, 3, 4].map(|cpu| nodes.of_cpu(CpuId(cpu))),
            [0, 1, 2, 0, 0]
        );
        assert_eq!(
            [0, 1, 2, 3].map(|node| nodes.frames(node, 1000)),
            [800, 200, 0, 0]
        );
    }

    #[test]
    fn the_nearest_come_first() {
        let nodes = three();
        assert_eq!(nodes.nearest(0), [0, 2, 1]);
        assert_eq!(nodes.nearest(1), [1, 0, 2]);
        assert_eq!(Nodes::default().nearest(0), [0]);
        assert_eq!(Nodes::default().nearest(5), [0]);
    }
}
