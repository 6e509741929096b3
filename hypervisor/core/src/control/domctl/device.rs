//! Hardware that a domain may use. Nobody can hand out what he may not use himself.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::*;

use super::super::{Answer, Outcome, Union, take};
use crate::domain::Domain;
use crate::machine::Machine;
use crate::mm::ranges::RangeSet;
use crate::percpu::Cx;

fn change(set: &mut RangeSet, allow: u8, first: u64, last: u64) -> Result<(), Errno> {
    set.make_room()?;
    if allow != 0 {
        set.insert(first, last);
    } else {
        set.remove(first, last);
    }
    Ok(())
}

/// `irq_permission`.
pub(super) fn irq<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let IrqPermission {
        pirq, allow_access, ..
    } = take(u);
    let pirq = u64::from(pirq);
    if !cx.domain().permissions.lock().irqs.contains(pirq) {
        return Err(Errno::EPERM.into());
    }
    change(
        &mut domain.permissions.lock().irqs,
        allow_access,
        pirq,
        pirq,
    )?;
    Ok(Answer::Done)
}

/// `iomem_permission`.
pub(super) fn iomem<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let IomemPermission {
        first_mfn,
        nr_mfns,
        allow_access,
        ..
    } = take(u);
    let last = last(first_mfn, nr_mfns)?;
    if !cx
        .domain()
        .permissions
        .lock()
        .iomem
        .contains_range(first_mfn, last)
    {
        return Err(Errno::EPERM.into());
    }
    change(
        &mut domain.permissions.lock().iomem,
        allow_access,
        first_mfn,
        last,
    )?;
    Ok(Answer::Done)
}

/// `ioport_permission`.
pub(super) fn ports<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>, u: &Union) -> Outcome {
    let IoportPermission {
        first_port,
        nr_ports,
        allow_access,
        ..
    } = take(u);
    let (first, count) = (u64::from(first_port), u64::from(nr_ports));
    if first + count > 0x1_0000 {
        return Err(Errno::EINVAL.into());
    }
    if count == 0 {
        return Ok(Answer::Done);
    }
    let last = first + count - 1;
    if !cx
        .domain()
        .permissions
        .lock()
        .ports
        .contains_range(first, last)
    {
        return Err(Errno::EPERM.into());
    }
    change(
        &mut domain.permissions.lock().ports,
        allow_access,
        first,
        last,
    )?;
    Ok(Answer::Done)
}

/// `memory_mapping`: a PV guest maps device memory by itself, once it may.
pub(super) fn mapping<M: Machine>(cx: &Cx<'_, M>, u: &Union) -> Outcome {
    let MemoryMapping {
        first_gfn,
        first_mfn,
        nr_mfns,
        add_mapping,
        ..
    } = take(u);
    let last_mfn = last(first_mfn, nr_mfns)?;
    last(first_gfn, nr_mfns)?;
    if !matches!(add_mapping, DPCI_ADD_MAPPING | DPCI_REMOVE_MAPPING) {
        return Err(Errno::EINVAL.into());
    }
    if !cx
        .domain()
        .permissions
        .lock()
        .iomem
        .contains_range(first_mfn, last_mfn)
    {
        return Err(Errno::EPERM.into());
    }
    Ok(Answer::Done)
}

/// The last of some frames.
fn last(first: u64, count: u64) -> Result<u64, Errno> {
    count
        .checked_sub(1)
        .and_then(|more| first.checked_add(more))
        .ok_or(Errno::EINVAL)
}
