//! A copy's last call: one of those that end or strand the caller.

use oxen_abi::arch_x86::{FLAT_KERNEL_CS, TrapInfo};
use oxen_abi::hypercall as number;
use oxen_abi::mmu::{MMUEXT_NEW_BASEPTR, MmuextOp};
use oxen_abi::sched::{SCHEDOP_BLOCK, SCHEDOP_SHUTDOWN, Shutdown};
use oxen_abi::vcpu::{VCPUOP_DOWN, VCPUOP_SEND_NMI};

use super::material::BAD_ADDRESSES;
use crate::conformance::let_in;
use crate::rng::Rng;
use crate::sys::frame::Frame;
use crate::sys::{cpu, hypercall, probe};

/// An address that leads nowhere, or anywhere.
fn address(rng: &mut Rng) -> u64 {
    match rng.below(3) {
        0 => rng.bits(),
        1 => Frame::take().map_or(0, Frame::address) + rng.below(4096),
        _ => rng.pick(&BAD_ADDRESSES, 0),
    }
}

/// Does one of them. Where it comes back, the copy powers off.
pub(super) fn run(rng: &mut Rng) {
    match rng.below(11) {
        0 | 1 => cpu::leave(&frame(rng)),
        2 => {
            let _ = hypercall::call(
                number::HYPERVISOR_SET_CALLBACKS,
                [address(rng), address(rng), address(rng)],
            );
            let _ = hypercall::call(number::HYPERVISOR_SET_TIMER_OP, [1]);
            let_in();
        }
        3 => {
            let mut table = [TrapInfo::default(); 33];
            for (vector, entry) in (0..32).zip(&mut table) {
                *entry = TrapInfo {
                    vector,
                    flags: u8::try_from(rng.below(8)).unwrap_or(0),
                    cs: FLAT_KERNEL_CS,
                    address: address(rng) | 1,
                    ..TrapInfo::default()
                };
            }
            let _ = hypercall::call(
                number::HYPERVISOR_SET_TRAP_TABLE,
                [hypercall::slice_address(&mut table)],
            );
            let _ = probe::ud2();
        }
        4 => {
            let table = Frame::take();
            let mut op = MmuextOp {
                cmd: MMUEXT_NEW_BASEPTR,
                arg1: table.map_or(0, Frame::mfn),
                ..MmuextOp::default()
            };
            if let Some(table) = table {
                let _ = crate::pagetable::make_read_only(table);
            }
            let _ = hypercall::call(
                number::HYPERVISOR_MMUEXT_OP,
                [hypercall::address(&mut op), 1, 0, 0x7ff0],
            );
        }
        5 => {
            // Without the entry that maps itself the kernel is gone.
            if let Some(entry) = crate::pagetable::entry(crate::sys::frame::VIRT_BASE, 4) {
                let _ = crate::pagetable::update(entry.machine, 0);
                let _ = crate::pagetable::flush_all();
            }
        }
        6 => {
            let mut shutdown = Shutdown {
                reason: u32::try_from(rng.below(9)).unwrap_or(0),
            };
            let _ = hypercall::op(number::HYPERVISOR_SCHED_OP, SCHEDOP_SHUTDOWN, &mut shutdown);
        }
        7 => {
            let _ = hypercall::call(number::HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]);
        }
        8 => {
            let _ = hypercall::call(number::HYPERVISOR_VCPU_OP, [u64::from(VCPUOP_DOWN), 0, 0]);
        }
        9 => {
            let mut handler = [address(rng)];
            let _ = hypercall::call(
                number::HYPERVISOR_NMI_OP,
                [0, hypercall::slice_address(&mut handler)],
            );
            let _ = hypercall::call(
                number::HYPERVISOR_VCPU_OP,
                [u64::from(VCPUOP_SEND_NMI), 0, 0],
            );
        }
        _ => {}
    }
}

/// A frame for the iret hypercall.
fn frame(rng: &mut Rng) -> [u64; 9] {
    let flags = rng.pick(&[0, 0x100, 0x200, u64::MAX], 0);
    let cs = rng.pick(&[0xe033, 0xe030, 0xe023, 0x33, 8, 0xe008, 0xffff], 0xe033);
    let ss = rng.pick(&[0xe02b, 0xe028, 0, 0x2b, 0x10, 0xffff], 0xe02b);
    let eflags = rng.pick(
        &[0x202, 0x302, 0x3202, 0x2_0202, 0x10_0202, u64::MAX],
        0x202,
    );
    [
        rng.bits(),
        rng.bits(),
        rng.bits(),
        flags,
        address(rng),
        cs,
        eflags,
        address(rng),
        ss,
    ]
}
