//! Trap handlers that do nothing but return, for measuring a bounce.

use core::arch::{asm, global_asm};

use oxen_abi::arch_x86::{FLAT_KERNEL_CS, TrapInfo};
use oxen_abi::hypercall::{HYPERVISOR_IRET, HYPERVISOR_SET_TRAP_TABLE};

use super::{hypercall, trap};

global_asm!(
    ".pushsection .text.bench, \"ax\", @progbits",
    ".balign 16",
    "bench_int3:",
    "pop rcx",
    "pop r11",
    "push 0",
    "push rcx",
    "push r11",
    "push rax",
    "mov eax, {iret}",
    "syscall",
    ".balign 16",
    "bench_page_fault:",
    "pop rcx",
    "pop r11",
    // Behind the instruction, which has 3 bytes; the error code's place takes the flags.
    "add qword ptr [rsp + 8], 3",
    "mov qword ptr [rsp], 0",
    "push rcx",
    "push r11",
    "push rax",
    "mov eax, {iret}",
    "syscall",
    ".balign 16",
    ".globl bench_mark",
    "bench_mark:",
    "nop",
    "ret",
    ".popsection",
    iret = const HYPERVISOR_IRET,
);

unsafe extern "C" {
    fn bench_int3();
    fn bench_page_fault();
    fn bench_mark();
}

/// Does nothing, at an address that a trace shows.
#[inline]
pub fn mark() {
    // SAFETY: it does nothing.
    unsafe { bench_mark() };
}

/// Puts the bare handlers in place of the ordinary ones.
pub fn install() -> hypercall::Result {
    let entry = |vector, handler: unsafe extern "C" fn()| TrapInfo {
        vector,
        flags: 0,
        cs: FLAT_KERNEL_CS,
        address: handler as *const () as u64,
        ..TrapInfo::default()
    };
    let mut table = [
        entry(3, bench_int3),
        entry(14, bench_page_fault),
        TrapInfo::default(),
    ];
    hypercall::call(
        HYPERVISOR_SET_TRAP_TABLE,
        [hypercall::slice_address(&mut table)],
    )
}

/// Puts the ordinary handlers back.
pub fn uninstall() -> hypercall::Result {
    trap::install()
}

/// `int3`, with the bare handlers installed.
#[inline]
pub fn int3() {
    // SAFETY: the handler returns behind the instruction with all registers as they were.
    unsafe { asm!("int3") };
}

/// A read that faults, with the bare handlers installed.
#[inline]
pub fn page_fault(unmapped: u64) {
    // SAFETY: the handler goes on behind the instruction, which has 3 bytes (REX, opcode, ModRM).
    unsafe { asm!("mov rdx, [rsi]", in("rsi") unmapped, out("rdx") _) };
}
