//! memory_op: the questions, and what is refused. Changing the reservation is in `reservation`.

use oxen_abi::Errno;
use oxen_abi::arch_x86::{MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START};
use oxen_abi::hypercall::HYPERVISOR_MEMORY_OP;
use oxen_abi::memory as abi;
use oxen_abi::sysctl::{PhysInfo, XEN_SYSCTL_PHYSINFO};
use oxen_abi::xen::{DOMID_IO, DOMID_SELF, DOMID_XEN};

use super::version::UNMAPPED;
use super::{Suite, ensure, good, place, same, skip, some};
use crate::domain::control::sysctl;
use crate::pagetable::{self, RO, RW};
use crate::sys::frame::Frame;
use crate::sys::{self, hypercall, probe};

/// Issues a memory operation.
pub(super) fn memory_op(cmd: u32, address: u64) -> hypercall::Result {
    hypercall::call(HYPERVISOR_MEMORY_OP, [u64::from(cmd), address])
}

/// The first frame of each 2 MiB of the machine-to-physical table, and how many there are.
fn machphys_frames() -> hypercall::Result<([u64; 4], u32)> {
    let mut frames = [0; 4];
    let mut list = abi::MachphysMfnList {
        max_extents: 4,
        extent_start: hypercall::address(&mut frames),
        ..abi::MachphysMfnList::default()
    };
    hypercall::op(
        HYPERVISOR_MEMORY_OP,
        abi::XENMEM_MACHPHYS_MFN_LIST,
        &mut list,
    )?;
    Ok((frames, list.nr_extents))
}

