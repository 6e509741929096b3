//! Entering a guest's handler: the frame on its kernel stack, as the 64-bit PV ABI has it.
//!
//! From the lowest address: RCX, R11, then for the failsafe callback DS, ES, FS, GS, then the
//! error code if there is one, then RIP, CS with the saved upcall mask in bits 32-39, RFLAGS,
//! RSP, SS. The handler takes RCX and R11 off the stack, so both are free to make the entry look
//! like the end of a SYSCALL, which is the machine's fastest way into a guest.

use oxen_abi::arch_x86::{CpuUserRegs, FLAT_KERNEL_CS, FLAT_KERNEL_SS};

use crate::error::Stop;
use crate::event;
use crate::machine::{Machine, SegmentState};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

/// RFLAGS: interrupts on.
const IF: u64 = 1 << 9;
/// RFLAGS: TF, DF, IOPL, NT, RF, VM, AC, which a handler starts without. (DF too: handlers of
/// SYSCALL expect it clear, and those of exceptions clear it themselves.)
const CLEARED: u64 = 0x0007_7500;
/// RFLAGS: IF and IOPL, of which the guest sees its virtual ones.
const VIRTUAL: u64 = 0x3200;

/// Which handler, and what comes with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The handler.
    pub(super) address: u64,
    /// Whether events are masked on the way in.
    pub(super) masks: bool,
    /// Error code.
    pub(super) error: Option<u32>,
    /// Segment selectors, for the failsafe callback.
    pub(super) segments: Option<SegmentState>,
}

/// A frame: it is built from the end, where what every frame has lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    words: [u64; MAX_WORDS],
    first: usize,
}

const MAX_WORDS: usize = 12;

impl Frame {
    /// The words, from the lowest address on.
    pub(super) fn words(&self) -> &[u64] {
        self.words.get(self.first..).unwrap_or(&[])
    }

    fn push_below<const N: usize>(&mut self, words: [u64; N]) {
        let Some(first) = self.first.checked_sub(N) else {
            return;
        };
        if let Some(place) = self.words.get_mut(first..self.first) {
            place.copy_from_slice(&words);
            self.first = first;
        }
    }
}

/// The frame for interrupted `regs`.
#[cfg(test)]
pub(super) fn frame(regs: &CpuUserRegs, kernel_mode: bool, masked: bool, target: &Target) -> Frame {
    let mut frame = Frame::NONE;
    frame.fill(regs, kernel_mode, masked, 0, target);
    frame
}

impl Frame {
    const NONE: Self = Self {
        words: [0; MAX_WORDS],
        first: MAX_WORDS,
    };

    /// Works out the frame for interrupted `regs`; `iopl` goes into the flags. In place: copying it would cost as much again.
    #[inline(always)]
    fn fill(
        &mut self,
        regs: &CpuUserRegs,
        kernel_mode: bool,
        masked: bool,
        iopl: u64,
        target: &Target,
    ) {
        // The guest tells its kernel from its processes by the selector's privilege level.
        let cs = if kernel_mode {
            regs.cs & !3
        } else {
            regs.cs | 3
        };
        self.push_below([
            regs.rip,
            u64::from(cs) | (u64::from(u8::from(masked)) << 32),
            (regs.rflags & !VIRTUAL) | iopl | if masked { 0 } else { IF },
            regs.rsp,
            u64::from(regs.ss),
        ]);
        if let Some(error) = target.error {
            self.push_below([u64::from(error)]);
        }
        if let Some(segments) = &target.segments {
            let selectors = [segments.ds, segments.es, segments.fs, segments.gs];
            self.push_below(selectors.map(u64::from));
        }
        self.push_below([regs.rcx, regs.r11]);
    }
}

/// Where a frame of so many bytes goes on a stack: the part above the error code is aligned to 16.
pub(super) fn frame_address(stack: u64, words: usize) -> u64 {
    (stack & !15).wrapping_sub(words as u64 * 8)
}

/// Makes the guest go on in a handler. A guest without the handler, or whose stack can't take the
/// frame, is at its end.
#[inline(never)]
pub(super) fn bounce<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    target: &Target,
) -> Result<(), Stop> {
    enter(cx, regs, target)
}

/// [`bounce`], to be compiled for what is known of the target.
#[inline(always)]
fn enter<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs, target: &Target) -> Result<(), Stop> {
    if target.address == 0 {
        return Err(Stop::Crash(
            "a trap came for which the guest has no handler",
        ));
    }
    let machine = cx.machine();
    let kernel_mode = cx.vcpu.kernel_mode.load(Ordering::Relaxed);
    let info = event::current_info(cx);
    let masked = info.is_some_and(event::InfoWords::masked);
    let mut frame = Frame::NONE;
    let iopl = if super::io_port::shows_iopl(cx) {
        super::io_port::iopl_flags(cx)
    } else {
        0
    };
    frame.fill(regs, kernel_mode, masked, iopl, target);
    let stack = if kernel_mode {
        regs.rsp
    } else {
        super::mode::to_kernel(cx)?
    };
    let top = frame_address(stack, frame.words().len());
    machine
        .copy_to_guest(top, zerocopy::IntoBytes::as_bytes(frame.words()))
        .map_err(|_| Stop::Crash("the kernel stack cannot take a trap's frame"))?;
    if target.masks
        && let Some(info) = info
    {
        info.set_masked(machine, true);
    }
    regs.rip = target.address;
    regs.cs = FLAT_KERNEL_CS;
    regs.rsp = top;
    regs.ss = FLAT_KERNEL_SS;
    regs.rflags = (regs.rflags & !CLEARED) | IF;
    regs.rcx = regs.rip;
    regs.r11 = regs.rflags;
    Ok(())
}

/// Makes the guest go on in its handler for an exception.
pub(super) fn inject<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    vector: u8,
    error: Option<u32>,
) -> Result<(), Stop> {
    let gate = cx.vcpu.arch.lock().traps.gate(vector);
    if gate.address == 0 {
        no_handler(cx, regs, vector);
    }
    let target = |error| Target {
        address: gate.address,
        masks: gate.masks(),
        error,
        segments: None,
    };
    match error {
        Some(error) => enter(cx, regs, &target(Some(error))),
        None => enter(cx, regs, &target(None)),
    }
}

#[cold]
fn no_handler<M: Machine>(cx: &Cx<'_, M>, regs: &CpuUserRegs, vector: u8) {
    crate::guest_warning!(
        cx.hv,
        cx.domain().id,
        "v{}: vector {vector} at {:#x}, which the guest has no handler for",
        cx.vcpu.id.0,
        regs.rip
    );
}
