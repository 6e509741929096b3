//! Hypercalls by number.
//!
//! A 64-bit PV kernel executes SYSCALL with the number in RAX and up to six arguments in RDI,
//! RSI, RDX, R10, R8, R9; the result comes back in RAX, and RCX and R11 are lost.

pub mod page;

mod multicall;
mod vm_assist;

use oxen_abi::arch_x86::CpuUserRegs;
use oxen_abi::errno::Errno;
use oxen_abi::hypercall::*;

use crate::error::{HcResult, Stop};
use crate::guest::GuestHandle;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::{console, control, event, grant, irq, mm, sched, time, trap};

pub use vm_assist::ALLOWED as VM_ASSIST_ALLOWED;

/// One more than the highest number that has a meaning.
const NUMBERS: usize = 64;

/// Length of the SYSCALL instruction: a continuation goes back by it.
const SYSCALL_LENGTH: u64 = 2;

/// Carries out the hypercall that the registers hold, and leaves its outcome in them.
pub fn dispatch<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) {
    let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
    let outcome = match regs.rax {
        HYPERVISOR_IRET => match trap::iret(cx, regs) {
            Ok(()) => return,
            Err(stop) => Err(stop),
        },
        number => call(cx, number, args),
    };
    match outcome {
        Ok(value) => regs.rax = value,
        Err(Stop::Errno(errno)) => regs.rax = negated(errno),
        Err(stop) => without_value(cx, regs, stop),
    }
}

/// What a hypercall that returns no value leaves in the registers.
#[inline(never)]
fn without_value<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs, stop: Stop) {
    match stop {
        Stop::Errno(errno) => regs.rax = negated(errno),
        Stop::Restart(args) => {
            regs.rip = regs.rip.wrapping_sub(SYSCALL_LENGTH);
            [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        }
        Stop::NoReturn => {}
        Stop::Iret => {
            if let Err(stop) = trap::iret(cx, regs) {
                without_value(cx, regs, stop);
            }
        }
        Stop::Crash(reason) => crate::domain::crash(cx, reason),
    }
}

/// An errno as the guest sees it.
pub(crate) fn negated(errno: Errno) -> u64 {
    (-i64::from(errno.0)).cast_unsigned()
}

/// Carries out one hypercall that returns a value: all but `iret`. The handlers are functions of their own, so that
/// none pays for the registers and the stack of another.
#[inline(always)]
fn call<M: Machine>(cx: &Cx<'_, M>, number: u64, args: [u64; 6]) -> HcResult {
    let [a, b, c, d, _, _] = args;
    // Where the ABI has an int, the upper half means nothing.
    let [a32, b32] = [a, b].map(|argument| argument & 0xffff_ffff);
    // The number selects from a jump table.
    let index = usize::try_from(number).unwrap_or(NUMBERS);
    if index >= NUMBERS {
        return Err(Errno::ENOSYS.into());
    }
    match M::clamp(index, NUMBERS) as u64 {
        HYPERVISOR_EVENT_CHANNEL_OP => event::hypercall(cx, a32, b),
        HYPERVISOR_MULTICALL => multicall::multicall(cx, a, b32),
        HYPERVISOR_MMU_UPDATE => mm::update::mmu_update(cx, a, b32, c, d),
        HYPERVISOR_UPDATE_VA_MAPPING => mm::update::update_va_mapping(cx, a, b, c),
        HYPERVISOR_MMUEXT_OP => mm::ext::mmuext_op(cx, a, b32, c, d),
        HYPERVISOR_SET_TIMER_OP => time::set_timer_op(cx, a),
        HYPERVISOR_SCHED_OP => sched::sched_op(cx, a32, b),
        HYPERVISOR_STACK_SWITCH => trap::stack_switch(cx, a, b),
        HYPERVISOR_SET_SEGMENT_BASE => trap::set_segment_base(cx, a, b),
        HYPERVISOR_FPU_TASKSWITCH => trap::fpu_taskswitch(cx, a),
        HYPERVISOR_UPDATE_DESCRIPTOR => mm::descriptor::update_descriptor(cx, a, b),
        HYPERVISOR_GRANT_TABLE_OP => grant::hypercall(cx, a, b, c),
        HYPERVISOR_UPDATE_VA_MAPPING_OTHERDOMAIN => {
            mm::update::update_va_mapping_otherdomain(cx, a, b, c, d)
        }
        HYPERVISOR_MEMORY_OP => mm::memory_op::memory_op(cx, a, b),
        HYPERVISOR_VCPU_OP => time::vcpu_op(cx, a32, b32, c),
        HYPERVISOR_PHYSDEV_OP => irq::physdev_op(cx, a, b),
        HYPERVISOR_XEN_VERSION => control::xen_version(cx, a32, b),
        HYPERVISOR_CONSOLE_IO => console::console_io(cx, a32, b32, c),
        HYPERVISOR_SET_TRAP_TABLE => trap::set_trap_table(cx, a),
        HYPERVISOR_SET_GDT => mm::descriptor::set_gdt(cx, GuestHandle::new(a), b32),
        HYPERVISOR_SET_CALLBACKS => trap::set_callbacks(cx, a, b, c),
        HYPERVISOR_CALLBACK_OP => trap::callback_op(cx, a32, b),
        HYPERVISOR_NMI_OP => trap::nmi_op(cx, a32, b),
        HYPERVISOR_SET_DEBUGREG => trap::set_debugreg(cx, a32, b),
        HYPERVISOR_GET_DEBUGREG => trap::get_debugreg(cx, a32),
        HYPERVISOR_VM_ASSIST => vm_assist::vm_assist(cx, a32, b32),
        HYPERVISOR_DOMCTL => control::domctl(cx, a),
        HYPERVISOR_SYSCTL => control::sysctl(cx, a),
        HYPERVISOR_PLATFORM_OP => control::platform_op(cx, a),
        HYPERVISOR_SCHED_OP_COMPAT => sched::compat_sched_op(cx, a, b),
        HYPERVISOR_EVENT_CHANNEL_OP_COMPAT => event::compat_hypercall(cx, a),
        HYPERVISOR_ARCH_0 => control::mca(cx, a),
        HYPERVISOR_XENPMU_OP => Err(Errno::EOPNOTSUPP.into()),
        HYPERVISOR_PHYSDEV_OP_COMPAT => irq::compat_physdev_op(cx, a),
        // Not of a PV guest, retired, or without a counterpart here: kexec, xenoprof, tmem,
        // Argo, XSM, hypfs, HVM and device-model operations.
        _ => Err(Errno::ENOSYS.into()),
    }
}
