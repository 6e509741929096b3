//! `XENMEM_acquire_resource`: frames of another domain's grant table, for the tools to map.

use oxen_abi::errno::Errno;
use oxen_abi::memory::{
    AcquireResource, XENMEM_RESOURCE_GRANT_TABLE, XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED,
    XENMEM_RESOURCE_GRANT_TABLE_ID_STATUS,
};

use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::DomId;

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
    let domain = cx
        .hv
        .domains
        .get(DomId(request.domid))
        .ok_or(Errno::ESRCH)?;
    // One's own come by other ways.
    if domain.id == cx.domain().id {
        return Err(Errno::EPERM.into());
    }
    let size = match (request.type_, request.id) {
        (XENMEM_RESOURCE_GRANT_TABLE, XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED) => {
            domain.grants.max_frames()
        }
        (XENMEM_RESOURCE_GRANT_TABLE, XENMEM_RESOURCE_GRANT_TABLE_ID_STATUS) => {
            domain.grants.max_status_frames()
        }
        // Those of HVM guests and of tracing.
        (0..=2, _) => 0,
        _ => return Err(Errno::EOPNOTSUPP.into()),
    };
    if size == 0 {
        return Err(Errno::EINVAL.into());
    }
    if request.frame_list == 0 {
        if request.nr_frames != 0 {
            return Err(Errno::EINVAL.into());
        }
        request.nr_frames = size;
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
        let mfn = if request.id == XENMEM_RESOURCE_GRANT_TABLE_ID_STATUS {
            domain.grants.status_or_grow(cx.cpu, &domain, index)
        } else {
            domain.grants.frame_or_grow(cx.cpu, &domain, index)
        };
        let mfn = mfn.ok_or(Errno::EINVAL)?;
        list.write_at(cx.machine(), n, &mfn.0)?;
    }
    Ok(0)
}
