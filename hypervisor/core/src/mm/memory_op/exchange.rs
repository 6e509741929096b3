//! `XENMEM_exchange`: a guest gives frames and gets others, contiguous or below an address.
//! Linux's swiotlb-xen lives on it.

use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::memory::Exchange;

use super::reservation::{address_bits, max_order, surrender};
use super::target;
use crate::domain::Domain;
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::frame::CountWord;
use crate::mm::{Purpose, alloc_frames};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::Mfn;

/// Exchanges chunk by chunk; a chunk is the larger of the two extents. What was exchanged before
/// a failure stays so and is counted in `nr_exchanged`.
pub(super) fn exchange<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<Exchange>) -> HcResult {
    let mut request = arg.read(cx.machine())?;
    let (give, want) = (request.in_, request.out);
    let highest = give.extent_order.max(want.extent_order);
    let pages =
        |extents: u64, order: u32| extents.checked_shl(order).filter(|n| n >> order == extents);
    if give.extent_order > 18
        || want.extent_order > max_order(cx)
        || pages(give.nr_extents, give.extent_order) != pages(want.nr_extents, want.extent_order)
        || pages(give.nr_extents, give.extent_order).is_none()
        || request.nr_exchanged > give.nr_extents
        || give.domid != want.domid
    {
        return Err(Errno::EINVAL.into());
    }
    if highest > max_order(cx) {
        return Err(Errno::EPERM.into());
    }
    let domain = target(cx, give.domid)?;
    let per_chunk = 1u64 << (highest - give.extent_order);
    if request.nr_exchanged % per_chunk != 0 || give.nr_extents % per_chunk != 0 {
        return Err(Errno::EINVAL.into());
    }
    while request.nr_exchanged < give.nr_extents {
        if cx.cpu.preempt_needed() {
            arg.write(cx.machine(), &request)?;
            return Err(crate::Stop::Restart([
                u64::from(oxen_abi::memory::XENMEM_EXCHANGE),
                arg.addr(),
                0,
                0,
                0,
                0,
            ]));
        }
        if let Err(errno) = one_chunk(cx, &domain, &request, per_chunk, highest) {
            arg.write(cx.machine(), &request)?;
            return Err(errno.into());
        }
        request.nr_exchanged += per_chunk;
    }
    arg.write(cx.machine(), &request)?;
    Ok(0)
}

fn one_chunk<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Domain<M>,
    request: &Exchange,
    per_chunk: u64,
    highest: u32,
) -> Result<(), Errno> {
    let (give, want) = (request.in_, request.out);
    let machine = cx.machine();
    let in_list = GuestHandle::<u64>::new(give.extent_start);
    let mut old = Vec::new();
    old.try_reserve(1 << highest).map_err(|_| Errno::ENOMEM)?;
    for n in 0..per_chunk {
        let first = in_list.read_at(machine, request.nr_exchanged + n)?;
        old.extend((0..1u64 << give.extent_order).map(|page| Mfn(first.wrapping_add(page))));
    }
    if !old.iter().all(|mfn| is_exchangeable(machine, domain, *mfn)) {
        return Err(Errno::EINVAL);
    }
    // The new frames come first, beyond the limit for a moment, so that a failure changes
    // nothing.
    let extra = 1u64 << highest;
    domain.memory.max.fetch_add(extra, Ordering::AcqRel);
    let order = u8::try_from(want.extent_order).map_err(|_| Errno::EINVAL)?;
    let extents = 1u64 << (highest - want.extent_order);
    let mut new = Vec::new();
    for _ in 0..extents {
        match alloc_frames(
            cx.cpu,
            domain,
            order,
            address_bits(want.mem_flags),
            Purpose::Ram,
        ) {
            Some(first) => new.push(first),
            None => break,
        }
    }
    domain.memory.max.fetch_sub(extra, Ordering::AcqRel);
    if new.len() as u64 != extents {
        for first in new {
            for n in 0..1u64 << order {
                surrender(cx, domain, first.offset(n));
            }
        }
        return Err(Errno::ENOMEM);
    }
    for mfn in &old {
        surrender(cx, domain, *mfn);
    }
    let out_list = GuestHandle::<u64>::new(want.extent_start);
    let base = (request.nr_exchanged << give.extent_order) >> want.extent_order;
    for (n, first) in (0u64..).zip(&new) {
        let place = base + n;
        let pfn = out_list.read_at(machine, place)?;
        for page in 0..1u64 << order {
            machine.set_m2p(first.offset(page), pfn.wrapping_add(page));
        }
        out_list.write_at(machine, place, &first.0)?;
    }
    Ok(())
}

/// Whether the frame is the domain's and nothing but its ownership refers to it.
fn is_exchangeable<M: Machine>(machine: &M, domain: &Domain<M>, mfn: Mfn) -> bool {
    machine.frame(mfn).is_some_and(|frame| {
        let word = frame.count();
        word.owner() == domain.id
            && word.count() == 1
            && word.has(CountWord::ALLOCATED)
            && !word.has(CountWord::HYPERVISOR | CountWord::IO)
    })
}
