//! Reaching for what is not the domain's: the hypervisor's addresses, and all machine memory that
//! belongs to it or to others, by every way that the ABI has into a frame or an address.

use oxen_abi::arch_x86::{MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START};
use oxen_abi::grant_table::{self as grant, GTF_PERMIT_ACCESS};
use oxen_abi::hypercall as number;
use oxen_abi::memory::{self, E820Entry};
use oxen_abi::mmu;
use oxen_abi::xen::DOMID_SELF;

use super::grants;
use super::memory::memory_op;
use super::traps::faulted;
use super::{Outcome, Suite, Table, copy, copy_end, ensure, good, map, place, same, some};
use crate::pagetable::{self, RO, RW, WINDOW};
use crate::sys::frame::{self, Frame};
use crate::sys::{hypercall, probe};

/// First and last L4 slots of the hypervisor, and the bytes of one.
const SLOTS: core::ops::Range<u64> = 256..272;
const SLOT: u64 = 1 << 39;
const GIB: u64 = 1 << 30;

/// Addresses that the hypervisor has for itself, the machine-to-physical table left out: of each
/// slot the ends and some places between, of each GiB the beginning.
fn addresses(mut each: impl FnMut(u64) -> Outcome) -> Outcome {
    for slot in SLOTS {
        let base = 0xffff_0000_0000_0000 | slot << 39;
        for at in (0..SLOT).step_by(4 * usize::try_from(GIB).unwrap_or(0)) {
            for address in [base + at, base + at + 0x20_0000, base + at + GIB - 8] {
                if !(MACH2PHYS_VIRT_START..MACH2PHYS_VIRT_END).contains(&address) {
                    each(address)?;
                }
            }
        }
    }
    Ok(())
}

/// Frames that a domain shares with the hypervisor: its shared page and its grant table.
fn shared_frames() -> [u64; 65] {
    let mut frames = [0; 65];
    let mut size = grant::QuerySize {
        dom: DOMID_SELF,
        ..grant::QuerySize::default()
    };
    let _ = grants::op(grant::GNTTABOP_QUERY_SIZE, &mut size);
    let mut arg = grant::SetupTable {
        dom: DOMID_SELF,
        nr_frames: size.nr_frames.min(64),
        frame_list: hypercall::slice_address(&mut frames),
        ..grant::SetupTable::default()
    };
    let _ = grants::op(grant::GNTTABOP_SETUP_TABLE, &mut arg);
    frames[64] = crate::sys::start_info().shared_info >> 12;
    frames
}

/// RAM of the machine, first and last frame. dom0 may have everything else, for devices may be
/// there, and what is below 1 MiB; other domains may have nothing.
fn ram(privileged: bool) -> Outcome<([E820Entry; 64], usize)> {
    let mut entries = [E820Entry::default(); 64];
    let last = good!(memory_op(memory::XENMEM_MAXIMUM_RAM_PAGE, 0));
    if !privileged {
        entries[0] = E820Entry {
            addr: 0,
            size: (last + 1) << 12,
            kind: memory::E820_RAM,
        };
        return Ok((entries, 1));
    }
    let mut map = memory::MemoryMap {
        nr_entries: 64,
        buffer: hypercall::slice_address(&mut entries),
        ..memory::MemoryMap::default()
    };
    good!(hypercall::op(
        number::HYPERVISOR_MEMORY_OP,
        memory::XENMEM_MACHINE_MEMORY_MAP,
        &mut map
    ));
    Ok((entries, map.nr_entries as usize))
}

