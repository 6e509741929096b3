//! `XENMEM_exchange`: a guest gives frames and gets others, contiguous or below an address.
//! Linux's swiotlb-xen lives on it.

use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::memory::Exchange;

use super::reservation::{max_order, place, surrender};
use super::target;
use crate::domain::Domain;
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::loose::{self, Loose, Room};
use crate::mm::{Purpose, alloc_frames};
use crate::percpu::Cx;
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
    let order = u8::try_from(want.extent_order).map_err(|_| Errno::EINVAL)?;
    // The new frames come first, beyond the limit for a moment, so that a failure changes nothing.
    let place = place(want.mem_flags);
    let extents = 1usize << (highest - want.extent_order);
    let mut new = Vec::new();
    new.try_reserve(extents).map_err(|_| Errno::ENOMEM)?;
    new.extend(
        (0..extents).map_while(|_| alloc_frames(cx.cpu, domain, order, place, Purpose::Exchanged)),
    );
    let outcome = if new.len() == extents {
        take_all(cx, domain, &old)
    } else {
        Err(Errno::ENOMEM)
    };
    if let Err(errno) = outcome {
        for first in new {
            for n in 0..1u64 << order {
                surrender(cx, domain, first.offset(n));
            }
        }
        return Err(errno);
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

/// Takes frames out of the domain's memory and frees them. `EINVAL` if one of them is not its own, has
/// references beside the owner's, or is named twice; all are the domain's again then.
fn take_all<M: Machine>(cx: &Cx<'_, M>, domain: &Domain<M>, frames: &[Mfn]) -> Result<(), Errno> {
    let mut taken = Vec::new();
    taken.try_reserve(frames.len()).map_err(|_| Errno::ENOMEM)?;
    for mfn in frames {
        let pfn = cx.machine().m2p(*mfn);
        let Some(loose) = loose::take(cx.hv, domain, *mfn) else {
            give_all_back(cx, domain, taken);
            return Err(Errno::EINVAL);
        };
        taken.push((loose, pfn));
    }
    Ok(())
}

fn give_all_back<M: Machine>(cx: &Cx<'_, M>, domain: &Domain<M>, taken: Vec<(Loose<M>, u64)>) {
    for (frame, pfn) in taken {
        let mfn = frame.mfn();
        if Room::restore(domain).fill(cx.cpu, frame).is_some() {
            cx.machine().set_m2p(mfn, pfn);
        }
    }
}
