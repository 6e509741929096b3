//! memory_op about a domain's physical map, of which a PV guest has none, and the bounds of the
//! operation number.

use oxen_abi::Errno;
use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory as abi;
use oxen_abi::xen::DOMID_SELF;

use super::version::UNMAPPED;
use super::{Suite, same};
use crate::sys::hypercall;

fn add(domid: u16, space: u32) -> hypercall::Result {
    let mut arg = abi::AddToPhysmap {
        domid,
        space,
        ..abi::AddToPhysmap::default()
    };
    hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_ADD_TO_PHYSMAP, &mut arg)
}

fn add_batch(domid: u16, space: u32, size: u16) -> hypercall::Result {
    let mut arg = abi::AddToPhysmapBatch {
        domid,
        space: u16::try_from(space).unwrap_or(u16::MAX),
        size,
        foreign_domid: DOMID_SELF,
        ..abi::AddToPhysmapBatch::default()
    };
    let op = abi::XENMEM_ADD_TO_PHYSMAP_BATCH;
    hypercall::op(HYPERVISOR_MEMORY_OP, op, &mut arg)
}

fn remove(domid: u16) -> hypercall::Result {
    let mut arg = abi::RemoveFromPhysmap {
        domid,
        gpfn: 1,
        ..abi::RemoveFromPhysmap::default()
    };
    let op = abi::XENMEM_REMOVE_FROM_PHYSMAP;
    hypercall::op(HYPERVISOR_MEMORY_OP, op, &mut arg)
}

pub(super) fn run(s: &mut Suite<'_>) {
    s.check("memory_op/no_physmap_to_add_to", || {
        for space in [
            abi::XENMAPSPACE_SHARED_INFO,
            abi::XENMAPSPACE_GRANT_TABLE,
            abi::XENMAPSPACE_GMFN,
        ] {
            same!(add(DOMID_SELF, space), Err(Errno::EACCES));
            same!(add(0x1234, space), Err(Errno::ESRCH));
        }
        same!(
            add(DOMID_SELF, abi::XENMAPSPACE_GMFN_FOREIGN),
            Err(Errno::ENOSYS)
        );
        let space = abi::XENMAPSPACE_GMFN_FOREIGN;
        same!(add_batch(DOMID_SELF, space, 1), Err(Errno::EACCES));
        same!(add_batch(DOMID_SELF, space, 0), Err(Errno::EACCES));
        same!(add_batch(0x1234, space, 1), Err(Errno::ESRCH));
        let space = abi::XENMAPSPACE_GMFN_RANGE;
        same!(add_batch(DOMID_SELF, space, 1), Err(Errno::EOPNOTSUPP));
        same!(remove(DOMID_SELF), Err(Errno::EACCES));
        same!(remove(0x1234), Err(Errno::ESRCH));
        let mut target = abi::PodTarget {
            domid: 0x1234,
            ..abi::PodTarget::default()
        };
        let get = abi::XENMEM_GET_POD_TARGET;
        let result = hypercall::op(HYPERVISOR_MEMORY_OP, get, &mut target);
        same!(result, Err(Errno::ESRCH));
        for cmd in [
            abi::XENMEM_SET_POD_TARGET,
            abi::XENMEM_GET_POD_TARGET,
            abi::XENMEM_ADD_TO_PHYSMAP,
            abi::XENMEM_ADD_TO_PHYSMAP_BATCH,
            abi::XENMEM_REMOVE_FROM_PHYSMAP,
        ] {
            let call = hypercall::call(HYPERVISOR_MEMORY_OP, [u64::from(cmd), UNMAPPED]);
            same!(call, Err(Errno::EFAULT));
        }
        Ok(())
    });
}
