//! Privileged instructions of guests, done for them.

use oxen_abi::arch_x86::{CpuUserRegs, FLAT_RING3_CS32, FLAT_RING3_CS64};

use super::bounce::inject;
use super::control_register as cr;
use super::decode::{Instruction, MAX_LENGTH, Operation, decode};
use super::registers::{gpr, low, pair, set_pair};
use super::{cpuid, debug, io_port, msr};
use crate::error::Stop;
use crate::event;
use crate::guest::GuestHandle;
use crate::machine::{Base, Machine};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;
use crate::types::PAGE_SIZE;

const DEBUG: u8 = 1;
const TRAP_FLAG: u64 = 1 << 8;
const RESUME_FLAG: u64 = 1 << 16;
/// A descriptor's L bit.
const LONG: u64 = 1 << 53;

/// What an emulated instruction ended in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It is done: RIP goes on.
    Done,
    /// A part of a repeated one is done, or another CPU is at what it needs: the guest executes it again.
    Again,
    /// The guest gets the #GP.
    Refused,
    /// The guest gets a #PF instead: a string instruction's address could not be used.
    Fault {
        /// The address.
        addr: u64,
        /// It was to be written to.
        write: bool,
    },
}

/// Emulates the instruction at RIP, which raised #GP. Returns whether the fault is dealt with.
pub(super) fn emulate<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) -> Result<bool, Stop> {
    let mut code = [0; MAX_LENGTH];
    let fetched = fetch(cx, regs.rip, &mut code);
    let Some(instruction) = decode(fetched, is_long(cx, regs.cs)) else {
        return Ok(false);
    };
    match perform(cx, regs, &instruction)? {
        Outcome::Done => {
            complete(cx, regs, u64::from(instruction.length))?;
            Ok(true)
        }
        Outcome::Again => Ok(true),
        Outcome::Refused => Ok(false),
        Outcome::Fault { addr, write } => {
            super::page_fault::of_emulation(cx, regs, addr, write)?;
            Ok(true)
        }
    }
}

/// Moves RIP past an instruction that was emulated; a single-stepping guest gets its #DB.
pub(super) fn complete<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    length: u64,
) -> Result<(), Stop> {
    regs.rip = regs.rip.wrapping_add(length);
    regs.rflags &= !RESUME_FLAG;
    if regs.rflags & TRAP_FLAG == 0 {
        return Ok(());
    }
    debug::note_step(cx);
    inject(cx, regs, DEBUG, None)
}

/// The bytes at `rip`, each read once; fewer than asked for where the next page is not there.
fn fetch<'a, M: Machine>(cx: &Cx<'_, M>, rip: u64, code: &'a mut [u8; MAX_LENGTH]) -> &'a [u8] {
    let in_page = usize::try_from(PAGE_SIZE - rip % PAGE_SIZE).unwrap_or(MAX_LENGTH);
    let first = in_page.min(MAX_LENGTH);
    let (head, tail) = code.split_at_mut(first);
    if cx.machine().copy_from_guest(rip, head).is_err() {
        return &[];
    }
    let whole = tail.is_empty()
        || rip
            .checked_add(first as u64)
            .is_some_and(|next| cx.machine().copy_from_guest(next, tail).is_ok());
    code.get(..if whole { MAX_LENGTH } else { first })
        .unwrap_or(&[])
}

/// Whether a code selector is that of a 64-bit segment.
fn is_long<M: Machine>(cx: &Cx<'_, M>, selector: u16) -> bool {
    const TABLE_INDICATOR: u16 = 4;
    match selector {
        FLAT_RING3_CS64 => return true,
        FLAT_RING3_CS32 => return false,
        _ => {}
    }
    let index = u64::from(selector >> 3);
    let (ldt, frame) = {
        let arch = cx.vcpu.arch.lock();
        let page = usize::from(selector >> 3) / 512;
        (arch.ldt, arch.gdt.get(page).copied().flatten())
    };
    let descriptor = if selector & TABLE_INDICATOR != 0 {
        (index < u64::from(ldt.1))
            .then(|| {
                GuestHandle::<u64>::new(ldt.0)
                    .read_at(cx.machine(), index)
                    .ok()
            })
            .flatten()
    } else {
        frame
            .and_then(|mfn| cx.machine().page(mfn))
            .and_then(|page| page.get(usize::from(selector >> 3) % 512))
            .map(|word| word.load(Ordering::Relaxed))
    };
    descriptor.is_some_and(|descriptor| descriptor & LONG != 0)
}

