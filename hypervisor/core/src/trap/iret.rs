//! Leaving a handler: the iret hypercall, and what happens when the frame it names is no good.

use oxen_abi::arch_x86::{CpuUserRegs, FLAT_RING3_CS32, IretContext, VGCF_IN_SYSCALL};

use super::bounce::{Target, bounce, inject};
use super::exception::{SYSRET_SELECTORS, has_error};
use super::page_fault::page_fault;
use super::state::CallbackKind;
use super::{io_port, mode};
use crate::entry::Exception;
use crate::error::Stop;
use crate::event;
use crate::guest::GuestHandle;
use crate::machine::{Machine, SegmentState};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

const IF: u64 = 1 << 9;
const IOPL: u64 = 3 << 12;
const VM: u64 = 1 << 17;
const PAGE_FAULT: u8 = 14;

/// `HYPERVISOR_iret`: goes on where the frame on the kernel's stack says.
#[inline(never)]
pub fn iret<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) -> Result<(), Stop> {
    let mut frame: IretContext = crate::guest::zeroed();
    GuestHandle::new(regs.rsp)
        .read_into(cx.machine(), &mut frame)
        .map_err(|_| Stop::Crash("the frame of an iret cannot be read"))?;
    if selector(frame.cs) & 3 == 3 {
        mode::enter_user(cx)?;
    }
    if let Some(info) = event::current_info(cx) {
        info.set_masked(cx.machine(), frame.rflags & IF == 0);
    }
    cx.vcpu.in_nmi.store(false, Ordering::Relaxed);
    if io_port::shows_iopl(cx) {
        io_port::set_iopl_flags(cx, frame.rflags);
    }
    restore(regs, &frame);
    Ok(())
}

/// Sets the registers that the frame has.
fn restore(regs: &mut CpuUserRegs, frame: &IretContext) {
    regs.rax = frame.rax;
    regs.rip = frame.rip;
    regs.cs = selector(frame.cs) | 3;
    regs.rflags = (frame.rflags & !(IOPL | VM)) | IF;
    regs.rsp = frame.rsp;
    regs.ss = selector(frame.ss) | 3;
    if frame.flags & VGCF_IN_SYSCALL == 0 {
        regs.rcx = frame.rcx;
        regs.r11 = frame.r11;
    } else {
        // As SYSRET would have it.
        regs.rcx = regs.rip;
        regs.r11 = regs.rflags;
        if regs.cs != FLAT_RING3_CS32 {
            (regs.cs, regs.ss) = SYSRET_SELECTORS;
        }
    }
}

/// The selector in the low half-word of a frame's word; the rest is the guest's.
#[allow(clippy::cast_possible_truncation, reason = "the rest is not looked at")]
const fn selector(word: u64) -> u16 {
    word as u16
}

/// The processor refused to go back to the guest with these registers: that is the guest's own
/// exception, raised where it wanted to go.
pub fn return_fault<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    exception: Exception,
) -> Result<(), Stop> {
    if exception.vector == PAGE_FAULT {
        // A selector of the guest's LDT, whose page may not be there yet.
        return page_fault(cx, regs, exception.error, exception.cr2);
    }
    let error = has_error(exception.vector).then_some(exception.error);
    inject(cx, regs, exception.vector, error)
}

/// The processor refused some of these selectors: the guest's failsafe callback is told.
pub fn segments_refused<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    segments: &SegmentState,
) -> Result<(), Stop> {
    let callback = cx.vcpu.arch.lock().traps.callback(CallbackKind::Failsafe);
    let target = Target {
        address: callback.address,
        masks: callback.masks,
        error: None,
        segments: Some(*segments),
    };
    bounce(cx, regs, &target)
}
