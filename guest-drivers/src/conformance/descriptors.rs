//! GDT, LDT, segment bases, stack, debug registers.

use core::sync::atomic::Ordering;

use oxen_abi::Errno;
use oxen_abi::arch_x86::{
    FIRST_RESERVED_GDT_ENTRY, SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER, SEGBASE_GS_USER_SEL,
};
use oxen_abi::hypercall::{
    HYPERVISOR_GET_DEBUGREG, HYPERVISOR_MMUEXT_OP, HYPERVISOR_SET_DEBUGREG, HYPERVISOR_SET_GDT,
    HYPERVISOR_SET_SEGMENT_BASE, HYPERVISOR_UPDATE_DESCRIPTOR,
};
use oxen_abi::mmu::{MMUEXT_SET_LDT, MmuextOp};
use oxen_abi::xen::DOMID_SELF;

use super::timers::{MILLISECOND, poll};
use super::traps::faulted;
use super::version::{HYPERVISOR, UNMAPPED};
use super::{Suite, ensure, good, same};
use crate::pagetable;
use crate::sys::frame::Frame;
use crate::sys::{hypercall, probe};
use crate::time::now;

/// Flat data, present, DPL 3, writable.
const DATA: u64 = 0x00cf_f300_0000_ffff;
/// A 64-bit call gate, present, DPL 3, to the hypervisor's code selector.
const CALL_GATE: u64 = 0x0000_ec00_e008_0000;
/// A TSS, present.
const TSS: u64 = 0x0000_8900_0000_0067;

fn set_gdt(frames: &mut [u64], entries: u64) -> hypercall::Result {
    hypercall::call(
        HYPERVISOR_SET_GDT,
        [hypercall::slice_address(frames), entries],
    )
}

