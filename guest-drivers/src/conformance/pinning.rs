//! mmuext_op, and the rules of page types.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::arch_x86::{PTE_GLOBAL, PTE_PCD, PTE_PSE_PAT, PTE_PWT};
use oxen_abi::hypercall::{HYPERVISOR_MEMORY_OP, HYPERVISOR_MMUEXT_OP, HYPERVISOR_VM_ASSIST};
use oxen_abi::memory::{MachphysMfnList, XENMEM_MACHPHYS_MFN_LIST};
use oxen_abi::mmu::{self as abi, MmuextOp};
use oxen_abi::xen::{
    DOMID_SELF, VMASST_CMD_DISABLE, VMASST_CMD_ENABLE, VMASST_TYPE_WRITABLE_PAGETABLES,
};

use super::mappings::NO_FRAME;
use super::traps::faulted;
use super::version::{HYPERVISOR, UNMAPPED};
use super::{Outcome, Suite, ensure, good, same, some};
use crate::pagetable::{self, RO, RW, WINDOW};
use crate::sys::frame::{Frame, VIRT_BASE};
use crate::sys::{hypercall, probe};

/// One extended operation for a domain.
pub(crate) fn mmuext_for(cmd: u32, arg1: u64, arg2: u64, domain: u16) -> hypercall::Result {
    let mut op = MmuextOp {
        cmd,
        arg1,
        arg2,
        ..MmuextOp::default()
    };
    hypercall::call(
        HYPERVISOR_MMUEXT_OP,
        [hypercall::address(&mut op), 1, 0, u64::from(domain)],
    )
}

fn mmuext(cmd: u32, arg1: u64, arg2: u64) -> hypercall::Result {
    mmuext_for(cmd, arg1, arg2, DOMID_SELF)
}

pub(super) fn pin(frame: Frame, level: u32) -> hypercall::Result {
    mmuext(abi::MMUEXT_PIN_L1_TABLE + level - 1, frame.mfn(), 0)
}

pub(super) fn unpin(frame: Frame) -> hypercall::Result {
    mmuext(abi::MMUEXT_UNPIN_TABLE, frame.mfn(), 0)
}

fn writable_page_tables(cmd: u32) -> hypercall::Result {
    hypercall::call(
        HYPERVISOR_VM_ASSIST,
        [u64::from(cmd), u64::from(VMASST_TYPE_WRITABLE_PAGETABLES)],
    )
}

/// A frame that the hypervisor owns: the first of the machine-to-physical table.
fn hypervisor_frame() -> Outcome<u64> {
    let mut frames = [0u64; 1];
    let mut list = MachphysMfnList {
        max_extents: 1,
        extent_start: hypercall::address(&mut frames),
        ..MachphysMfnList::default()
    };
    good!(hypercall::op(
        HYPERVISOR_MEMORY_OP,
        XENMEM_MACHPHYS_MFN_LIST,
        &mut list
    ));
    Ok(frames[0])
}

