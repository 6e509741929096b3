//! Where the machine enters `core`, and where `core` lets a guest run again.
//!
//! The machine saves the guest's registers in the CPU's register frame, calls [`syscall`],
//! [`exception`], or another function here and then [`leave`], and restores the frame.
//! Interrupts are off throughout. A context switch, which happens on the way out only, replaces
//! the frame's contents; no stack is switched, so nothing here may keep state of the interrupted
//! vCPU across it.

use alloc::sync::Arc;

use oxen_abi::arch_x86::{ArchSharedInfo, CpuUserRegs};
use oxen_abi::xen::SharedInfo;

use crate::error::Stop;
use crate::machine::{Interrupt, Machine};
use crate::percpu::{Cx, Pending, PerCpu};
use crate::sync::atomic::Ordering;
use crate::types::VcpuId;
use crate::vcpu::Vcpu;

/// An exception that a guest's instruction caused.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Vector 0-31.
    pub vector: u8,
    /// Error code; 0 where the exception has none.
    pub error: u32,
    /// CR2, for a page fault.
    pub cr2: u64,
}

/// The guest executed SYSCALL: a hypercall from its kernel, or a system call of its process.
/// On return `regs` holds a vCPU that is to run now, as after [`leave`].
#[inline]
pub fn syscall<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs) {
    cpu.entered();
    let goes_on = for_current(cpu, |cx| {
        if cx.vcpu.kernel_mode.load(Ordering::Relaxed) {
            crate::hypercall::dispatch(cx, regs);
        } else {
            end(cx, crate::trap::guest_syscall(cx, regs));
        }
        may_go_on(cx.cpu, cx.vcpu)
    });
    if !goes_on {
        leave_later(cpu, regs);
    }
}

/// The guest's instruction faulted or trapped. On return `regs` holds a vCPU that is to run now,
/// as after [`leave`].
#[inline]
pub fn exception<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs, exception: Exception) {
    cpu.entered();
    let goes_on = for_current(cpu, |cx| {
        end(cx, crate::trap::exception(cx, regs, exception));
        may_go_on(cx.cpu, cx.vcpu)
    });
    if !goes_on {
        leave_later(cpu, regs);
    }
}

/// The hypervisor's own access to the running guest's memory faulted at `addr`. Whether it is to try again: the copies
/// of the guest's page tables that this CPU runs on lacked what the guest's own have.
pub fn own_fault<M: Machine>(cpu: &PerCpu<M>, addr: u64, write: bool) -> bool {
    crate::mm::shadow::own_fault(cpu, addr, write)
}

/// The machine could not go back to the guest: the registers in the frame are no good.
/// `exception` is what the attempt raised.
pub fn return_fault<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs, exception: Exception) {
    for_current(cpu, |cx| {
        end(cx, crate::trap::return_fault(cx, regs, exception))
    });
}

/// The platform raised an NMI that is for dom0: its first vCPU is to hear of it. `reason` is of
/// `XEN_NMIREASON_*`.
pub fn nmi<M: Machine>(cpu: &PerCpu<M>, reason: u64) {
    const REASON: usize = (core::mem::offset_of!(SharedInfo, arch)
        + core::mem::offset_of!(ArchSharedInfo, nmi_reason))
        / 8;
    let Some(dom0) = cpu.hv.dom0.get() else {
        return;
    };
    let shared = dom0
        .memory
        .shared_info
        .get()
        .and_then(|mfn| cpu.hv.machine.page(*mfn));
    if let Some(word) = shared.and_then(|page| page.get(REASON)) {
        word.fetch_or(reason, Ordering::AcqRel);
    }
    if let Some(vcpu) = dom0.vcpu(VcpuId(0)) {
        vcpu.nmi_pending.store(true, Ordering::Release);
        crate::sched::wake(cpu.hv, &vcpu, cpu.id);
    }
}

/// An interrupt came, while a guest ran or while this CPU waited for one.
pub fn interrupt<M: Machine>(cpu: &PerCpu<M>, interrupt: Interrupt) {
    let shared = cpu.shared();
    match interrupt {
        Interrupt::Timer => {
            shared
                .pending
                .fetch_or(Pending::TIMER.bits(), Ordering::AcqRel);
        }
        // The bits that the sender set are looked at on the way out.
        Interrupt::Kick => {}
        Interrupt::Device(vector) => crate::irq::device_interrupt(cpu, vector),
        Interrupt::Serial => crate::console::serial_input(cpu),
    }
}

/// Does what is pending and returns once `regs` holds a vCPU that is to run now.
#[inline]
pub fn leave<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs) {
    let goes_on = may_go_on(cpu, &cpu.current.borrow());
    if !goes_on {
        leave_later(cpu, regs);
    }
}

/// Whether the running vCPU can go straight on: nothing is pending on its CPU or for itself. Never so for the idle
/// vCPU, which has no `vcpu_info`.
#[inline]
fn may_go_on<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>) -> bool {
    cpu.shared().pending.load(Ordering::Acquire) == 0
        && crate::sched::is_runnable(vcpu)
        && !vcpu.nmi_pending.load(Ordering::Relaxed)
        && cpu.info.get().is_some_and(|info| !info.ready())
}

/// The way out with something to do.
#[inline(never)]
fn leave_later<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs) {
    loop {
        if crate::sched::is_due(cpu) {
            settle(cpu, regs);
        }
        for_current(cpu, |cx| end(cx, crate::trap::deliver_pending(cx, regs)));
        if cpu.shared().pending.load(Ordering::Acquire) == 0 {
            return;
        }
    }
}

/// Works off what is pending, and waits until there is a vCPU to run.
#[inline(never)]
fn settle<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs) {
    loop {
        crate::sched::work(cpu, regs);
        if !Arc::ptr_eq(&cpu.current.borrow(), &cpu.idle) {
            return;
        }
        crate::sched::idle(cpu);
    }
}

/// Runs something on behalf of the vCPU whose registers are in the frame. It is borrowed, not cloned, to spare
/// the hot paths two locked instructions: the CPU goes over to another one only in [`leave`].
#[inline]
fn for_current<M: Machine, T>(cpu: &PerCpu<M>, run: impl FnOnce(&Cx<'_, M>) -> T) -> T {
    let vcpu = cpu.current.borrow();
    run(&Cx {
        hv: cpu.hv,
        cpu,
        vcpu: &vcpu,
    })
}

/// Carries out what a trap's handling ended in.
fn end<M: Machine>(cx: &Cx<'_, M>, outcome: Result<(), Stop>) {
    if let Err(Stop::Crash(reason)) = outcome {
        crate::domain::crash(cx, reason);
    }
}
