//! Questions about memory maps and the M2P table.

use alloc::vec::Vec;

use oxen_abi::arch_x86::{MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START};
use oxen_abi::errno::Errno;
use oxen_abi::memory::*;

use super::target;
use crate::error::HcResult;
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;

/// The most entries that a tool may give a domain (Xen's E820MAX).
const E820_MAX: u32 = 1024;

/// `XENMEM_machphys_mapping`: where the M2P table is for every PV guest.
pub(super) fn machphys_mapping<M: Machine>(
    cx: &Cx<'_, M>,
    arg: GuestHandle<MachphysMapping>,
) -> HcResult {
    let answer = MachphysMapping {
        v_start: MACH2PHYS_VIRT_START,
        v_end: MACH2PHYS_VIRT_END,
        max_mfn: (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) / 8 - 1,
    };
    arg.write(cx.machine(), &answer)?;
    Ok(0)
}

/// `XENMEM_machphys_mfn_list`: the frames of the M2P table, one for each 2 MiB of it.
pub(super) fn machphys_list<M: Machine>(
    cx: &Cx<'_, M>,
    arg: GuestHandle<MachphysMfnList>,
) -> HcResult {
    let mut request = arg.read(cx.machine())?;
    let extents = GuestHandle::<u64>::new(request.extent_start);
    let pieces = (cx.machine().max_frame().0 * 8).div_ceil(2 << 20);
    let mut written = 0;
    let mut last = None;
    for piece in 0..pieces.min(u64::from(request.max_extents)) {
        // A hole in the table is shown as the piece before it: reading it does no harm.
        let Some(mfn) = cx.machine().m2p_frame(piece).or(last) else {
            break;
        };
        last = Some(mfn);
        extents.write_at(cx.machine(), piece, &mfn.0)?;
        written += 1;
    }
    request.nr_extents = written;
    arg.write(cx.machine(), &request)?;
    Ok(0)
}

/// `XENMEM_memory_map`: the caller's own E820.
pub(super) fn memory_map<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<MemoryMap>) -> HcResult {
    arg.read(cx.machine())?;
    let entries = cx.domain().memory.e820.lock().clone();
    if entries.is_empty() {
        return Err(Errno::ENOSYS.into());
    }
    give(cx, arg, &entries)
}

/// `XENMEM_machine_memory_map`: the host's E820, for dom0.
pub(super) fn machine_memory_map<M: Machine>(
    cx: &Cx<'_, M>,
    arg: GuestHandle<MemoryMap>,
) -> HcResult {
    if !cx.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    give(cx, arg, &cx.hv.host.e820)
}

fn give<M: Machine>(cx: &Cx<'_, M>, arg: GuestHandle<MemoryMap>, map: &[E820Entry]) -> HcResult {
    let mut request = arg.read(cx.machine())?;
    let buffer = GuestHandle::<E820Entry>::new(request.buffer);
    let mut written = 0;
    for (place, entry) in (0..u64::from(request.nr_entries)).zip(map) {
        buffer.write_at(cx.machine(), place, entry)?;
        written += 1;
    }
    request.nr_entries = written;
    arg.write(cx.machine(), &request)?;
    Ok(0)
}

/// `XENMEM_set_memory_map`: a tool gives a domain its E820.
pub(super) fn set_memory_map<M: Machine>(
    cx: &Cx<'_, M>,
    arg: GuestHandle<ForeignMemoryMap>,
) -> HcResult {
    if !cx.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let request = arg.read(cx.machine())?;
    let domain = target(cx, request.domid)?;
    if request.map.nr_entries > E820_MAX {
        return Err(Errno::E2BIG.into());
    }
    let buffer = GuestHandle::<E820Entry>::new(request.map.buffer);
    let mut map = Vec::new();
    let room = map.try_reserve_exact(request.map.nr_entries as usize);
    room.map_err(|_| Errno::ENOMEM)?;
    for place in 0..u64::from(request.map.nr_entries) {
        map.push(buffer.read_at(cx.machine(), place)?);
    }
    *domain.memory.e820.lock() = map;
    Ok(0)
}

/// `XENMEM_reserved_device_memory_map`: no device has reserved memory without an IOMMU.
pub(super) fn reserved_devices<M: Machine>(
    cx: &Cx<'_, M>,
    arg: GuestHandle<ReservedDeviceMemoryMap>,
) -> HcResult {
    let mut request = arg.read(cx.machine())?;
    request.nr_entries = 0;
    arg.write(cx.machine(), &request)?;
    Ok(0)
}
