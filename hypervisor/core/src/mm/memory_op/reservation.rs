//! Increase, decrease and populate: a list of extents, done one after the other.

use oxen_abi::errno::Errno;
use oxen_abi::memory::*;

use super::target;
use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::heap::Place;
use crate::mm::update::{finish_pending, leave_pending};
use crate::mm::{Purpose, alloc_frames, get_page, put_page, take_allocation, types};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, Mfn};

/// Largest extent of an unprivileged caller: 2 MiB, as its own memory was given out in.
const GUEST_ORDER: u32 = 9;
/// Largest extent of the control domain: 16 MiB. An extent is cleared in one go. Xen, whose limit is 1 GiB here, has this
/// one (`memop-max-order`) for domains that are given hardware.
const CONTROL_ORDER: u32 = 12;

/// Address width that a request asks for; 64 = any.
pub(super) fn address_bits(flags: u32) -> u32 {
    match flags & XENMEMF_ADDRESS_BITS_MASK {
        0 => 64,
        bits => bits,
    }
}

/// Where a request asks for memory: `XENMEMF_address_bits`, `XENMEMF_node` (0 = any, else one more
/// than the node) and `XENMEMF_exact_node_request`.
pub(super) fn place(flags: u32) -> Place {
    let node = (flags >> 8 & 0xff).checked_sub(1);
    Place {
        bits: address_bits(flags),
        node: node.map(|node| node as usize),
        exact: node.is_some() && flags & XENMEMF_EXACT_NODE_REQUEST != 0,
    }
}

/// The largest extent that the caller may ask for.
pub(super) fn max_order<M: Machine>(cx: &Cx<'_, M>) -> u32 {
    if cx.domain().privileged {
        CONTROL_ORDER
    } else {
        GUEST_ORDER
    }
}

/// The three operations. Returns how many extents were done; `start` of them were done before
/// (by an earlier stretch of the same call).
pub(super) fn change<M: Machine>(
    cx: &Cx<'_, M>,
    op: u32,
    start: u64,
    arg: GuestHandle<Reservation>,
) -> HcResult {
    let again = |done: u64| {
        let command = (done << MEMOP_EXTENT_SHIFT) | u64::from(op);
        Err(Stop::Restart([command, arg.addr(), 0, 0, 0, 0]))
    };
    // Page tables given back while they were pinned are taken apart before anything else.
    if !finish_pending(cx) {
        return again(start);
    }
    // As in Xen, what cannot be read is a request of which no more can be done.
    let Ok(request) = arg.read(cx.machine()) else {
        return Ok(start);
    };
    let domain = match target(cx, request.domid) {
        Ok(domain) => domain,
        Err(Stop::Errno(errno)) => return Err(errno.into()),
        Err(_) => return Ok(start),
    };
    if start >= request.nr_extents {
        return Ok(start.min(request.nr_extents));
    }
    if request.extent_order > max_order(cx)
        || request.nr_extents > u64::MAX >> MEMOP_EXTENT_SHIFT
        || request.mem_flags & XENMEMF_POPULATE_ON_DEMAND != 0
    {
        return Ok(start);
    }
    let extents = GuestHandle::<u64>::new(request.extent_start);
    for done in start..request.nr_extents {
        // Asked at the first one as well, for its turn begins there.
        if cx.cpu.preempt_needed() && done != start {
            return again(done);
        }
        let ok = match op {
            XENMEM_DECREASE_RESERVATION => give_back(cx, &domain, &request, extents, done),
            XENMEM_POPULATE_PHYSMAP => populate(cx, &domain, &request, extents, done),
            _ => increase(cx, &domain, &request, extents, done),
        };
        if !ok {
            return Ok(done);
        }
        if !finish_pending(cx) {
            return again(done + 1);
        }
    }
    Ok(request.nr_extents)
}

fn order_of(request: &Reservation) -> u8 {
    u8::try_from(request.extent_order).unwrap_or(u8::MAX)
}

fn increase<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Domain<M>,
    request: &Reservation,
    extents: GuestHandle<u64>,
    at: u64,
) -> bool {
    let place = place(request.mem_flags);
    let Some(first) = alloc_frames(cx.cpu, domain, order_of(request), place, Purpose::Ram) else {
        return false;
    };
    // A caller that does not want the numbers gives no list.
    extents.is_null() || extents.write_at(cx.machine(), at, &first.0).is_ok()
}

