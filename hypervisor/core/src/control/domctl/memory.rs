//! A domain's memory: its limit, the hypercall page, what its frames are used as.

use alloc::sync::Arc;

use oxen_abi::Errno;
use oxen_abi::domctl::*;

use super::super::{Answer, Outcome, Union, put, take};
use crate::domain::Domain;
use crate::error::Stop;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::mm::frame::{CountWord, PageType};
use crate::mm::types::MmError;
use crate::mm::{get_page, put_page};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::Mfn;

/// `max_mem`: the limit, given in KiB. It may be below what the domain has.
pub(super) fn max_mem<M: Machine>(domain: &Domain<M>, u: &Union) -> Outcome {
    let MaxMem { max_memkb } = take(u);
    domain
        .memory
        .max
        .store((max_memkb >> 2).min(u64::from(u32::MAX)), Ordering::Release);
    Ok(Answer::Done)
}

/// `hypercall_init`: fills a frame of the domain's with the stubs. `EINVAL` if it is not its own
/// or is in use as a page table.
pub(super) fn hypercall_page<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &Union,
) -> Outcome {
    let HypercallInit { gmfn } = take(u);
    match crate::hypercall::page::install(cx.cpu, domain, Mfn(gmfn)) {
        Ok(()) => Ok(Answer::Done),
        Err(MmError::Restart) => Err(Stop::Restart([0; 6])),
        Err(MmError::Errno(_)) => Err(Errno::EINVAL.into()),
    }
}

/// `set_address_size`: PV guests are 64-bit.
pub(super) fn set_address_size(u: &Union) -> Outcome {
    let AddressSize { size } = take(u);
    match size {
        64 => Ok(Answer::Done),
        32 => Err(Errno::EOPNOTSUPP.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `get_address_size`.
pub(super) fn get_address_size(u: &mut Union) -> Outcome {
    put(u, &AddressSize { size: 64 })
}

/// Most frames asked about in one call.
const MOST_FRAMES: u64 = 1024;

/// `getpageframeinfo3`: frame numbers are replaced by what the frames are used as.
pub(super) fn frame_types<M: Machine>(
    cx: &Cx<'_, M>,
    domain: &Arc<Domain<M>>,
    u: &Union,
) -> Outcome {
    let GetPageFrameInfo3 { num, array } = take(u);
    if num > MOST_FRAMES {
        return Err(Errno::E2BIG.into());
    }
    let handle = GuestHandle::<u64>::new(array);
    for at in 0..num {
        let mfn = Mfn(handle.read_at(cx.machine(), at)?);
        handle.write_at(cx.machine(), at, &u64::from(frame_type(cx, domain, mfn)))?;
    }
    Ok(Answer::Done)
}

fn frame_type<M: Machine>(cx: &Cx<'_, M>, domain: &Domain<M>, mfn: Mfn) -> u32 {
    let Some(frame) = cx
        .machine()
        .frame(mfn)
        .filter(|_| get_page(cx.machine(), mfn, domain.id))
    else {
        return XEN_DOMCTL_PFINFO_XTAB;
    };
    let (types, special) = (frame.types(), frame.count().has(CountWord::SPECIAL));
    put_page(cx.hv, mfn);
    if special {
        // The domain's, but no memory of its own: not to be saved.
        return XEN_DOMCTL_PFINFO_XTAB;
    }
    let kind = match types.kind() {
        PageType::L1 => XEN_DOMCTL_PFINFO_L1TAB,
        PageType::L2 => XEN_DOMCTL_PFINFO_L2TAB,
        PageType::L3 => XEN_DOMCTL_PFINFO_L3TAB,
        PageType::L4 => XEN_DOMCTL_PFINFO_L4TAB,
        PageType::None | PageType::Descriptors | PageType::Writable => {
            return XEN_DOMCTL_PFINFO_NOTAB;
        }
    };
    if types.count() == 0 {
        XEN_DOMCTL_PFINFO_NOTAB
    } else if types.pinned() {
        kind | XEN_DOMCTL_PFINFO_LPINTAB
    } else {
        kind
    }
}
