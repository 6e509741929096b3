//! update_va_mapping and mmu_update on the kernel's own L1 tables.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::arch_x86::{
    PTE_ACCESSED, PTE_ADDR_MASK, PTE_AVAIL_LOW, PTE_DIRTY, PTE_NX, PTE_PRESENT,
};
use oxen_abi::hypercall::{
    HYPERVISOR_MMU_UPDATE, HYPERVISOR_UPDATE_VA_MAPPING, HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN,
};
use oxen_abi::mmu as abi;
use oxen_abi::xen::DOMID_SELF;

use super::traps::faulted;
use super::version::{HYPERVISOR, UNMAPPED};
use super::{Suite, ensure, good, same, some};
use crate::pagetable::{self, RO, RW};
use crate::sys::frame::{self, Frame};
use crate::sys::{cpu, hypercall, probe};

/// A frame number that no machine in the tests has.
pub(super) const NO_FRAME: u64 = 0x0fff_ffff_f000 >> 12;

fn update_va_mapping(s: &mut Suite<'_>) {
    s.check("update_va_mapping/read_only_and_back", || {
        let page = Frame::new();
        page.fill(7);
        same!(pagetable::make_read_only(page), Ok(0));
        same!(probe::read(page.address()), Ok(7));
        let fault = faulted(probe::write(page.address(), 8), probe::PF)?;
        // Present, a write.
        same!(fault.error, 3);
        same!(pagetable::make_writable(page), Ok(0));
        good!(probe::write(page.address(), 8));
        same!(probe::read(page.address()), Ok(8));
        Ok(())
    });
    s.check("update_va_mapping/other_frame", || {
        let (a, b) = (Frame::new(), Frame::new());
        a.fill(1);
        b.fill(2);
        same!(pagetable::update_va(a.address(), b.mfn() << 12 | RW), Ok(0));
        same!(probe::read(a.address()), Ok(2));
        same!(pagetable::make_writable(a), Ok(0));
        same!(probe::read(a.address()), Ok(1));
        Ok(())
    });
    s.check("update_va_mapping/not_present", || {
        let page = Frame::new();
        same!(pagetable::update_va(page.address(), 0), Ok(0));
        same!(faulted(probe::read(page.address()), probe::PF)?.error, 0);
        // An entry that is not present may hold anything.
        same!(pagetable::update_va(page.address(), !PTE_PRESENT), Ok(0));
        same!(pagetable::update_va(page.address(), 0), Ok(0));
        same!(pagetable::make_writable(page), Ok(0));
        Ok(())
    });
    s.check("update_va_mapping/no_execute", || {
        let page = Frame::new();
        page.fill(0xc3c3_c3c3_c3c3_c3c3);
        good!(probe::call(page.address()));
        same!(
            pagetable::update_va(page.address(), page.mfn() << 12 | RW | PTE_NX),
            Ok(0)
        );
        let fault = faulted(probe::call(page.address()), probe::PF)?;
        same!(fault.error & !4, 0x11);
        same!(pagetable::make_writable(page), Ok(0));
        Ok(())
    });
    s.check("update_va_mapping/available_bits", || {
        let page = Frame::new();
        let value = page.mfn() << 12 | RW | PTE_AVAIL_LOW & 0x600;
        same!(pagetable::update_va(page.address(), value), Ok(0));
        let entry = some!(pagetable::entry(page.address(), 1));
        same!(entry.value & PTE_AVAIL_LOW, PTE_AVAIL_LOW & 0x600);
        same!(entry.value & PTE_ADDR_MASK, page.mfn() << 12);
        same!(pagetable::make_writable(page), Ok(0));
        Ok(())
    });
    s.check("update_va_mapping/flush_flags", || {
        let page = Frame::new();
        for flags in [
            abi::UVMF_NONE,
            abi::UVMF_TLB_FLUSH,
            abi::UVMF_TLB_FLUSH | abi::UVMF_ALL,
            abi::UVMF_INVLPG,
            abi::UVMF_INVLPG | abi::UVMF_ALL,
        ] {
            same!(
                hypercall::call(
                    HYPERVISOR_UPDATE_VA_MAPPING,
                    [page.address(), page.mfn() << 12 | RW, flags]
                ),
                Ok(0)
            );
        }
        Ok(())
    });
    s.check("update_va_mapping/bad_addresses", || {
        let page = Frame::new();
        let value = page.mfn() << 12 | RW;
        for address in [HYPERVISOR, 0xffff_8000_0000_0000, UNMAPPED, 1 << 47] {
            ensure!(
                pagetable::update_va(address, value) == Err(Errno::EINVAL),
                "{address:#x} gives {:?}",
                pagetable::update_va(address, value)
            );
        }
        Ok(())
    });
    s.check("update_va_mapping/bad_frames", || {
        let page = Frame::new();
        let [_, vendor, ..] = cpu::cpuid(0, 0);
        for mfn in [NO_FRAME, NO_FRAME >> 4] {
            // The second is in AMD's reserved range; elsewhere it may be a device, which dom0 may map.
            if mfn != NO_FRAME && vendor != u32::from_le_bytes(*b"Auth") {
                continue;
            }
            ensure!(
                pagetable::update_va(page.address(), mfn << 12 | RW).is_err(),
                "frame {mfn:#x} was mapped"
            );
        }
        // The failed update has changed nothing.
        good!(probe::write(page.address(), 5));
        Ok(())
    });
    s.check("update_va_mapping_otherdomain/no_such_domain", || {
        let page = Frame::new();
        let map = |domain: u16| {
            hypercall::call(
                HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN,
                [
                    page.address(),
                    page.mfn() << 12 | RW,
                    abi::UVMF_INVLPG,
                    u64::from(domain),
                ],
            )
        };
        same!(map(0x1234), Err(Errno::ESRCH));
        same!(map(DOMID_SELF), Ok(0));
        Ok(())
    });
}

