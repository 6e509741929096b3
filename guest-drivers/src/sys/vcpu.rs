//! The second vCPU.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::arch_x86::{FLAT_KERNEL_CS, FLAT_KERNEL_SS, VGCF_IN_KERNEL, VcpuGuestContext};

use super::{probe, trap};

/// Bytes of each further stack.
const STACK_SIZE: usize = 32 << 10;

global_asm!(
    ".pushsection .text.secondary, \"ax\", @progbits",
    ".globl secondary_start",
    "secondary_start:",
    "cld",
    "xor ebp, ebp",
    "call {entry}",
    "ud2",
    ".popsection",
    ".pushsection .bss.stacks, \"aw\", @nobits",
    ".balign 4096",
    ".globl secondary_stack, user_trap_stack",
    "secondary_stack: .skip {size}",
    "user_trap_stack: .skip {size}",
    ".popsection",
    size = const STACK_SIZE,
    entry = sym secondary,
);

unsafe extern "C" {
    static secondary_stack: u8;
    static user_trap_stack: u8;
    fn secondary_start();
}

fn secondary_stack_range() -> core::ops::Range<u64> {
    let start = (&raw const secondary_stack) as u64;
    start..start + STACK_SIZE as u64
}

/// Top of the stack for traps from user mode.
#[must_use]
pub fn user_trap_stack_top() -> u64 {
    (&raw const user_trap_stack) as u64 + STACK_SIZE as u64
}

/// The vCPU this runs on, told by its stack.
#[must_use]
pub fn current() -> usize {
    let stack: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) stack) };
    usize::from(secondary_stack_range().contains(&stack))
}

/// How often the second vCPU came round its loop.
pub static ROUNDS: AtomicU64 = AtomicU64::new(0);
/// System time of the second vCPU's last round.
pub static TIME: AtomicU64 = AtomicU64::new(0);
/// 1: the second vCPU blocks between rounds; 2: it takes itself down.
pub static COMMAND: AtomicU64 = AtomicU64::new(0);

extern "C" fn secondary() -> ! {
    loop {
        TIME.store(crate::time::now(), Ordering::SeqCst);
        ROUNDS.fetch_add(1, Ordering::SeqCst);
        crate::kernel::secondary_round(COMMAND.load(Ordering::SeqCst));
    }
}

/// The context with which the second vCPU starts.
///
/// # Errors
/// The trap of reading CR3.
pub fn context() -> probe::Probe<VcpuGuestContext> {
    let mut context = VcpuGuestContext {
        flags: VGCF_IN_KERNEL,
        kernel_ss: u64::from(FLAT_KERNEL_SS),
        kernel_sp: secondary_stack_range().end,
        event_callback_eip: trap::event_callback_address(),
        failsafe_callback_eip: trap::failsafe_callback_address(),
        syscall_callback_eip: trap::syscall_callback_address(),
        ..VcpuGuestContext::default()
    };
    context.user_regs.rip = secondary_start as *const () as u64;
    context.user_regs.rsp = secondary_stack_range().end;
    context.user_regs.rflags = 0x202;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.ctrlreg[3] = probe::read_cr3()?;
    for entry in trap::table(&[]) {
        if entry.address != 0 {
            context.trap_ctxt[usize::from(entry.vector)] = entry;
        }
    }
    Ok(context)
}