fn perform<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    instruction: &Instruction,
) -> Result<Outcome, Stop> {
    let kernel_mode = cx.vcpu.kernel_mode.load(Ordering::Relaxed);
    let done = |yes: bool| if yes { Outcome::Done } else { Outcome::Refused };
    let outcome = match instruction.operation {
        Operation::In(_) | Operation::Out(_) | Operation::Ins | Operation::Outs => {
            io_port::perform(cx, regs, instruction)
        }
        // Accepted where the guest has the privilege, but without effect, for POPF cannot be seen:
        // a guest that relied on it would stay masked.
        Operation::InterruptFlag => done(io_port::has_iopl(cx)),
        _ if !kernel_mode => Outcome::Refused,
        Operation::Clts => {
            cr::set_ts(cx, false);
            Outcome::Done
        }
        Operation::FlushCache => {
            if cx.domain().permissions.lock().iomem.iter().next().is_none() {
                // Without devices there is nobody who sees the caches.
                return Ok(Outcome::Done);
            }
            cx.machine().flush_cache();
            Outcome::Done
        }
        Operation::ReadCr { cr, gpr: to } => read_cr(cx, cr).map_or(Outcome::Refused, |value| {
            *gpr(regs, to) = value;
            Outcome::Done
        }),
        Operation::WriteCr { cr, gpr: from } => {
            let value = *gpr(regs, from);
            done(write_cr(cx, cr, value))
        }
        Operation::ReadDr { dr, gpr: to } => match debug::get_debugreg(cx, alias(cx, dr)) {
            Ok(value) => {
                *gpr(regs, to) = value;
                Outcome::Done
            }
            Err(_) => Outcome::Refused,
        },
        Operation::WriteDr { dr, gpr: from } => {
            let value = *gpr(regs, from);
            done(debug::set_debugreg(cx, alias(cx, dr), value).is_ok())
        }
        Operation::Rdmsr => match msr::read(cx, low(regs.rcx)) {
            Some(value) => {
                set_pair(regs, value);
                Outcome::Done
            }
            None => {
                let (vcpu, msr) = (cx.vcpu.id.0, low(regs.rcx));
                crate::guest_debug!(cx.hv, cx.domain().id, "v{vcpu}: RDMSR {msr:#x} is refused");
                Outcome::Refused
            }
        },
        Operation::Wrmsr => {
            let (vcpu, msr, value) = (cx.vcpu.id.0, low(regs.rcx), pair(regs));
            let outcome = msr::write(cx, msr, value);
            if outcome == Outcome::Refused {
                crate::guest_debug!(
                    cx.hv,
                    cx.domain().id,
                    "v{vcpu}: WRMSR {msr:#x}, {value:#x} is refused"
                );
            }
            outcome
        }
        Operation::Xsetbv => {
            let enabled = cr::cr4(cx) & cr::CR4_OSXSAVE != 0;
            done(enabled && low(regs.rcx) == 0 && cx.machine().set_xcr0(pair(regs)))
        }
        // The guest has set CR4.TSD, which is about its processes.
        Operation::Rdtsc | Operation::Rdtscp => {
            let now = msr::read(cx, msr::TSC).unwrap_or(0);
            set_pair(regs, now);
            if instruction.operation == Operation::Rdtscp {
                regs.rcx = u64::from(cx.vcpu.arch.lock().traps.tsc_aux);
            }
            Outcome::Done
        }
        Operation::Cpuid => {
            cpuid::emulate(cx, regs);
            Outcome::Done
        }
    };
    Ok(outcome)
}

/// DR4 and DR5 are DR6 and DR7 while CR4.DE is clear.
fn alias<M: Machine>(cx: &Cx<'_, M>, dr: u8) -> u64 {
    const CR4_DE: u64 = 1 << 3;
    let dr = u64::from(dr);
    if matches!(dr, 4 | 5) && cr::cr4(cx) & CR4_DE == 0 {
        dr + 2
    } else {
        dr
    }
}

fn read_cr<M: Machine>(cx: &Cx<'_, M>, number: u8) -> Option<u64> {
    match number {
        0 => Some(cr::cr0(cx)),
        2 => Some(event::info(cx.machine(), cx.vcpu).map_or(0, event::InfoWords::cr2)),
        3 => cx.vcpu.arch.lock().kernel_root.map(|root| root.address()),
        4 => Some(cr::cr4(cx)),
        _ => None,
    }
}

fn write_cr<M: Machine>(cx: &Cx<'_, M>, number: u8, value: u64) -> bool {
    match number {
        0 => cr::set_cr0(cx, value),
        2 => event::info(cx.machine(), cx.vcpu)
            .map(|info| info.set_cr2(value))
            .is_some(),
        4 => {
            cr::set_cr4(cx, value);
            true
        }
        // CR3 is MMUEXT_NEW_BASEPTR's.
        _ => false,
    }
}

/// The base that a segment override adds.
pub(super) fn segment_base<M: Machine>(cx: &Cx<'_, M>, instruction: &Instruction) -> u64 {
    use super::decode::Segment;
    match instruction.segment {
        Some(Segment::Fs) => cx.machine().base(Base::Fs),
        Some(Segment::Gs) => cx.machine().base(Base::Gs),
        None => 0,
    }
}