fn request(machine: u64, command: u64, value: u64) -> abi::MmuUpdate {
    abi::MmuUpdate {
        ptr: machine | command,
        val: value,
    }
}

fn submit(list: &mut [abi::MmuUpdate], done: u64, domain: u64) -> hypercall::Result {
    let count = list.len() as u64;
    hypercall::call(
        HYPERVISOR_MMU_UPDATE,
        [hypercall::slice_address(list), count, done, domain],
    )
}

const SELF: u64 = DOMID_SELF as u64;

fn mmu_update(s: &mut Suite<'_>) {
    s.check("mmu_update/normal", || {
        let page = Frame::new();
        let entry = some!(pagetable::entry(page.address(), 1));
        same!(
            pagetable::update(entry.machine, page.mfn() << 12 | RO),
            Ok(0)
        );
        good!(pagetable::flush(page.address()));
        faulted(probe::write(page.address(), 1), probe::PF)?;
        same!(
            pagetable::update(entry.machine, page.mfn() << 12 | RW),
            Ok(0)
        );
        good!(probe::write(page.address(), 1));
        Ok(())
    });
    s.check("mmu_update/batch_and_count", || {
        let pages: [Frame; 8] = core::array::from_fn(|_| Frame::new());
        let mut list = [abi::MmuUpdate::default(); 8];
        for (slot, page) in list.iter_mut().zip(pages) {
            let entry = some!(pagetable::entry(page.address(), 1));
            *slot = request(
                entry.machine,
                abi::MMU_NORMAL_PT_UPDATE,
                page.mfn() << 12 | RW,
            );
        }
        let mut done = 77u32;
        same!(
            submit(&mut list, hypercall::address(&mut done), SELF),
            Ok(0)
        );
        same!(done, 8);
        // The third is wrong: two are done, and an error says so.
        list[2].val = NO_FRAME << 12 | RW;
        ensure!(
            submit(&mut list, hypercall::address(&mut done), SELF).is_err(),
            "a bad entry was accepted"
        );
        same!(done, 2);
        Ok(())
    });
    s.check("mmu_update/empty", || {
        same!(submit(&mut [], 0, SELF), Ok(0));
        Ok(())
    });
    s.check("mmu_update/preserve_accessed_and_dirty", || {
        let page = Frame::new();
        let entry = some!(pagetable::entry(page.address(), 1));
        good!(probe::write(page.address(), 1));
        let value = page.mfn() << 12 | RW & !(PTE_ACCESSED | PTE_DIRTY);
        let mut list = [request(
            entry.machine,
            abi::MMU_PT_UPDATE_PRESERVE_AD,
            value,
        )];
        same!(submit(&mut list, 0, SELF), Ok(0));
        let after = some!(pagetable::entry(page.address(), 1)).value;
        same!(after & (PTE_ACCESSED | PTE_DIRTY), PTE_ACCESSED | PTE_DIRTY);
        // Without it they are cleared.
        same!(pagetable::update(entry.machine, value), Ok(0));
        let after = some!(pagetable::entry(page.address(), 1)).value;
        same!(after & PTE_DIRTY, 0);
        Ok(())
    });
    s.check("mmu_update/machphys", || {
        let page = Frame::new();
        let mut list = [request(page.mfn() << 12, abi::MMU_MACHPHYS_UPDATE, 0x1234)];
        same!(submit(&mut list, 0, SELF), Ok(0));
        same!(frame::m2p(page.mfn()), Some(0x1234));
        list[0].val = page.pfn();
        same!(submit(&mut list, 0, SELF), Ok(0));
        same!(frame::m2p(page.mfn()), Some(page.pfn()));
        // Not for frames that are nobody's.
        list[0].ptr = NO_FRAME << 12 | abi::MMU_MACHPHYS_UPDATE;
        ensure!(submit(&mut list, 0, SELF).is_err(), "no frame, no error");
        Ok(())
    });
    s.check("mmu_update/ordinary_page", || {
        // In a page that is no table the write is just a write.
        let page = Frame::new();
        let machine = page.mfn() << 12 | 0x18;
        same!(pagetable::update(machine, 0x1234_5678), Ok(0));
        same!(page.words()[3].load(Ordering::Relaxed), 0x1234_5678);
        Ok(())
    });
    s.check("mmu_update/bad_arguments", || {
        let page = Frame::new();
        let entry = some!(pagetable::entry(page.address(), 1));
        same!(
            hypercall::call(HYPERVISOR_MMU_UPDATE, [UNMAPPED, 1, 0, SELF]),
            Err(Errno::EFAULT)
        );
        same!(
            hypercall::call(HYPERVISOR_MMU_UPDATE, [HYPERVISOR, 1, 0, SELF]),
            Err(Errno::EFAULT)
        );
        let mut list = [request(entry.machine, 0, page.mfn() << 12 | RW)];
        same!(submit(&mut list, 0, 0x1234), Err(Errno::ESRCH));
        // A table in a frame that does not exist.
        let mut list = [request(NO_FRAME << 12, 0, 0)];
        ensure!(submit(&mut list, 0, SELF).is_err(), "no frame, no error");
        Ok(())
    });
    s.check("mmu_update/frame_of_nobody", || {
        let page = Frame::new();
        let entry = some!(pagetable::entry(page.address(), 1));
        let mut list = [request(entry.machine, 0, NO_FRAME << 12 | RW)];
        ensure!(
            submit(&mut list, 0, SELF).is_err(),
            "mapped a frame that is not there"
        );
        same!(
            some!(pagetable::entry(page.address(), 1)).machine,
            entry.machine
        );
        good!(probe::read(page.address()));
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    update_va_mapping(s);
    mmu_update(s);
}
