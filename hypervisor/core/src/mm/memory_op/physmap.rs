//! Changes of a domain's physical map. A PV guest has none that the hypervisor keeps: it maps
//! machine frames itself, so all of these end in an error, in Xen's order.

use oxen_abi::errno::Errno;
use oxen_abi::memory::{
    AddToPhysmap, AddToPhysmapBatch, PodTarget, RemoveFromPhysmap, XENMAPSPACE_GMFN_FOREIGN,
    XENMAPSPACE_GMFN_RANGE,
};

use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::types::DomId;

/// `ESRCH` for a domain that there is not, else `EACCES`: it is a PV one.
fn refuse<M: Machine>(cx: &Cx<'_, M>, domid: u16) -> HcResult {
    cx.hv.domain(DomId(domid), cx.vcpu).ok_or(Errno::ESRCH)?;
    Err(Errno::EACCES.into())
}

/// `XENMEM_add_to_physmap`. Others' frames are for the batched form only.
pub(super) fn add<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<AddToPhysmap>) -> HcResult {
    let request = arg.read(cx.machine())?;
    if request.space == XENMAPSPACE_GMFN_FOREIGN {
        return Err(Errno::ENOSYS.into());
    }
    refuse(cx, request.domid)
}

/// `XENMEM_add_to_physmap_batch`. Ranges are for the other form only.
pub(super) fn add_batch<M: Machine>(
    cx: &Cx<'_, M>,
    arg: GuestHandle<AddToPhysmapBatch>,
) -> HcResult {
    let request = arg.read(cx.machine())?;
    if u32::from(request.space) == XENMAPSPACE_GMFN_RANGE {
        return Err(Errno::EOPNOTSUPP.into());
    }
    refuse(cx, request.domid)
}

/// `XENMEM_remove_from_physmap`.
pub(super) fn remove<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<RemoveFromPhysmap>) -> HcResult {
    let request = arg.read(cx.machine())?;
    refuse(cx, request.domid)
}

/// `XENMEM_set_pod_target` and `XENMEM_get_pod_target`: PV guests are not populated on demand.
pub(super) fn populate_on_demand<M: Machine>(
    cx: &Cx<'_, M>,
    arg: GuestHandle<PodTarget>,
) -> HcResult {
    let request = arg.read(cx.machine())?;
    cx.hv
        .domain(DomId(request.domid), cx.vcpu)
        .ok_or(Errno::ESRCH)?;
    let errno = if cx.domain().privileged {
        Errno::EINVAL
    } else {
        Errno::EPERM
    };
    Err(errno.into())
}