fn pinning(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("mmuext/pin_and_unpin_l1", || {
        let table = good!(pagetable::new_table());
        same!(pin(table, 1), Ok(0));
        same!(unpin(table), Ok(0));
        // Once unpinned it may be an ordinary page again.
        same!(pagetable::make_writable(table), Ok(0));
        Ok(())
    });
    s.check("mmuext/pin_twice", || {
        let table = good!(pagetable::new_table());
        same!(pin(table, 1), Ok(0));
        same!(pin(table, 1), Err(Errno::EINVAL));
        same!(unpin(table), Ok(0));
        same!(unpin(table), Err(Errno::EINVAL));
        Ok(())
    });
    s.check("mmuext/pin_writable_page", || {
        let page = Frame::new();
        ensure!(
            pin(page, 1).is_err(),
            "pinned a page that is mapped read-write"
        );
        good!(probe::write(page.address(), 1));
        Ok(())
    });
    s.check("mmuext/pin_nothing", || {
        for mfn in [NO_FRAME, u64::MAX] {
            ensure!(
                mmuext(abi::MMUEXT_PIN_L1_TABLE, mfn, 0).is_err(),
                "pinned {mfn:#x}"
            );
            ensure!(
                mmuext(abi::MMUEXT_UNPIN_TABLE, mfn, 0).is_err(),
                "unpinned {mfn:#x}"
            );
        }
        same!(
            mmuext_for(abi::MMUEXT_PIN_L1_TABLE, Frame::new().mfn(), 0, 0x1234),
            Err(Errno::ESRCH)
        );
        Ok(())
    });
    s.check("mmuext/pinned_table_is_not_writable", || {
        let table = good!(pagetable::new_table());
        same!(pin(table, 1), Ok(0));
        ensure!(
            pagetable::make_writable(table).is_err(),
            "a pinned table was mapped read-write"
        );
        same!(writable_page_tables(VMASST_CMD_DISABLE), Ok(0));
        // For dom0 the writes are emulated even so, as it needs it for its MMCONFIG pages.
        if !privileged {
            faulted(probe::write(table.address(), 0), probe::PF)?;
        }
        same!(unpin(table), Ok(0));
        Ok(())
    });
    s.check("mmuext/pin_hierarchy", || {
        // L3 -> L2 -> L1 -> page, pinned from the top: everything below is typed with it.
        let page = Frame::new();
        let (l1, l2, l3) = (Frame::new(), Frame::new(), Frame::new());
        l1.words()[5].store(page.mfn() << 12 | RW, Ordering::Relaxed);
        l2.words()[6].store(l1.mfn() << 12 | RW, Ordering::Relaxed);
        l3.words()[7].store(l2.mfn() << 12 | RW, Ordering::Relaxed);
        ensure!(pin(l3, 3).is_err(), "pinned while tables are writable");
        for table in [l1, l2, l3] {
            good!(pagetable::make_read_only(table));
        }
        same!(pin(l3, 3), Ok(0));
        // The L1 is one now, and cannot be anything else.
        ensure!(pin(l1, 2).is_err(), "an L1 in use was pinned as L2");
        same!(pin(l1, 1), Ok(0));
        same!(unpin(l1), Ok(0));
        ensure!(
            pagetable::make_writable(l1).is_err(),
            "an L1 in use was mapped read-write"
        );
        same!(unpin(l3), Ok(0));
        for table in [l1, l2, l3] {
            same!(pagetable::make_writable(table), Ok(0));
        }
        Ok(())
    });
    s.check("mmuext/change_level", || {
        // The same frame as L1, L2, L3, and L1 again: the type goes with the last use.
        let table = good!(pagetable::new_table());
        for level in [1, 2, 3, 1] {
            same!(pin(table, level), Ok(0));
            same!(unpin(table), Ok(0));
        }
        same!(pagetable::make_writable(table), Ok(0));
        Ok(())
    });
}

