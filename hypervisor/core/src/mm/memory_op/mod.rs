//! `memory_op`: reservations, exchange, and questions about memory.

mod exchange;
mod maps;
mod physmap;
mod reservation;
mod resource;

use alloc::sync::Arc;

use oxen_abi::errno::Errno;
use oxen_abi::memory::*;

use crate::domain::Domain;
use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::DomId;

/// `HYPERVISOR_memory_op`.
#[inline(never)]
pub fn memory_op<M: Machine>(cx: &Cx<'_, M>, command: u64, arg: u64) -> HcResult {
    let op = u32::try_from(command & MEMOP_CMD_MASK).map_err(|_| Errno::ENOSYS)?;
    let start = command >> MEMOP_EXTENT_SHIFT;
    match op {
        XENMEM_INCREASE_RESERVATION | XENMEM_DECREASE_RESERVATION | XENMEM_POPULATE_PHYSMAP => {
            reservation::change(cx, op, start, GuestHandle::new(arg))
        }
        XENMEM_EXCHANGE => exchange::exchange(cx, GuestHandle::new(arg)),
        // Xen gives one more than the highest.
        XENMEM_MAXIMUM_RAM_PAGE => Ok(cx.machine().max_frame().0),
        XENMEM_CURRENT_RESERVATION | XENMEM_MAXIMUM_RESERVATION | XENMEM_MAXIMUM_GPFN => {
            ask_domain(cx, op, GuestHandle::new(arg))
        }
        XENMEM_MACHPHYS_MFN_LIST => maps::machphys_list(cx, GuestHandle::new(arg)),
        XENMEM_MACHPHYS_MAPPING => maps::machphys_mapping(cx, GuestHandle::new(arg)),
        XENMEM_MEMORY_MAP => maps::memory_map(cx, GuestHandle::new(arg)),
        XENMEM_MACHINE_MEMORY_MAP => maps::machine_memory_map(cx, GuestHandle::new(arg)),
        XENMEM_SET_MEMORY_MAP => maps::set_memory_map(cx, GuestHandle::new(arg)),
        XENMEM_CLAIM_PAGES => reservation::claim(cx, GuestHandle::new(arg)),
        XENMEM_ACQUIRE_RESOURCE => resource::acquire(cx, GuestHandle::new(arg)),
        XENMEM_GET_VNUMAINFO => {
            let request: VnumaTopologyInfo = GuestHandle::new(arg).read(cx.machine())?;
            target(cx, request.domid)?;
            Err(Errno::EOPNOTSUPP.into())
        }
        // No memory is shared between domains.
        XENMEM_GET_SHARING_FREED_PAGES | XENMEM_GET_SHARING_SHARED_PAGES => Ok(0),
        // For 32-bit guests.
        XENMEM_MACHPHYS_COMPAT_MFN_LIST => Err(Errno::EOPNOTSUPP.into()),
        XENMEM_RESERVED_DEVICE_MEMORY_MAP => maps::reserved_devices(cx, GuestHandle::new(arg)),
        XENMEM_ADD_TO_PHYSMAP => physmap::add(cx, GuestHandle::new(arg)),
        XENMEM_ADD_TO_PHYSMAP_BATCH => physmap::add_batch(cx, GuestHandle::new(arg)),
        XENMEM_REMOVE_FROM_PHYSMAP => physmap::remove(cx, GuestHandle::new(arg)),
        XENMEM_SET_POD_TARGET | XENMEM_GET_POD_TARGET => {
            physmap::populate_on_demand(cx, GuestHandle::new(arg))
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// The domain that an operation names: the caller, or any domain for a privileged caller.
pub(super) fn target<M: Machine>(cx: &Cx<'_, M>, id: u16) -> Result<Arc<Domain<M>>, Stop> {
    let domain = cx.hv.domain(DomId(id), cx.vcpu).ok_or(Errno::ESRCH)?;
    if domain.id != cx.domain().id && !cx.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    Ok(domain)
}

fn ask_domain<M: Machine>(cx: &Cx<'_, M>, op: u32, arg: GuestHandle<MemoryDomain>) -> HcResult {
    let domain = target(cx, arg.read(cx.machine())?.domid)?;
    match op {
        XENMEM_CURRENT_RESERVATION => Ok(domain.memory.total_frames()),
        XENMEM_MAXIMUM_RESERVATION => Ok(domain.memory.max.load(Ordering::Acquire)),
        _ => {
            // The guest keeps its own highest frame number in the shared page.
            let shared = domain.memory.shared_info.get().ok_or(Errno::ESRCH)?;
            let mut bytes = [0; 8];
            let at = core::mem::offset_of!(oxen_abi::xen::SharedInfo, arch);
            if !cx.machine().read_frame(*shared, at, &mut bytes) {
                return Err(Errno::ESRCH.into());
            }
            Ok(u64::from_le_bytes(bytes).saturating_sub(1))
        }
    }
}