pub(super) fn run(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    let pages = sys::start_info().nr_pages;
    s.check("memory_op/maximum_ram_page", || {
        let highest = good!(memory_op(abi::XENMEM_MAXIMUM_RAM_PAGE, 0));
        ensure!(
            highest >= pages,
            "highest frame {highest:#x}, own pages {pages:#x}"
        );
        Ok(())
    });
    s.check("memory_op/reservations", || {
        let mut domain = abi::MemoryDomain { domid: DOMID_SELF };
        let current = good!(hypercall::op(
            HYPERVISOR_MEMORY_OP,
            abi::XENMEM_CURRENT_RESERVATION,
            &mut domain
        ));
        ensure!(current >= pages, "current {current}, at the start {pages}");
        let most = good!(hypercall::op(
            HYPERVISOR_MEMORY_OP,
            abi::XENMEM_MAXIMUM_RESERVATION,
            &mut domain
        ));
        ensure!(most >= current, "maximum {most}, current {current}");
        let mut nobody = abi::MemoryDomain { domid: 0x1234 };
        for cmd in [
            abi::XENMEM_CURRENT_RESERVATION,
            abi::XENMEM_MAXIMUM_RESERVATION,
        ] {
            same!(
                hypercall::op(HYPERVISOR_MEMORY_OP, cmd, &mut nobody),
                Err(Errno::ESRCH)
            );
            same!(memory_op(cmd, UNMAPPED), Err(Errno::EFAULT));
        }
        Ok(())
    });
    s.check("memory_op/machphys_mapping", || {
        let mut mapping = abi::MachphysMapping::default();
        good!(hypercall::op(
            HYPERVISOR_MEMORY_OP,
            abi::XENMEM_MACHPHYS_MAPPING,
            &mut mapping
        ));
        same!(mapping.v_start, MACH2PHYS_VIRT_START);
        same!(mapping.v_end, MACH2PHYS_VIRT_END);
        ensure!(mapping.max_mfn > 0, "max_mfn is 0");
        same!(
            memory_op(abi::XENMEM_MACHPHYS_MAPPING, UNMAPPED),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
    s.check("memory_op/machphys_mfn_list", || {
        let (frames, count) = good!(machphys_frames());
        ensure!((1..=4).contains(&count), "{count} extents");
        ensure!(frames[0] != 0, "the first frame is 0");
        Ok(())
    });
    s.check("memory_op/machphys_frames_can_be_mapped", || {
        if !privileged {
            skip!("only tools map them");
        }
        let (frames, _) = good!(machphys_frames());
        let page = place()?;
        let entry = some!(pagetable::entry(page.address(), 1)).machine;
        // The page with the entry of a frame of ours, as tools map it. A piece of the table has 2^18 entries.
        let ours = Frame::new();
        let piece = usize::try_from(ours.mfn() >> 18).unwrap_or(usize::MAX);
        let first = frames.get(piece).copied().filter(|first| *first != 0);
        let mfn = some!(first) + ours.mfn() % (1 << 18) / 512;
        let map = |bits, owner| pagetable::update_foreign(entry, mfn << 12 | bits, owner);
        for owner in [DOMID_SELF, DOMID_IO] {
            ensure!(map(RO, owner).is_err(), "as a frame of {owner:#x}");
        }
        ensure!(map(RW, DOMID_XEN).is_err(), "it can be written");
        for _ in 0..3 {
            same!(map(RO, DOMID_XEN), Ok(0));
            good!(pagetable::flush(page.address()));
            let at = page.address() + ours.mfn() % 512 * 8;
            same!(probe::read(at), Ok(ours.pfn()));
            same!(pagetable::update(entry, 0), Ok(0));
        }
        good!(pagetable::make_writable(page));
        Ok(())
    });
    s.check("memory_op/memory_map", || {
        let mut entries = [abi::E820Entry::default(); 32];
        let mut map = abi::MemoryMap {
            nr_entries: 32,
            buffer: hypercall::slice_address(&mut entries),
            ..abi::MemoryMap::default()
        };
        let result = hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_MEMORY_MAP, &mut map);
        match result {
            // dom0 has no map of its own unless one was set.
            Err(Errno::ENOSYS) => Ok(()),
            Ok(0) => {
                ensure!(map.nr_entries >= 1, "an empty map");
                Ok(())
            }
            other => {
                ensure!(false, "{other:?}");
                Ok(())
            }
        }
    });
    s.check("memory_op/machine_memory_map", || {
        let mut entries = [abi::E820Entry::default(); 64];
        let mut map = abi::MemoryMap {
            nr_entries: 64,
            buffer: hypercall::slice_address(&mut entries),
            ..abi::MemoryMap::default()
        };
        let result = hypercall::op(
            HYPERVISOR_MEMORY_OP,
            abi::XENMEM_MACHINE_MEMORY_MAP,
            &mut map,
        );
        if !privileged {
            same!(result, Err(Errno::EPERM));
            skip!("refused, as it must be");
        }
        same!(result, Ok(0));
        let used = entries.get(..map.nr_entries as usize).unwrap_or(&[]);
        ensure!(
            used.iter().any(|e| e.kind == abi::E820_RAM),
            "{} entries, none of RAM",
            map.nr_entries
        );
        ensure!(
            used.windows(2)
                .all(|w| w[0].addr.wrapping_add(w[0].size) <= w[1].addr),
            "entries overlap or are out of order"
        );
        // Nothing is held back, the hypervisor's own frames neither: a kernel wants what is no RAM mapped one to one.
        let mut host = PhysInfo::default();
        good!(sysctl(XEN_SYSCTL_PHYSINFO, &mut host));
        let ram = used.iter().filter(|entry| entry.kind == abi::E820_RAM);
        let pages: u64 = ram.map(|entry| entry.size >> 12).sum();
        ensure!(
            pages >= host.total_pages,
            "{pages} pages of RAM in the map, {} in the host",
            host.total_pages
        );
        // A buffer that is too small gets as much as fits, or an error; never more.
        let mut small = [abi::E820Entry::default(); 2];
        let mut map = abi::MemoryMap {
            nr_entries: 1,
            buffer: hypercall::slice_address(&mut small),
            ..abi::MemoryMap::default()
        };
        let _ = hypercall::op(
            HYPERVISOR_MEMORY_OP,
            abi::XENMEM_MACHINE_MEMORY_MAP,
            &mut map,
        );
        ensure!(small[1].kind == 0, "wrote behind the buffer");
        Ok(())
    });
    s.check("memory_op/claim_pages", || {
        let mut claim = abi::Reservation {
            nr_extents: 0,
            domid: 0x1234,
            ..abi::Reservation::default()
        };
        let result = hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_CLAIM_PAGES, &mut claim);
        same!(result, Err(Errno::EINVAL));
        Ok(())
    });
    s.check("memory_op/vnuma_without_vnuma", || {
        let mut info = abi::VnumaTopologyInfo {
            domid: DOMID_SELF,
            ..abi::VnumaTopologyInfo::default()
        };
        same!(
            hypercall::op(HYPERVISOR_MEMORY_OP, abi::XENMEM_GET_VNUMAINFO, &mut info),
            Err(Errno::EOPNOTSUPP)
        );
        Ok(())
    });
    s.check("memory_op/reserved_device_memory", || {
        let mut map = abi::ReservedDeviceMemoryMap::default();
        let address = hypercall::address(&mut map);
        let result = memory_op(abi::XENMEM_RESERVED_DEVICE_MEMORY_MAP, address);
        // Without an IOMMU there is none, or nobody knows.
        ensure!(
            result == Ok(0) && map.nr_entries == 0 || result.is_err(),
            "{result:?}, {} entries",
            map.nr_entries
        );
        Ok(())
    });
    s.check("memory_op/unknown", || {
        for cmd in [8, 29, 40, 63] {
            same!(memory_op(cmd, UNMAPPED), Err(Errno::ENOSYS));
        }
        Ok(())
    });
}