/// Every frame of RAM that is neither the domain's own nor shared with it.
fn others_frames(privileged: bool, mut each: impl FnMut(u64) -> Outcome) -> Outcome<u64> {
    let shared = shared_frames();
    let (entries, used) = ram(privileged)?;
    let mut count = 0;
    for entry in entries.iter().take(used) {
        let (addr, size, kind) = (entry.addr, entry.size, entry.kind);
        let first = if privileged {
            addr.div_ceil(4096).max(256)
        } else {
            addr.div_ceil(4096)
        };
        if kind != memory::E820_RAM {
            continue;
        }
        for mfn in first..(addr + size) / 4096 {
            let own = frame::m2p(mfn).is_some_and(|pfn| frame::p2m(pfn) == mfn);
            if !own && !shared.contains(&mfn) {
                each(mfn)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

fn by_address(s: &mut Suite<'_>) {
    s.check("isolation/read_write_execute", || {
        addresses(|address| {
            faulted(probe::read(address), probe::PF)?;
            faulted(probe::write(address, 0), probe::PF)?;
            faulted(probe::call(address), probe::PF)?;
            Ok(())
        })
    });
    s.check("isolation/machine_to_physical_is_read_only", || {
        let page = Frame::new();
        let address = MACH2PHYS_VIRT_START + page.mfn() * 8;
        same!(probe::read(address), Ok(page.pfn()));
        faulted(probe::write(address, 1), probe::PF)?;
        faulted(probe::compare_exchange(address, page.pfn(), 1), probe::PF)?;
        faulted(probe::call(address), probe::PF)?;
        same!(probe::read(address), Ok(page.pfn()));
        Ok(())
    });
    s.check("isolation/through_segments", || {
        addresses(|address| {
            if address % SLOT == 0 {
                same!(
                    hypercall::call(number::HYPERVISOR_SET_SEGMENT_BASE, [0, address]),
                    Ok(0)
                );
                faulted(probe::read_fs(0), probe::PF)?;
            }
            Ok(())
        })?;
        same!(
            hypercall::call(number::HYPERVISOR_SET_SEGMENT_BASE, [0, 0]),
            Ok(0)
        );
        Ok(())
    });
    s.check("isolation/hypercalls_read_and_write_there", || {
        // (number, arguments): the pointer is where the zero is.
        const READS: [(u64, [u64; 4], usize); 14] = [
            (number::HYPERVISOR_MMU_UPDATE, [0, 1, 0, 0x7ff0], 0),
            (number::HYPERVISOR_MMUEXT_OP, [0, 1, 0, 0x7ff0], 0),
            (number::HYPERVISOR_SET_TRAP_TABLE, [0, 0, 0, 0], 0),
            (number::HYPERVISOR_SET_GDT, [0, 512, 0, 0], 0),
            (number::HYPERVISOR_MULTICALL, [0, 1, 0, 0], 0),
            (number::HYPERVISOR_XEN_VERSION, [1, 0, 0, 0], 1),
            (number::HYPERVISOR_XEN_VERSION, [6, 0, 0, 0], 1),
            (number::HYPERVISOR_MEMORY_OP, [1, 0, 0, 0], 1),
            (number::HYPERVISOR_GRANT_TABLE_OP, [0, 0, 1, 0], 1),
            (number::HYPERVISOR_GRANT_TABLE_OP, [5, 0, 1, 0], 1),
            (number::HYPERVISOR_VCPU_OP, [4, 0, 0, 0], 2),
            (number::HYPERVISOR_EVENT_CHANNEL_OP, [6, 0, 0, 0], 1),
            (number::HYPERVISOR_CALLBACK_OP, [0, 0, 0, 0], 1),
            (number::HYPERVISOR_SCHED_OP, [3, 0, 0, 0], 1),
        ];
        addresses(|address| {
            for (number, mut args, at) in READS {
                if let Some(arg) = args.get_mut(at) {
                    *arg = address;
                }
                let result = hypercall::call(number, args);
                // This one answers with the number of extents that were done.
                let counts = number == number::HYPERVISOR_MEMORY_OP;
                ensure!(
                    result == Err(oxen_abi::Errno::EFAULT) || counts && result == Ok(0),
                    "call {number} with {address:#x}: {result:?}"
                );
            }
            Ok(())
        })
    });
    s.check("isolation/debug_registers", || {
        addresses(|address| {
            let result = hypercall::call(number::HYPERVISOR_SET_DEBUGREG, [0, address]);
            ensure!(result.is_err(), "DR0 is {address:#x}");
            Ok(())
        })
    });
    s.check("isolation/entries_of_the_hypervisors_slots", || {
        let root = some!(pagetable::entry(MACH2PHYS_VIRT_START, 4)).machine & !0xfff;
        let page = Frame::new();
        good!(pagetable::make_read_only(page));
        for slot in SLOTS {
            for value in [0, page.mfn() << 12 | RW] {
                ensure!(
                    pagetable::update(root + slot * 8, value).is_err(),
                    "slot {slot} was written"
                );
            }
        }
        good!(pagetable::make_writable(page));
        Ok(())
    });
}

fn by_frame(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("isolation/no_frame_of_others_is_mapped", || {
        let place = place()?;
        let count = others_frames(privileged, |mfn| {
            ensure!(
                pagetable::update_va(place.address(), mfn << 12 | RW).is_err(),
                "frame {mfn:#x} was mapped read-write"
            );
            // dom0 may read some of what is the hypervisor's.
            ensure!(
                privileged || pagetable::update_va(place.address(), mfn << 12 | RO).is_err(),
                "frame {mfn:#x} was mapped read-only"
            );
            Ok(())
        })?;
        ensure!(count > 1000, "only {count} frames tried");
        good!(pagetable::make_writable(place));
        Ok(())
    });
    s.check("isolation/no_frame_of_others_is_a_table", || {
        good!(pagetable::reach(WINDOW));
        let empty = WINDOW + (1 << 29);
        let entry = some!(pagetable::entry(empty, 2));
        let mut number = 0u64;
        others_frames(privileged, |mfn| {
            number += 1;
            if !number.is_multiple_of(61) {
                return Ok(());
            }
            ensure!(
                pagetable::update(entry.machine, mfn << 12 | RW).is_err(),
                "frame {mfn:#x} is an L1 table"
            );
            for command in [
                mmu::MMUEXT_PIN_L1_TABLE,
                mmu::MMUEXT_PIN_L2_TABLE,
                mmu::MMUEXT_PIN_L3_TABLE,
                mmu::MMUEXT_PIN_L4_TABLE,
                mmu::MMUEXT_NEW_BASEPTR,
                mmu::MMUEXT_NEW_USER_BASEPTR,
                mmu::MMUEXT_CLEAR_PAGE,
                mmu::MMUEXT_COPY_PAGE,
            ] {
                ensure!(
                    super::mmuext_for(command, mfn, mfn, DOMID_SELF).is_err(),
                    "mmuext {command} on frame {mfn:#x}"
                );
            }
            ensure!(
                pagetable::update(mfn << 12, 0).is_err(),
                "mmu_update of frame {mfn:#x}"
            );
            let mut frames = [mfn];
            ensure!(
                hypercall::call(
                    number::HYPERVISOR_SET_GDT,
                    [hypercall::slice_address(&mut frames), 512]
                )
                .is_err(),
                "frame {mfn:#x} is a GDT"
            );
            ensure!(
                hypercall::call(number::HYPERVISOR_UPDATE_DESCRIPTOR, [mfn << 12, 0]).is_err(),
                "a descriptor in frame {mfn:#x}"
            );
            Ok(())
        })
        .map(|_| ())
    });
    s.check("isolation/no_frame_of_others_is_granted", || {
        let table = Table::new()?;
        let own = table.domain();
        let (place, page) = (place()?, Frame::new());
        let mut number = 0u64;
        others_frames(privileged, |mfn| {
            number += 1;
            if !number.is_multiple_of(61) {
                return Ok(());
            }
            table.grant_to(30, own, mfn, GTF_PERMIT_ACCESS);
            let (status, _) = map(own, 30, place.address(), grant::GNTMAP_HOST_MAP)?;
            ensure!(status < 0, "frame {mfn:#x} was mapped by a grant");
            let mine = copy_end(page.mfn(), DOMID_SELF, 0);
            let by_grant = copy_end(30, own, 0);
            let by_frame = copy_end(mfn, DOMID_SELF, 0);
            for (from, to, flags) in [
                (by_grant, mine, grant::GNTCOPY_SOURCE_GREF),
                (mine, by_grant, grant::GNTCOPY_DEST_GREF),
                (by_frame, mine, 0),
                (mine, by_frame, 0),
            ] {
                ensure!(copy(from, to, 8, flags)? < 0, "frame {mfn:#x} was copied");
            }
            Ok(())
        })?;
        table.grant_to(30, 0, 0, 0);
        good!(pagetable::make_writable(place));
        Ok(())
    });
}

fn by_name(s: &mut Suite<'_>) {
    if s.privileged {
        return;
    }
    s.check("isolation/other_domains", || {
        let (page, place) = (Frame::new(), place()?);
        let value = page.mfn() << 12 | RW;
        for domain in [0u16, 0x7ff1, 0x7ff2, 0x7ff4] {
            let entry = some!(pagetable::entry(place.address(), 1)).machine;
            ensure!(
                pagetable::update_foreign(entry, value, domain).is_err(),
                "a frame of domain {domain:#x}"
            );
            ensure!(
                hypercall::call(
                    number::HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN,
                    [place.address(), value, 0, u64::from(domain)]
                )
                .is_err(),
                "a frame of domain {domain:#x} by address"
            );
            let mut reservation = memory::Reservation {
                extent_start: page.address(),
                nr_extents: 1,
                domid: domain,
                ..memory::Reservation::default()
            };
            let done = hypercall::op(
                number::HYPERVISOR_MEMORY_OP,
                memory::XENMEM_INCREASE_RESERVATION,
                &mut reservation,
            );
            ensure!(
                matches!(done, Ok(0) | Err(_)),
                "memory for domain {domain:#x}"
            );
        }
        good!(pagetable::make_writable(place));
        Ok(())
    });
    s.check("isolation/model_specific_registers", || {
        // EFER, STAR, LSTAR, CSTAR, the SYSENTER three, the local APIC's base, the debug control.
        const REGISTERS: [u32; 9] = [
            0xc000_0080,
            0xc000_0081,
            0xc000_0082,
            0xc000_0083,
            0x174,
            0x175,
            0x176,
            0x1b,
            0x1d9,
        ];
        for register in REGISTERS {
            let before = probe::rdmsr(register).ok();
            let _ = probe::wrmsr(register, frame::VIRT_BASE);
            same!(probe::rdmsr(register).ok(), before);
            // System calls still come where they did.
            good!(hypercall::call(number::HYPERVISOR_XEN_VERSION, [0, 0]));
        }
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    by_address(s);
    by_frame(s);
    by_name(s);
}
