//! The host: memory, domains, the console ring, debug keys.

use oxen_abi::Errno;
use oxen_abi::domctl::GetDomainInfo;
use oxen_abi::sysctl::*;

use super::super::cpu_policy::{self, Kind};
use super::super::domctl::info::domain_info;
use super::super::{Answer, Outcome, Union, put, take};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::{DomId, PAGE_SHIFT};

/// `physinfo`.
pub(super) fn physical<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let (hv, machine) = (cx.hv, cx.machine());
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let features = cpu_policy::featureset(hv, Kind::Host);
    let mut hw_cap = [0; 8];
    for (to, from) in hw_cap.iter_mut().zip(features) {
        *to = from;
    }
    let info = PhysInfo {
        threads_per_core: hv.host.threads_per_core,
        cores_per_socket: hv.host.cores_per_socket,
        nr_cpus: number(hv.serving().iter().count()),
        max_cpu_id: number(hv.cpu_count().saturating_sub(1)),
        nr_nodes: number(hv.heap.nodes().count()),
        max_node_id: number(hv.heap.nodes().count() - 1),
        cpu_khz: u32::try_from(machine.tsc_khz()).unwrap_or(u32::MAX),
        capabilities: XEN_SYSCTL_PHYSCAP_PV
            | XEN_SYSCTL_PHYSCAP_GNTTAB_V1
            | XEN_SYSCTL_PHYSCAP_GNTTAB_V2,
        arch_capabilities: 0,
        pad: 0,
        total_pages: hv.host.total_frames,
        free_pages: hv.heap.free_frames(),
        scrub_pages: 0,
        outstanding_pages: hv.heap.claimed_frames(),
        max_mfn: machine.max_frame().0.saturating_sub(1),
        hw_cap,
    };
    put(u, &info)
}

/// `getdomaininfolist`: of domains from a number on.
pub(super) fn domains<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: GetDomainInfoList = take(u);
    let handle = GuestHandle::<GetDomainInfo>::new(request.buffer);
    let room = usize::try_from(request.max_domains).unwrap_or(usize::MAX);
    let mut written = 0;
    for domain in cx.hv.domains.from(DomId(request.first_domain)).take(room) {
        handle.write_at(cx.machine(), written, &domain_info(cx, &domain))?;
        written += 1;
    }
    request.num_domains = u32::try_from(written).unwrap_or(u32::MAX);
    put(u, &request)
}

/// `readconsole`: copies the ring from its oldest byte, or from where the tool was.
pub(super) fn read_console<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: ReadConsole = take(u);
    let console = &cx.hv.console;
    let mut position = console.ring_start((request.incremental != 0).then_some(request.index));
    let handle = GuestHandle::<u8>::new(request.buffer);
    let mut copied = 0;
    while copied < request.count {
        let mut piece = [0; 256];
        let room = (request.count - copied).min(256) as usize;
        let got = console.read_ring(&mut position, piece.get_mut(..room).unwrap_or_default());
        if got == 0 {
            break;
        }
        let to = handle.at(u64::from(copied))?;
        let bytes = piece.get(..got).unwrap_or_default();
        cx.machine()
            .copy_to_guest(to.addr(), bytes)
            .map_err(|_| Errno::EFAULT)?;
        copied += u32::try_from(got).unwrap_or(0);
    }
    if request.clear != 0 {
        console.clear_ring(position);
    }
    request.count = copied;
    request.index = position;
    put(u, &request)
}

/// Most keys taken in one call.
const MOST_KEYS: u32 = 256;

/// `debug_keys`.
pub(super) fn debug_keys<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let DebugKeys { keys, nr_keys, .. } = take(u);
    if nr_keys > MOST_KEYS {
        return Err(Errno::E2BIG.into());
    }
    let handle = GuestHandle::<u8>::new(keys);
    for at in 0..u64::from(nr_keys) {
        crate::console::keys::press(cx.hv, handle.read_at(cx.machine(), at)?);
    }
    Ok(Answer::Done)
}

/// `availheap`: of one node, or of all with node -1; of addresses with so many bits, where 0 is no bound.
pub(super) fn free_memory<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: AvailHeap = take(u);
    let (least, most) = (request.min_bitwidth, request.max_bitwidth);
    let most = if most == 0 { u64::BITS } else { most };
    let free = match usize::try_from(request.node) {
        Ok(node) => cx.hv.heap.free_between(Some(node), least, most),
        Err(_) if request.node == -1 => cx.hv.heap.free_between(None, least, most),
        Err(_) => 0,
    };
    request.avail_bytes = free << PAGE_SHIFT;
    put(u, &request)
}

/// `numainfo`: memory and distances of each node. Null handles ask for the number of nodes.
pub(super) fn nodes<M: Machine>(cx: &Cx<'_, M>, u: &mut Union) -> Outcome {
    let mut request: NumaInfo = take(u);
    let (heap, machine) = (&cx.hv.heap, cx.machine());
    let nodes = heap.nodes();
    let memory = GuestHandle::<MemInfo>::new(request.meminfo);
    let distances = GuestHandle::<u32>::new(request.distance);
    let count = nodes.count();
    let asked = usize::try_from(request.num_nodes).unwrap_or(usize::MAX);
    let told = count.min(asked);
    for node in 0..told {
        if !memory.is_null() {
            let info = MemInfo {
                memsize: nodes.frames(node, cx.hv.host.total_frames) << PAGE_SHIFT,
                memfree: heap.free_in_node(node) << PAGE_SHIFT,
            };
            memory.write_at(machine, node as u64, &info)?;
        }
        if distances.is_null() {
            continue;
        }
        for other in 0..told {
            let distance = u32::from(nodes.distance(node, other));
            distances.write_at(machine, (node * told + other) as u64, &distance)?;
        }
    }
    let none = memory.is_null() && distances.is_null();
    request.num_nodes = u32::try_from(if none { count } else { told }).unwrap_or(u32::MAX);
    put(u, &request)
}
