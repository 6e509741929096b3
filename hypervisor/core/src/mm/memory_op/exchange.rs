//! `XENMEM_exchange`: a guest gives frames and gets others, contiguous or below an address.
//! Linux's swiotlb-xen lives on it.

use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::memory::Exchange;

use super::reservation::{max_order, place};
use super::target;
use crate::domain::Domain;
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::loose::{self, Loose, Room};
use crate::mm::{Block, Purpose, count_exchanged, heap};
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
    let extents = 1u64 << (highest - want.extent_order);
    let out_list = GuestHandle::<u64>::new(want.extent_start);
    let base = (request.nr_exchanged << give.extent_order) >> want.extent_order;
    let mut new = Vec::new();
    new.try_reserve(1 << (highest - want.extent_order))
        .map_err(|_| Errno::ENOMEM)?;
    for at in base..base + extents {
        let pfn = out_list.read_at(machine, at)?;
        let none = heap::Claim::default();
        let block = Block::take(cx.hv, order, place(want.mem_flags), &none);
        new.push((at, pfn, block.ok_or(Errno::ENOMEM)?));
    }
    // Until the old frames are gone the new ones are nobody's: a guest that has them in its hands, even for the moment
    // before a failure, could keep them.
    let taken = take_all(cx, domain, &old)?;
    if !count(domain, &new, order) {
        give_all_back(cx, domain, taken);
        return Err(Errno::ENOMEM);
    }
    drop(taken);
    // All of them, whatever happens to one: they are counted.
    let mut outcome = Ok(());
    for (at, pfn, block) in new {
        let first = block.first();
        for page in 0..1u64 << order {
            machine.set_m2p(first.offset(page), pfn.wrapping_add(page));
        }
        outcome = match block.hand_over(cx.cpu, domain, Purpose::Ram) {
            Some(_) => outcome.and(out_list.write_at(machine, at, &first.0)),
            None => Err(Errno::ENOMEM),
        };
    }
    outcome
}

/// Counts new frames among the domain's. `false` if there is no memory for the counts: nothing has changed then.
fn count<M: Machine>(domain: &Domain<M>, new: &[(u64, u64, Block<M>)], order: u8) -> bool {
    let mut owned = domain.memory.owned.lock();
    let frames = 1u64 << order;
    for (done, (_, _, block)) in new.iter().enumerate() {
        if !owned.add(block.first(), frames) {
            for (_, _, block) in new.iter().take(done) {
                (0..frames).for_each(|n| owned.remove(block.first().offset(n)));
            }
            return false;
        }
    }
    count_exchanged(&domain.memory, new.len() as u64 * frames);
    true
}

/// A frame taken out of a domain's memory, and its pseudo-physical number.
type Taken<M> = Vec<(Loose<M>, u64)>;

/// Takes frames out of the domain's memory. `EINVAL` if one of them is not its own, has
/// references beside the owner's, or is named twice; all are the domain's again then.
fn take_all<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Domain<M>,
    frames: &[Mfn],
) -> Result<Taken<M>, Errno> {
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
    Ok(taken)
}

fn give_all_back<M: Machine>(cx: &Cx<'_, M>, domain: &Domain<M>, taken: Taken<M>) {
    for (frame, pfn) in taken {
        let mfn = frame.mfn();
        if Room::restore(domain).fill(cx.cpu, frame).is_some() {
            cx.machine().set_m2p(mfn, pfn);
        }
    }
}