fn populate<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Domain<M>,
    request: &Reservation,
    extents: GuestHandle<u64>,
    at: u64,
) -> bool {
    let Ok(pfn) = extents.read_at(cx.machine(), at) else {
        return false;
    };
    let place = place(request.mem_flags);
    let Some(first) = alloc_frames(cx.cpu, domain, order_of(request), place, Purpose::Ram) else {
        return false;
    };
    for n in 0..1u64 << order_of(request) {
        cx.machine().set_m2p(first.offset(n), pfn.wrapping_add(n));
    }
    extents.write_at(cx.machine(), at, &first.0).is_ok()
}

fn give_back<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Domain<M>,
    request: &Reservation,
    extents: GuestHandle<u64>,
    at: u64,
) -> bool {
    let Ok(first) = extents.read_at(cx.machine(), at) else {
        return false;
    };
    (0..1u64 << order_of(request)).all(|n| surrender(cx, domain, Mfn(first.wrapping_add(n))))
}

/// Takes one frame from its owner: the owner's reference goes, and the frame is free once
/// nothing maps it any more. `false` if it is not the owner's to give.
pub(super) fn surrender<M: Machine>(cx: &Cx<'_, M>, domain: &Domain<M>, mfn: Mfn) -> bool {
    if !get_page(cx.machine(), mfn, domain.id) {
        return false;
    }
    let mut taken = take_allocation(cx.hv, mfn);
    if taken {
        put_page(cx.hv, mfn);
    }
    if types::take_pin(cx.cpu, mfn) {
        leave_pending(cx, types::put_type(cx.cpu, mfn).err());
        put_page(cx.hv, mfn);
        taken = true;
    }
    put_page(cx.hv, mfn);
    taken
}

/// `XENMEM_claim_pages`: sets aside what the domain still lacks of so many frames; 0 ends that.
/// `EINVAL` for a second claim, or for one that is not above what it has or is above its limit;
/// `ENOMEM` if there are not so many.
pub(super) fn claim<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<Reservation>) -> HcResult {
    let request = arg.read(cx.machine())?;
    if request.extent_start != 0 || request.extent_order != 0 || request.mem_flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let domain = cx.hv.domains.get(DomId(request.domid));
    let domain = domain.ok_or(Errno::EINVAL)?;
    if !cx.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let (heap, memory) = (&cx.hv.heap, &domain.memory);
    if request.nr_extents == 0 {
        heap.let_go(&memory.claim);
        return Ok(0);
    }
    let has = memory.total_frames();
    if request.nr_extents <= has || request.nr_extents > memory.max.load(Ordering::Acquire) {
        return Err(Errno::EINVAL.into());
    }
    heap.set_aside(&memory.claim, request.nr_extents - has)?;
    if domain.is_dying() {
        // It may have given its claim back already.
        heap.let_go(&memory.claim);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::memory_op::memory_op;
    use crate::testing::Host;
    use crate::types::VcpuId;

    /// How many extents of that order a domain gets of those it asks for.
    fn populate(host: &Host, id: u16, extent_order: u32, nr_extents: u64) -> HcResult {
        let frames = 1 << 14;
        let domain = match host.hv.domains.get(DomId(id)) {
            Some(domain) => domain,
            None => host.domain(id, 1, frames),
        };
        let vcpu = domain.vcpu(VcpuId(0)).unwrap();
        let request = Reservation {
            extent_start: host.put(0x1000, &[0u64, 1 << extent_order]),
            nr_extents,
            extent_order,
            domid: DomId::SELF.0,
            ..Reservation::default()
        };
        let arg = host.put(0, &request);
        memory_op(&host.cx(&vcpu), XENMEM_POPULATE_PHYSMAP.into(), arg)
    }

    #[test]
    fn the_longest_extent_takes_no_long_stretch() {
        let host = Host::with_frames(1 << 15);
        for (dom, highest) in [(0, CONTROL_ORDER), (1, GUEST_ORDER)] {
            assert_eq!(populate(&host, dom, highest, 1), Ok(1));
            assert_eq!(populate(&host, dom, highest + 1, 1), Ok(0));
            host.stop_after(Some(0));
            let left = (1 << MEMOP_EXTENT_SHIFT) | u64::from(XENMEM_POPULATE_PHYSMAP);
            let stopped = populate(&host, dom, highest, 2);
            assert!(
                matches!(stopped, Err(Stop::Restart([at, ..])) if at == left),
                "{stopped:?}"
            );
            host.stop_after(None);
        }
    }
}
