//! `mode=bench`: ticks of the time-stamp counter a call takes, the empty loop subtracted.
//!
//! Under an emulator that counts instructions as time (`-icount shift=0`) the ticks are
//! instructions. Each figure is the median of 11 batches; nothing is printed while measuring.

use core::hint::black_box;

use oxen_abi::Errno;
use oxen_abi::event_channel::{EVTCHNOP_SEND, Send};
use oxen_abi::grant_table::{Copy, CopyPtr, GNTTABOP_COPY};
use oxen_abi::hypercall::{
    HYPERVISOR_EVENT_CHANNEL_OP, HYPERVISOR_GRANT_TABLE_OP, HYPERVISOR_MMU_UPDATE,
    HYPERVISOR_MULTICALL, HYPERVISOR_SCHED_OP, HYPERVISOR_SET_TIMER_OP,
    HYPERVISOR_UPDATE_VA_MAPPING, HYPERVISOR_VCPU_OP, HYPERVISOR_XEN_VERSION, MulticallEntry,
};
use oxen_abi::mmu::{MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate, UVMF_INVLPG, UVMF_NONE};
use oxen_abi::sched::SCHEDOP_YIELD;
use oxen_abi::vcpu::VCPUOP_STOP_PERIODIC_TIMER;
use oxen_abi::xen::DOMID_SELF;

use crate::conformance::{UNMAPPED, bind_ipi, mmuext_for};
use crate::pagetable::{self, RO, RW};
use crate::println;
use crate::sys::frame::Frame;
use crate::sys::hypercall::{self, Result};
use crate::sys::{bench, cpu};
use crate::time::now;

const BATCHES: usize = 11;
/// Calls in a batch: short enough that no timer tick falls into most of them.
const CALLS: u64 = 50;

/// Ticks of one batch, the middle one of several.
fn batch(mut call: impl FnMut(u64)) -> u64 {
    let mut ticks = [0u64; BATCHES];
    for slot in &mut ticks {
        let start = cpu::rdtsc_ordered();
        for round in 0..CALLS {
            call(black_box(round));
        }
        *slot = cpu::rdtsc_ordered().wrapping_sub(start);
    }
    ticks.sort_unstable();
    ticks[BATCHES / 2]
}

/// Measures a call and prints its ticks; `per` calls are made at once.
fn measure(name: &str, per: u64, empty: u64, call: impl FnMut(u64)) {
    let ticks = batch(call).saturating_sub(empty) / CALLS / per;
    println!("BENCH {name} {ticks}");
}

/// Runs all measurements.
pub(crate) fn run() {
    // The tick that a vCPU starts with would fall into the batches.
    let _ = hypercall::call(
        HYPERVISOR_VCPU_OP,
        [u64::from(VCPUOP_STOP_PERIODIC_TIMER), 0, 0],
    );
    if let Err(error) = measurements() {
        println!("ERROR bench: {error}");
    }
    println!("BENCH end");
}

fn measurements() -> Result<()> {
    let empty = batch(|round| {
        black_box(round);
    });
    let call = |number: u64, args: [u64; 3]| {
        let _ = hypercall::call(number, args);
    };
    measure("xen_version", 1, empty, |_| {
        call(HYPERVISOR_XEN_VERSION, [0; 3])
    });
    measure("unknown_hypercall", 1, empty, |_| call(63, [0; 3]));
    let mut list = [MulticallEntry {
        op: HYPERVISOR_XEN_VERSION,
        ..MulticallEntry::default()
    }; 32];
    let address = hypercall::slice_address(&mut list);
    measure("multicall_entry", 32, empty, |_| {
        call(HYPERVISOR_MULTICALL, [address, 32, 0]);
    });
    let far = now() + 60_000_000_000;
    measure("set_timer_op", 1, empty, |round| {
        call(HYPERVISOR_SET_TIMER_OP, [far + round, 0, 0]);
    });
    call(HYPERVISOR_SET_TIMER_OP, [0; 3]);
    measure("yield", 1, empty, |_| {
        call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_YIELD), 0, 0]);
    });
    mappings(empty)?;
    traps(empty)?;
    sharing(empty)
}

