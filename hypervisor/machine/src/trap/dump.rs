//! What the hypervisor says when it traps where it must not.

use core::fmt::{self, Write};

use super::HostFrame;
use super::vectors::PAGE_FAULT;

const NAMES: [&str; 22] = [
    "#DE divide error",
    "#DB debug",
    "NMI",
    "#BP breakpoint",
    "#OF overflow",
    "#BR bound range",
    "#UD invalid opcode",
    "#NM no FPU",
    "#DF double fault",
    "coprocessor overrun",
    "#TS invalid TSS",
    "#NP segment not present",
    "#SS stack fault",
    "#GP general protection",
    "#PF page fault",
    "reserved",
    "#MF x87 error",
    "#AC alignment",
    "#MC machine check",
    "#XM SIMD error",
    "#VE virtualisation",
    "#CP control protection",
];

/// Prints the registers of an interrupted frame.
pub(crate) fn dump_host_frame(frame: &HostFrame, out: &mut dyn Write) -> fmt::Result {
    let f = frame;
    writeln!(
        out,
        "rip {:#018x} cs {:#06x} rflags {:#08x}",
        f.rip,
        f.cs & 0xffff,
        f.rflags
    )?;
    writeln!(
        out,
        "rsp {:#018x} ss {:#06x} error {:#x}",
        f.rsp,
        f.ss & 0xffff,
        f.error_code
    )?;
    writeln!(
        out,
        "rax {:#018x} rbx {:#018x} rcx {:#018x} rdx {:#018x}",
        f.rax, f.rbx, f.rcx, f.rdx
    )?;
    writeln!(
        out,
        "rsi {:#018x} rdi {:#018x} rbp {:#018x} r8  {:#018x}",
        f.rsi, f.rdi, f.rbp, f.r8
    )?;
    writeln!(
        out,
        "r9  {:#018x} r10 {:#018x} r11 {:#018x} r12 {:#018x}",
        f.r9, f.r10, f.r11, f.r12
    )?;
    writeln!(
        out,
        "r13 {:#018x} r14 {:#018x} r15 {:#018x}",
        f.r13, f.r14, f.r15
    )?;
    let [cr0, cr2, cr3, cr4] = crate::control::control_registers();
    writeln!(out, "cr0 {cr0:#x} cr2 {cr2:#x} cr3 {cr3:#x} cr4 {cr4:#x}")
}

/// A trap that nothing reckoned with: the hypervisor's state can't be trusted any more.
pub(super) fn die(frame: &HostFrame) -> ! {
    let name = usize::try_from(frame.entry_vector)
        .ok()
        .and_then(|vector| NAMES.get(vector))
        .copied()
        .unwrap_or("unknown trap");
    let place = if frame.entry_vector == PAGE_FAULT {
        crate::control::cr2()
    } else {
        0
    };
    crate::panic::fatal_trap(name, place, frame)
}