fn gdt(s: &mut Suite<'_>) {
    s.check("set_gdt/load_a_selector", || {
        let table = Frame::new();
        table.words()[3].store(DATA, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        same!(set_gdt(&mut [table.mfn()], 512), Ok(0));
        good!(probe::load_fs(3 << 3 | 3));
        // An empty entry, and one past the end.
        faulted(probe::load_fs(4 << 3 | 3), probe::GP)?;
        faulted(probe::load_fs(600 << 3 | 3), probe::GP)?;
        good!(probe::load_fs(0));
        // In use as a GDT the page cannot become writable.
        ensure!(
            pagetable::make_writable(table).is_err(),
            "a GDT page was mapped read-write"
        );
        same!(set_gdt(&mut [], 0), Ok(0));
        same!(pagetable::make_writable(table), Ok(0));
        Ok(())
    });
    s.check("set_gdt/refused", || {
        let table = Frame::new();
        ensure!(
            set_gdt(&mut [table.mfn()], 512).is_err(),
            "a writable page became the GDT"
        );
        let most = u64::from(FIRST_RESERVED_GDT_ENTRY);
        let mut frames = [table.mfn(); 17];
        same!(set_gdt(&mut frames, most + 1), Err(Errno::EINVAL));
        same!(set_gdt(&mut frames, 8193), Err(Errno::EINVAL));
        same!(
            hypercall::call(HYPERVISOR_SET_GDT, [UNMAPPED, 512]),
            Err(Errno::EFAULT)
        );
        Ok(())
    });
    s.check("set_gdt/bad_descriptors", || {
        for bad in [CALL_GATE, TSS] {
            let table = Frame::new();
            table.words()[3].store(bad, Ordering::Relaxed);
            good!(pagetable::make_read_only(table));
            ensure!(
                set_gdt(&mut [table.mfn()], 512).is_err(),
                "a GDT with {bad:#x} was loaded"
            );
        }
        Ok(())
    });
    s.check("update_descriptor/in_use_and_not", || {
        let table = Frame::new();
        good!(pagetable::make_read_only(table));
        same!(set_gdt(&mut [table.mfn()], 512), Ok(0));
        let update = |entry: u64, value: u64| {
            hypercall::call(
                HYPERVISOR_UPDATE_DESCRIPTOR,
                [(table.mfn() << 12) + entry * 8, value],
            )
        };
        same!(update(5, DATA), Ok(0));
        good!(probe::load_fs(5 << 3 | 3));
        good!(probe::load_fs(0));
        same!(update(5, CALL_GATE), Err(Errno::EINVAL));
        same!(update(5, TSS), Err(Errno::EINVAL));
        same!(update(5, 0), Ok(0));
        same!(
            hypercall::call(HYPERVISOR_UPDATE_DESCRIPTOR, [table.mfn() << 12 | 4, DATA]),
            Err(Errno::EINVAL)
        );
        ensure!(
            hypercall::call(HYPERVISOR_UPDATE_DESCRIPTOR, [u64::MAX << 3, DATA]).is_err(),
            "a descriptor nowhere was written"
        );
        same!(set_gdt(&mut [], 0), Ok(0));
        Ok(())
    });
}

fn set_ldt(address: u64, entries: u64) -> hypercall::Result {
    let mut op = MmuextOp {
        cmd: MMUEXT_SET_LDT,
        arg1: address,
        arg2: entries,
        ..MmuextOp::default()
    };
    hypercall::call(
        HYPERVISOR_MMUEXT_OP,
        [hypercall::address(&mut op), 1, 0, u64::from(DOMID_SELF)],
    )
}

fn ldt(s: &mut Suite<'_>) {
    s.check("set_ldt/faulted_in", || {
        let table = Frame::new();
        table.words()[2].store(DATA, Ordering::Relaxed);
        good!(pagetable::make_read_only(table));
        same!(set_ldt(table.address(), 512), Ok(0));
        // The hypervisor maps the page when a selector is used first.
        good!(probe::load_fs(2 << 3 | 4 | 3));
        faulted(probe::load_fs(3 << 3 | 4 | 3), probe::GP)?;
        good!(probe::load_fs(0));
        same!(set_ldt(0, 0), Ok(0));
        Ok(())
    });
    s.check("set_ldt/refused", || {
        let table = Frame::new();
        same!(set_ldt(table.address() + 8, 1), Err(Errno::EINVAL));
        same!(set_ldt(table.address(), 8193), Err(Errno::EINVAL));
        same!(set_ldt(HYPERVISOR, 512), Err(Errno::EINVAL));
        Ok(())
    });
}

fn segments(s: &mut Suite<'_>) {
    let set = |which: u32, value: u64| {
        hypercall::call(HYPERVISOR_SET_SEGMENT_BASE, [u64::from(which), value])
    };
    s.check("set_segment_base/fs_and_gs", || {
        let page = Frame::new();
        page.words()[4].store(0xfeed, Ordering::Relaxed);
        same!(set(SEGBASE_FS, page.address()), Ok(0));
        same!(probe::read_fs(32), Ok(0xfeed));
        same!(set(SEGBASE_GS_KERNEL, page.address()), Ok(0));
        same!(probe::read_gs(32), Ok(0xfeed));
        same!(set(SEGBASE_GS_USER, page.address() + 8), Ok(0));
        same!(probe::read_gs(32), Ok(0xfeed));
        same!(set(SEGBASE_GS_USER_SEL, 0), Ok(0));
        for which in [SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER] {
            same!(set(which, 0), Ok(0));
        }
        Ok(())
    });
    s.check("set_segment_base/refused", || {
        for which in [SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER] {
            same!(set(which, 1 << 47), Err(Errno::EINVAL));
        }
        same!(set(4, 0), Err(Errno::EINVAL));
        same!(set(u32::MAX, 0), Err(Errno::EINVAL));
        Ok(())
    });
}

fn debug_registers(s: &mut Suite<'_>) {
    let set =
        |register: u64, value: u64| hypercall::call(HYPERVISOR_SET_DEBUGREG, [register, value]);
    let get = |register: u64| hypercall::raw(HYPERVISOR_GET_DEBUGREG, [register, 0, 0, 0, 0, 0]);
    s.check("debugreg/set_and_get", || {
        let page = Frame::new();
        for register in 0..4 {
            same!(set(register, page.address() + register * 8), Ok(0));
            same!(get(register), page.address() + register * 8);
            same!(set(register, 0), Ok(0));
        }
        Ok(())
    });
    s.check("debugreg/refused", || {
        ensure!(set(0, HYPERVISOR).is_err(), "a watch on the hypervisor");
        ensure!(set(8, 0).is_err(), "DR8");
        ensure!(set(u64::MAX, 0).is_err(), "a register that is not there");
        // General detect would stop the hypervisor's own accesses.
        let _ = set(7, 1 << 13);
        same!(get(7) >> 13 & 1, 0);
        same!(set(7, 0), Ok(0));
        Ok(())
    });
    s.check("debugreg/watchpoint", || {
        let page = Frame::new();
        same!(set(0, page.address()), Ok(0));
        // Local, write, 8 bytes.
        same!(set(7, 1 | 0b1001 << 16), Ok(0));
        faulted(probe::write(page.address(), 1), probe::DB)?;
        same!(get(6) & 1, 1);
        // Both outlive a moment in which something else runs.
        good!(poll(&mut [], now() + MILLISECOND));
        same!(get(6) & 1, 1);
        faulted(probe::write(page.address(), 1), probe::DB)?;
        good!(probe::write(page.address() + 8, 1));
        same!(set(7, 0), Ok(0));
        same!(set(6, 0), Ok(0));
        same!(set(0, 0), Ok(0));
        good!(probe::write(page.address(), 1));
        Ok(())
    });
    s.check("debugreg/by_instruction", || {
        good!(probe::read_dr7());
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    gdt(s);
    ldt(s);
    segments(s);
    debug_registers(s);
}
