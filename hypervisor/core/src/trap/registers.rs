//! General registers by their number in an instruction.

use oxen_abi::arch_x86::CpuUserRegs;

/// The register with this number (0-15).
pub(super) fn gpr(regs: &mut CpuUserRegs, number: u8) -> &mut u64 {
    match number & 15 {
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
    }
}

/// The low half of a register.
#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
pub(super) const fn low(value: u64) -> u32 {
    value as u32
}

/// EDX:EAX.
pub(super) const fn pair(regs: &CpuUserRegs) -> u64 {
    (regs.rdx << 32) | low(regs.rax) as u64
}

/// Sets EDX:EAX; the upper halves become zero.
pub(super) fn set_pair(regs: &mut CpuUserRegs, value: u64) {
    regs.rax = u64::from(low(value));
    regs.rdx = value >> 32;
}
