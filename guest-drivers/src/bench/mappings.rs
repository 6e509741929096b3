//! Page tables: single updates, batches, pinning.

use oxen_abi::Errno;
use oxen_abi::hypercall::{HYPERVISOR_MMU_UPDATE, HYPERVISOR_UPDATE_VA_MAPPING};
use oxen_abi::mmu::{MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate, UVMF_INVLPG, UVMF_NONE};
use oxen_abi::xen::DOMID_SELF;

use super::Meter;
use crate::conformance::mmuext_for;
use crate::pagetable::{self, RO, RW};
use crate::sys::frame::Frame;
use crate::sys::hypercall::{self, Result};

// Beside the hypercalls themselves there is as little to measure as can be.

#[inline(always)]
fn map(address: u64, value: u64, flags: u64) {
    let _ = hypercall::call(HYPERVISOR_UPDATE_VA_MAPPING, [address, value, flags]);
}

#[inline(always)]
fn submit(first: u64, count: u64) {
    let list = [first, count, 0, u64::from(DOMID_SELF)];
    let _ = hypercall::call(HYPERVISOR_MMU_UPDATE, list);
}

pub(super) fn run(meter: &Meter) -> Result<()> {
    let page = Frame::new();
    let (writable, read_only) = (page.mfn() << 12 | RW, page.mfn() << 12 | RO);
    let at = page.address();
    meter.measure("mmu.update_va_mapping.same", 1, |_| {
        map(at, writable, UVMF_NONE)
    });
    meter.measure("mmu.update_va_mapping.invlpg", 1, |_| {
        map(at, writable, UVMF_INVLPG)
    });
    meter.measure("mmu.update_va_mapping.changing", 1, |round| {
        let value = if round % 2 == 0 { read_only } else { writable };
        map(at, value, UVMF_NONE);
    });
    pagetable::make_writable(page)?;
    let entry = pagetable::entry(page.address(), 1).ok_or(Errno::EFAULT)?;
    let mut one = MmuUpdate {
        ptr: entry.machine,
        val: writable,
    };
    let one = hypercall::address(&mut one);
    meter.measure("mmu.update.one", 1, |_| submit(one, 1));
    let mut same = [MmuUpdate::default(); 128];
    for slot in &mut same {
        let page = Frame::new();
        slot.ptr = pagetable::entry(page.address(), 1)
            .ok_or(Errno::EFAULT)?
            .machine;
        slot.val = page.mfn() << 12 | RW;
    }
    let mut changed = same;
    for slot in &mut changed {
        slot.val &= !(RW ^ RO);
    }
    let same = hypercall::slice_address(&mut same);
    let changed = hypercall::slice_address(&mut changed);
    meter.measure("mmu.update.batch_same", 128, |_| submit(same, 128));
    meter.measure("mmu.update.batch_changing", 128, |round| {
        submit(if round % 2 == 0 { changed } else { same }, 128);
    });
    let table = Frame::new();
    for slot in table.words() {
        slot.store(page.mfn() << 12 | RO, core::sync::atomic::Ordering::Relaxed);
    }
    pagetable::make_read_only(table)?;
    meter.measure("mmu.pin_unpin_l1", 1, |_| {
        let _ = mmuext_for(MMUEXT_PIN_L1_TABLE, table.mfn(), 0, DOMID_SELF);
        let _ = mmuext_for(MMUEXT_UNPIN_TABLE, table.mfn(), 0, DOMID_SELF);
    });
    Ok(())
}