fn mappings(empty: u64) -> Result<()> {
    let page = Frame::new();
    let (writable, read_only) = (page.mfn() << 12 | RW, page.mfn() << 12 | RO);
    let map = |value: u64, flags: u64| {
        let _ = hypercall::call(HYPERVISOR_UPDATE_VA_MAPPING, [page.address(), value, flags]);
    };
    measure("update_va_mapping_same", 1, empty, |_| {
        map(writable, UVMF_NONE)
    });
    measure("update_va_mapping_invlpg", 1, empty, |_| {
        map(writable, UVMF_INVLPG)
    });
    measure("update_va_mapping_changing", 1, empty, |round| {
        map(if round % 2 == 0 { read_only } else { writable }, UVMF_NONE);
    });
    pagetable::make_writable(page)?;
    let entry = pagetable::entry(page.address(), 1).ok_or(Errno::EFAULT)?;
    measure("mmu_update_one", 1, empty, |_| {
        let _ = pagetable::update(entry.machine, writable);
    });
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
    let submit = |list: &mut [MmuUpdate; 128]| {
        let _ = hypercall::call(
            HYPERVISOR_MMU_UPDATE,
            [
                hypercall::slice_address(list),
                128,
                0,
                u64::from(DOMID_SELF),
            ],
        );
    };
    measure("mmu_update_128_same", 128, empty, |_| submit(&mut same));
    measure("mmu_update_128_changing", 128, empty, |round| {
        submit(if round % 2 == 0 {
            &mut changed
        } else {
            &mut same
        });
    });
    let table = Frame::new();
    for slot in table.words() {
        slot.store(page.mfn() << 12 | RO, core::sync::atomic::Ordering::Relaxed);
    }
    pagetable::make_read_only(table)?;
    measure("pin_and_unpin_l1", 1, empty, |_| {
        let _ = mmuext_for(MMUEXT_PIN_L1_TABLE, table.mfn(), 0, DOMID_SELF);
        let _ = mmuext_for(MMUEXT_UNPIN_TABLE, table.mfn(), 0, DOMID_SELF);
    });
    Ok(())
}

fn traps(empty: u64) -> Result<()> {
    bench::install()?;
    let int3 = batch(|_| bench::int3());
    let fault = batch(|_| bench::page_fault(UNMAPPED));
    bench::uninstall()?;
    for (name, ticks, share) in [
        ("int3_bounce", int3, bench::INT3_SHARE),
        ("page_fault_bounce", fault, bench::PAGE_FAULT_SHARE),
    ] {
        let ticks = ticks.saturating_sub(empty) / CALLS;
        println!("BENCH {name} {ticks} of which the guest's own instructions are {share}");
    }
    Ok(())
}

fn sharing(empty: u64) -> Result<()> {
    let port = bind_ipi(0)?;
    // Masked: the sending is measured, not the upcall.
    if let Some(info) = crate::sys::shared::info() {
        crate::event::two_level::set_mask(&info.mask, port, true);
    }
    measure("event_send", 1, empty, |_| {
        let _ = hypercall::op(
            HYPERVISOR_EVENT_CHANNEL_OP,
            EVTCHNOP_SEND,
            &mut Send { port },
        );
    });
    let (from, to) = (Frame::new(), Frame::new());
    let end = |frame: Frame| CopyPtr {
        u: frame.mfn(),
        domid: DOMID_SELF,
        ..CopyPtr::default()
    };
    for (name, len) in [("grant_copy_64", 64), ("grant_copy_4096", 4096)] {
        let mut copy = Copy {
            source: end(from),
            dest: end(to),
            len,
            ..Copy::default()
        };
        let address = hypercall::address(&mut copy);
        measure(name, 1, empty, |_| {
            let _ = hypercall::call(
                HYPERVISOR_GRANT_TABLE_OP,
                [u64::from(GNTTABOP_COPY), address, 1],
            );
        });
    }
    Ok(())
}
