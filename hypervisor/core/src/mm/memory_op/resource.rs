//! `XENMEM_acquire_resource`: frames of another domain's grant table, for the tools to map.

use oxen_abi::errno::Errno;
use oxen_abi::memory::{
    AcquireResource, XENMEM_RESOURCE_GRANT_TABLE, XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED,
};

use super::target;
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;

/// The most frames of one call.
const MAX_FRAMES: u32 = 64;

/// Gives the frame numbers of a resource; with no list, its size.
pub(super) fn acquire<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<AcquireResource>) -> HcResult {
    if !cx.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let mut request = arg.read(cx.machine())?;
    if request.pad != 0 {
        return Err(Errno::EINVAL.into());
    }
    let domain = target(cx, request.domid)?;
    if request.type_ != XENMEM_RESOURCE_GRANT_TABLE {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if request.id != XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED {
        return Err(Errno::EINVAL.into());
    }
    if request.frame_list == 0 {
        if request.nr_frames != 0 {
            return Err(Errno::EINVAL.into());
        }
        request.nr_frames = domain.grants.max_frames();
        arg.write(cx.machine(), &request)?;
        return Ok(0);
    }
    if request.nr_frames > MAX_FRAMES {
        return Err(Errno::E2BIG.into());
    }
    let list = GuestHandle::<u64>::new(request.frame_list);
    for n in 0..u64::from(request.nr_frames) {
        let index = request
            .frame
            .checked_add(n)
            .and_then(|index| u32::try_from(index).ok())
            .ok_or(Errno::EINVAL)?;
        let mfn = domain
            .grants
            .frame_or_grow(cx.cpu, &domain, index)
            .ok_or(Errno::EINVAL)?;
        list.write_at(cx.machine(), n, &mfn.0)?;
    }
    Ok(0)
}