fn types(s: &mut Suite<'_>) {
    let privileged = s.privileged;
    s.check("types/table_with_hypervisor_frame", || {
        let foreign = hypervisor_frame()?;
        let table = Frame::new();
        table.words()[0].store(foreign << 12 | RW, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        ensure!(
            pin(table, 1).is_err(),
            "an L1 maps the hypervisor's frame read-write"
        );
        Ok(())
    });
    s.check("types/table_with_missing_frame", || {
        let table = Frame::new();
        table.words()[511].store(NO_FRAME << 12 | RW, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        ensure!(
            pin(table, 1).is_err(),
            "an L1 maps a frame that is not there"
        );
        // Nothing was left typed: it can be repaired and pinned.
        good!(pagetable::make_writable(table));
        table.words()[511].store(0, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        same!(pin(table, 1), Ok(0));
        same!(unpin(table), Ok(0));
        Ok(())
    });
    s.check("types/table_maps_itself_writable", || {
        let table = Frame::new();
        table.words()[0].store(table.mfn() << 12 | RW, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        ensure!(pin(table, 1).is_err(), "an L1 maps itself read-write");
        Ok(())
    });
    s.check("types/table_maps_itself_read_only", || {
        let table = Frame::new();
        table.words()[0].store(table.mfn() << 12 | RO, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        same!(pin(table, 1), Ok(0));
        same!(unpin(table), Ok(0));
        Ok(())
    });
    s.check("types/linear_table", || {
        // A table that has itself as a table of the next level shows the guest all that is below it. Xen allows that
        // (option `pv-linear-pt`), for reading alone; we don't.
        for level in [2, 3, 4] {
            let table = Frame::new();
            table.words()[3].store(table.mfn() << 12 | RW, Ordering::Relaxed);
            good!(pagetable::make_read_only(table));
            ensure!(
                pin(table, level).is_err(),
                "an L{level} with itself in it, read-write, was pinned"
            );
            let table = good!(pagetable::new_table());
            same!(pin(table, level), Ok(0));
            let slot = (table.mfn() << 12) + 3 * 8;
            let with = |bits| pagetable::update(slot, table.mfn() << 12 | bits);
            ensure!(with(RW).is_err(), "an L{level} got itself read-write");
            match with(RO) {
                Ok(_) => ensure!(with(RW).is_err(), "an L{level} got itself writable"),
                Err(errno) => same!(errno, Errno::EINVAL),
            }
            good!(pagetable::update(slot, 0));
            same!(unpin(table), Ok(0));
        }
        Ok(())
    });
    s.check("types/superpage_refused", || {
        let table = Frame::new();
        table.words()[0].store(RW | PTE_PSE_PAT, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        ensure!(pin(table, 2).is_err(), "an L2 with a superpage was pinned");
        Ok(())
    });
    s.check("types/bits_of_tables_entries", || {
        // Caching and G are for leaves; whoever has hardware may choose a leaf's caching.
        let (l2, l1) = (Frame::new(), good!(pagetable::new_table()));
        for bits in [PTE_PWT, PTE_PCD, PTE_GLOBAL] {
            l2.words()[0].store(l1.mfn() << 12 | RW | bits, Ordering::Relaxed);
            good!(pagetable::make_read_only(l2));
            same!(pin(l2, 2), Err(Errno::EINVAL));
            good!(pagetable::make_writable(l2));
        }
        l2.words()[0].store(l1.mfn() << 12 | RW, Ordering::Relaxed);
        good!(pagetable::make_read_only(l2));
        good!(pin(l2, 2));
        let entry = |table: Frame, value: u64| pagetable::update(table.mfn() << 12, value);
        for bits in [PTE_PWT, PTE_PCD, PTE_GLOBAL] {
            let value = l1.mfn() << 12 | RW | bits;
            same!(entry(l2, value), Err(Errno::EINVAL));
        }
        good!(unpin(l2));
        good!(pagetable::make_writable(l2));
        let page = Frame::new();
        good!(pagetable::update_va(page.address(), page.mfn() << 12 | RO));
        for bits in [PTE_PCD, PTE_PWT | PTE_PCD, PTE_PSE_PAT] {
            let result = pagetable::update_va(page.address(), page.mfn() << 12 | RO | bits);
            good!(pagetable::update_va(page.address(), page.mfn() << 12 | RO));
            let want = if privileged {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            };
            same!(result, want);
        }
        let global = page.mfn() << 12 | RW | PTE_GLOBAL;
        same!(pagetable::update_va(page.address(), global), Ok(0));
        good!(pagetable::make_writable(page));
        Ok(())
    });
    s.check("types/l4_with_hypervisor_slot", || {
        // What a guest writes into the hypervisor's slots is refused or ignored, never used.
        let l4 = good!(pagetable::new_table());
        let slot = some!(pagetable::entry(HYPERVISOR, 4)).machine % 4096;
        let _ = pagetable::update(l4.mfn() << 12 | slot, 0);
        let cr3 = good!(probe::read_cr3());
        ensure!(
            pagetable::update(cr3 | slot, l4.mfn() << 12 | RW).is_err(),
            "a hypervisor slot of the running L4 was written"
        );
        faulted(probe::read(HYPERVISOR), probe::PF)?;
        Ok(())
    });
    s.check("types/writable_mapping_of_running_tables", || {
        let page = Frame::new();
        let l1 = some!(pagetable::entry(page.address(), 1)).machine & !0xfff;
        let l4 = good!(probe::read_cr3());
        for table in [l1, l4] {
            ensure!(
                pagetable::update_va(page.address(), table | RW).is_err(),
                "a page table in use was mapped read-write"
            );
            same!(pagetable::update_va(page.address(), table | RO), Ok(0));
        }
        good!(pagetable::make_writable(page));
        Ok(())
    });
    s.check("types/writable_page_table_emulation", || {
        good!(pagetable::reach(WINDOW));
        let entry = some!(pagetable::entry(WINDOW, 1));
        let l1 = some!(pagetable::entry(WINDOW, 2)).value;
        let pfn = some!(crate::sys::frame::m2p(l1 >> 12 & 0xff_ffff_ffff));
        let address = VIRT_BASE + pfn * 4096 + entry.machine % 4096;
        let page = Frame::new();
        page.fill(0x55);
        same!(writable_page_tables(VMASST_CMD_ENABLE), Ok(0));
        good!(probe::write(address, page.mfn() << 12 | RW));
        same!(probe::read(WINDOW), Ok(0x55));
        // Compare-and-exchange too; what the types forbid faults.
        let old = some!(pagetable::entry(WINDOW, 1)).value;
        same!(probe::compare_exchange(address, old, 0), Ok(old));
        good!(pagetable::flush(WINDOW));
        faulted(probe::read(WINDOW), probe::PF)?;
        faulted(probe::write(address, NO_FRAME << 12 | RW), probe::PF)?;
        same!(writable_page_tables(VMASST_CMD_DISABLE), Ok(0));
        if !privileged {
            faulted(probe::write(address, page.mfn() << 12 | RW), probe::PF)?;
        }
        Ok(())
    });
}

fn other_operations(s: &mut Suite<'_>) {
    s.check("mmuext/new_baseptr", || {
        let cr3 = good!(probe::read_cr3());
        same!(mmuext(abi::MMUEXT_NEW_BASEPTR, cr3 >> 12, 0), Ok(0));
        same!(probe::read_cr3(), Ok(cr3));
        let page = Frame::new();
        ensure!(
            mmuext(abi::MMUEXT_NEW_BASEPTR, page.mfn(), 0).is_err(),
            "a page became the L4"
        );
        ensure!(
            mmuext(abi::MMUEXT_NEW_BASEPTR, NO_FRAME, 0).is_err(),
            "nothing became the L4"
        );
        same!(probe::read_cr3(), Ok(cr3));
        Ok(())
    });
    s.check("mmuext/new_user_baseptr", || {
        same!(mmuext(abi::MMUEXT_NEW_USER_BASEPTR, 0, 0), Ok(0));
        ensure!(
            mmuext(abi::MMUEXT_NEW_USER_BASEPTR, Frame::new().mfn(), 0).is_err(),
            "a page became the user L4"
        );
        same!(mmuext(abi::MMUEXT_NEW_USER_BASEPTR, 0, 0), Ok(0));
        Ok(())
    });
    s.check("mmuext/flushes", || {
        let mut mask = [1u64, 0];
        let mask = hypercall::address(&mut mask);
        let address = VIRT_BASE;
        same!(mmuext(abi::MMUEXT_TLB_FLUSH_LOCAL, 0, 0), Ok(0));
        same!(mmuext(abi::MMUEXT_INVLPG_LOCAL, address, 0), Ok(0));
        same!(mmuext(abi::MMUEXT_TLB_FLUSH_MULTI, 0, mask), Ok(0));
        same!(mmuext(abi::MMUEXT_INVLPG_MULTI, address, mask), Ok(0));
        same!(mmuext(abi::MMUEXT_TLB_FLUSH_ALL, 0, 0), Ok(0));
        same!(mmuext(abi::MMUEXT_INVLPG_ALL, address, 0), Ok(0));
        ensure!(
            mmuext(abi::MMUEXT_TLB_FLUSH_MULTI, 0, UNMAPPED).is_err(),
            "a mask that is not there"
        );
        // Addresses that are not the guest's are no business of its flushes.
        let _ = mmuext(abi::MMUEXT_INVLPG_ALL, HYPERVISOR, 0);
        let _ = mmuext(abi::MMUEXT_INVLPG_LOCAL, 1 << 47, 0);
        Ok(())
    });
    s.check("mmuext/clear_and_copy_page", || {
        let (a, b) = (Frame::new(), Frame::new());
        a.fill(3);
        same!(mmuext(abi::MMUEXT_COPY_PAGE, b.mfn(), a.mfn()), Ok(0));
        same!(b.words()[511].load(Ordering::Relaxed), 3);
        same!(mmuext(abi::MMUEXT_CLEAR_PAGE, a.mfn(), 0), Ok(0));
        same!(a.words()[511].load(Ordering::Relaxed), 0);
        ensure!(
            mmuext(abi::MMUEXT_CLEAR_PAGE, NO_FRAME, 0).is_err(),
            "cleared nothing"
        );
        let table = good!(pagetable::new_table());
        same!(pin(table, 1), Ok(0));
        ensure!(
            mmuext(abi::MMUEXT_CLEAR_PAGE, table.mfn(), 0).is_err(),
            "cleared a page table"
        );
        ensure!(
            mmuext(abi::MMUEXT_COPY_PAGE, table.mfn(), a.mfn()).is_err(),
            "copied over a page table"
        );
        same!(unpin(table), Ok(0));
        Ok(())
    });
    s.check("mmuext/unknown_and_bad_pointer", || {
        for cmd in [14, 21, u32::MAX] {
            let result = mmuext(cmd, 0, 0);
            ensure!(
                matches!(result, Err(Errno::ENOSYS | Errno::EOPNOTSUPP)),
                "{cmd} gives {result:?}"
            );
        }
        same!(
            hypercall::call(
                HYPERVISOR_MMUEXT_OP,
                [UNMAPPED, 1, 0, u64::from(DOMID_SELF)]
            ),
            Err(Errno::EFAULT)
        );
        same!(
            hypercall::call(
                HYPERVISOR_MMUEXT_OP,
                [UNMAPPED, 0, 0, u64::from(DOMID_SELF)]
            ),
            Ok(0)
        );
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    pinning(s);
    types(s);
    other_operations(s);
}
