//! NUMA nodes: what sysctl says of them, and memory from a node of one's choice.

use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory as abi;
use oxen_abi::sysctl::{CpuTopo, CpuTopoInfo, MemInfo, NumaInfo};
use oxen_abi::sysctl::{XEN_SYSCTL_CPUTOPOINFO, XEN_SYSCTL_NUMAINFO};
use oxen_abi::xen::DOMID_SELF;

use super::{Outcome, Suite, Why, ensure, good, same};
use crate::domain::control::sysctl;
use crate::sys::hypercall;

/// Most nodes looked at.
const NODES: usize = 4;

/// Number of nodes and their memory.
fn nodes() -> Result<(usize, [MemInfo; NODES]), Why> {
    let mut memory = [MemInfo::default(); NODES];
    let mut arg = NumaInfo {
        num_nodes: 4,
        meminfo: hypercall::slice_address(&mut memory),
        ..NumaInfo::default()
    };
    same!(sysctl(XEN_SYSCTL_NUMAINFO, &mut arg), Ok(0));
    Ok((arg.num_nodes as usize, memory))
}

/// Takes a frame from exactly this node, and gives it back.
fn take_from(node: u32, count: usize, before: &[MemInfo; NODES]) -> Outcome {
    let mut frames = [0u64; 1];
    let mut arg = abi::Reservation {
        extent_start: hypercall::slice_address(&mut frames),
        nr_extents: 1,
        mem_flags: (node + 1) << 8 | abi::XENMEMF_EXACT_NODE_REQUEST,
        domid: DOMID_SELF,
        ..abi::Reservation::default()
    };
    same!(
        hypercall::op(
            HYPERVISOR_MEMORY_OP,
            abi::XENMEM_INCREASE_RESERVATION,
            &mut arg
        ),
        Ok(1)
    );
    let (_, after) = nodes()?;
    for other in 0..count {
        let taken = before[other].memfree.wrapping_sub(after[other].memfree);
        ensure!(
            taken == if other == node as usize { 4096 } else { 0 },
            "a frame of node {node}: {taken} bytes less in node {other}"
        );
    }
    same!(
        hypercall::op(
            HYPERVISOR_MEMORY_OP,
            abi::XENMEM_DECREASE_RESERVATION,
            &mut arg
        ),
        Ok(1)
    );
    Ok(())
}

pub(super) fn run(s: &mut Suite<'_>) {
    if !s.privileged {
        return;
    }
    s.check("numa/memory", || {
        let (count, memory) = nodes()?;
        ensure!((1..=NODES).contains(&count), "{count} nodes");
        for node in &memory[..count] {
            ensure!(
                node.memfree <= node.memsize && node.memsize > 0,
                "{} of {} bytes free",
                node.memfree,
                node.memsize
            );
        }
        Ok(())
    });
    s.check("numa/distances", || {
        let mut distances = [0u32; NODES * NODES];
        let mut arg = NumaInfo {
            num_nodes: 4,
            distance: hypercall::slice_address(&mut distances),
            ..NumaInfo::default()
        };
        same!(sysctl(XEN_SYSCTL_NUMAINFO, &mut arg), Ok(0));
        let count = arg.num_nodes as usize;
        ensure!((1..=NODES).contains(&count), "{count} nodes");
        for from in 0..count {
            for to in 0..count {
                let distance = distances[from * count + to];
                ensure!(
                    (from == to) == (distance == 10) && distance >= 10,
                    "{distance} from {from} to {to}"
                );
            }
        }
        Ok(())
    });
    s.check("numa/cpus", || {
        let (count, _) = nodes()?;
        let mut cpus = [CpuTopo::default(); 8];
        let mut arg = CpuTopoInfo {
            num_cpus: 8,
            cputopo: hypercall::slice_address(&mut cpus),
            ..CpuTopoInfo::default()
        };
        same!(sysctl(XEN_SYSCTL_CPUTOPOINFO, &mut arg), Ok(0));
        let found = &cpus[..(arg.num_cpus as usize).min(8)];
        for (node, cpu) in (0u32..).zip(found).filter(|_| count == found.len()) {
            same!(cpu.node, node);
        }
        ensure!(
            found.iter().all(|cpu| (cpu.node as usize) < count),
            "a CPU of a node that there is not"
        );
        Ok(())
    });
    s.check("numa/exact_node", || {
        let (count, before) = nodes()?;
        for node in (0..).take(count) {
            take_from(node, count, &before)?;
        }
        let (_, after) = nodes()?;
        for node in 0..count {
            same!(after[node].memfree, before[node].memfree);
        }
        good!(sysctl(XEN_SYSCTL_NUMAINFO, &mut NumaInfo::default()));
        Ok(())
    });
}
