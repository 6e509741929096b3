//! Writable page tables: a guest kernel that writes to a (read-only mapped) L1 table with an
//! ordinary instruction faults, and the write is done for it, checked as `mmu_update` would.

mod decode;

use oxen_abi::arch_x86::CpuUserRegs;
use oxen_abi::xen::VMASST_TYPE_WRITABLE_PAGETABLES;

use crate::machine::Machine;
use crate::mm::entry::{EntryPlace, Update, replace_leaf};
use crate::mm::frame::PageType;
use crate::mm::types::{MmError, get_type, put_type, read_entry};
use crate::mm::{get_page, pte, put_page, walk};
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

use decode::{Action, Instruction, Registers, decode, operand, truncate};

const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;

impl Registers for CpuUserRegs {
    fn get(&self, reg: u8) -> u64 {
        match reg & 15 {
            0 => self.rax,
            1 => self.rcx,
            2 => self.rdx,
            3 => self.rbx,
            4 => self.rsp,
            5 => self.rbp,
            6 => self.rsi,
            7 => self.rdi,
            8 => self.r8,
            9 => self.r9,
            10 => self.r10,
            11 => self.r11,
            12 => self.r12,
            13 => self.r13,
            14 => self.r14,
            _ => self.r15,
        }
    }
}

fn set_register(regs: &mut CpuUserRegs, reg: u8, value: u64) {
    let place = match reg & 15 {
        0 => &mut regs.rax,
        1 => &mut regs.rcx,
        2 => &mut regs.rdx,
        3 => &mut regs.rbx,
        4 => &mut regs.rsp,
        5 => &mut regs.rbp,
        6 => &mut regs.rsi,
        7 => &mut regs.rdi,
        8 => &mut regs.r8,
        9 => &mut regs.r9,
        10 => &mut regs.r10,
        11 => &mut regs.r11,
        12 => &mut regs.r12,
        13 => &mut regs.r13,
        14 => &mut regs.r14,
        _ => &mut regs.r15,
    };
    *place = value;
}

/// Writes a register operand of `size` bytes; four bytes clear the upper half.
fn set_operand(regs: &mut CpuUserRegs, reg: u8, size: u8, high_bytes: bool, value: u64) {
    if size == 1 && high_bytes && (4..8).contains(&reg) {
        let old = regs.get(reg - 4);
        set_register(regs, reg - 4, old & !0xff00 | (value & 0xff) << 8);
        return;
    }
    let old = regs.get(reg);
    let value = match size {
        1 => old & !0xff | value & 0xff,
        2 => old & !0xffff | value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => value,
    };
    set_register(regs, reg, value);
}

/// A write fault at `addr` in guest-kernel mode: does the write if `addr` is an entry of one of
/// the guest's L1 tables, for guests that have asked for this and for the control domain, whose
/// kernel relies on it. `false` if the fault is the guest's own.
pub fn write_fault<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs, addr: u64) -> bool {
    let assists = cx.domain().vm_assist.load(Ordering::Relaxed);
    if assists & (1 << VMASST_TYPE_WRITABLE_PAGETABLES) == 0 && !cx.domain().privileged {
        return false;
    }
    let Some(root) = cx.vcpu.arch.lock().kernel_root else {
        return false;
    };
    let Some((mapping, _)) = walk::translate(cx.machine(), root, addr) else {
        return false;
    };
    let table = pte::frame(mapping);
    let domain = cx.domain();
    if mapping & pte::RW != 0 || !get_page(cx.machine(), table, domain.id) {
        return false;
    }
    let is_l1 = cx
        .machine()
        .frame(table)
        .is_some_and(|frame| frame.types().kind() == PageType::L1 && frame.types().held());
    let done = is_l1
        && match get_type(cx.cpu, domain, table, PageType::L1) {
            Ok(()) => {
                let done = emulate(cx, regs, table, addr);
                let _ = put_type(cx.cpu, table);
                done
            }
            // Another CPU works on the table: the guest executes the instruction again.
            Err(MmError::Restart) => true,
            Err(MmError::Errno(_)) => false,
        };
    put_page(cx.hv, table);
    done
}

/// What an instruction stores to memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// Length of the instruction in bytes.
    pub(crate) length: u8,
    /// Bytes stored: 1, 2, 4 or 8.
    pub(crate) size: u8,
    /// The value.
    pub(crate) value: u64,
}

/// The instruction at RIP, if it is a plain store to memory.
pub(crate) fn stored<M: Machine>(cx: &Cx<'_, M>, regs: &CpuUserRegs) -> Option<Stored> {
    let (bytes, length) = fetch(cx, regs.rip);
    let found = decode(bytes.get(..length)?, regs)?;
    let Action::Store(value) = found.action else {
        return None;
    };
    Some(Stored {
        length: found.length,
        size: found.size,
        value,
    })
}

fn fetch<M: Machine>(cx: &Cx<'_, M>, rip: u64) -> ([u8; 15], usize) {
    let mut bytes = [0; 15];
    let to_page_end = usize::try_from(0x1000 - (rip & 0xfff)).unwrap_or(0);
    if cx.machine().copy_from_guest(rip, &mut bytes).is_ok() {
        return (bytes, 15);
    }
    let length = to_page_end.min(15);
    match bytes
        .get_mut(..length)
        .map(|part| cx.machine().copy_from_guest(rip, part))
    {
        Some(Ok(())) => (bytes, length),
        _ => (bytes, 0),
    }
}

fn emulate<M: Machine>(
    cx: &Cx<'_, M>,
    regs: &mut CpuUserRegs,
    table: crate::types::Mfn,
    addr: u64,
) -> bool {
    let (bytes, length) = fetch(cx, regs.rip);
    let Some(found) = bytes.get(..length).and_then(|bytes| decode(bytes, regs)) else {
        return false;
    };
    let offset = addr & 7;
    if offset + u64::from(found.size) > 8 {
        return false;
    }
    let index = usize::try_from((addr & 0xfff) / 8).unwrap_or(0);
    let shift = 8 * offset;
    let mask = truncate(u64::MAX, found.size) << shift;
    let entry = read_entry(&cx.hv.machine, table, index);
    let old = (entry & mask) >> shift;
    let (new, flags) = compute(&found, regs, old);
    let value = entry & !mask | (new << shift) & mask;
    if value != entry {
        // The processor may set accessed and dirty bits meanwhile. A plain store overwrites them,
        // as it would on the processor; any other update is done anew then.
        let how = match found.action {
            Action::Store(_) => Update::Plain,
            _ => Update::IfStill(entry),
        };
        let domain = cx.domain();
        let place = EntryPlace {
            table,
            level: 1,
            index,
        };
        match replace_leaf(cx.cpu, domain, domain.id, place, value, how) {
            Ok(()) => {}
            Err(MmError::Restart) => return true,
            Err(MmError::Errno(_)) => return false,
        }
    }
    finish(&found, regs, old, flags);
    regs.rip = regs.rip.wrapping_add(u64::from(found.length));
    true
}

/// The new memory operand, and the arithmetic flags (`None`: unchanged).
fn compute(found: &Instruction, regs: &CpuUserRegs, old: u64) -> (u64, Option<u64>) {
    let size = found.size;
    let logic = |value: u64| (value, Some(result_flags(value, size)));
    match found.action {
        Action::Store(value) | Action::Exchange { value, .. } => (value, None),
        Action::CompareExchange(value) => {
            let accumulator = operand(regs, 0, size, false);
            let (_, flags) = subtract(accumulator, old, size);
            (if accumulator == old { value } else { old }, Some(flags))
        }
        Action::ExchangeAdd { value, .. } | Action::Add(value) => {
            let (sum, flags) = add(old, value, size);
            (sum, Some(flags))
        }
        Action::Subtract(value) => {
            let (difference, flags) = subtract(old, value, size);
            (difference, Some(flags))
        }
        Action::And(value) => logic(old & value),
        Action::Or(value) => logic(old | value),
        Action::Xor(value) => logic(old ^ value),
        Action::SetBit(bit) => (old | 1 << bit, Some(bit_flags(regs, old, bit))),
        Action::ClearBit(bit) => (old & !(1 << bit), Some(bit_flags(regs, old, bit))),
        Action::FlipBit(bit) => (old ^ 1 << bit, Some(bit_flags(regs, old, bit))),
    }
}

/// Register results and flags, once memory was written.
fn finish(found: &Instruction, regs: &mut CpuUserRegs, old: u64, flags: Option<u64>) {
    match found.action {
        Action::Exchange { reg, .. } | Action::ExchangeAdd { reg, .. } => {
            set_operand(regs, reg, found.size, found.high_bytes, old);
        }
        Action::CompareExchange(_) if operand(regs, 0, found.size, false) != old => {
            set_operand(regs, 0, found.size, false, old);
        }
        _ => {}
    }
    if let Some(flags) = flags {
        regs.rflags = regs.rflags & !ARITHMETIC | flags;
    }
}

fn sign_bit(size: u8) -> u64 {
    1 << (8 * u32::from(size) - 1)
}

fn result_flags(value: u64, size: u8) -> u64 {
    let value = truncate(value, size);
    let mut flags = 0;
    if value == 0 {
        flags |= ZF;
    }
    if value & sign_bit(size) != 0 {
        flags |= SF;
    }
    if (value & 0xff).count_ones().is_multiple_of(2) {
        flags |= PF;
    }
    flags
}

fn add(a: u64, b: u64, size: u8) -> (u64, u64) {
    let sum = truncate(a.wrapping_add(b), size);
    let mut flags = result_flags(sum, size) | ((a ^ b ^ sum) & AF);
    if sum < truncate(a, size) {
        flags |= CF;
    }
    if (a ^ sum) & (b ^ sum) & sign_bit(size) != 0 {
        flags |= OF;
    }
    (sum, flags)
}

fn subtract(a: u64, b: u64, size: u8) -> (u64, u64) {
    let difference = truncate(a.wrapping_sub(b), size);
    let mut flags = result_flags(difference, size) | ((a ^ b ^ difference) & AF);
    if truncate(a, size) < truncate(b, size) {
        flags |= CF;
    }
    if (a ^ b) & (a ^ difference) & sign_bit(size) != 0 {
        flags |= OF;
    }
    (difference, flags)
}

/// Bit operations change CF only.
fn bit_flags(regs: &CpuUserRegs, old: u64, bit: u64) -> u64 {
    let cf = if old & 1 << bit != 0 { CF } else { 0 };
    regs.rflags & ARITHMETIC & !CF | cf
}
