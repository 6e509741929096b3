//! Traps: the way into the hypervisor and back to the guest.
//!
//! Entry code by state (who was interrupted, by what):
//!
//! | entry | from a guest | from the hypervisor |
//! |---|---|---|
//! | SYSCALL, SYSENTER | per-CPU stub finds the main stack; `core` | cannot happen |
//! | exception | main stack (RSP0); `core` | same stack; exception table, else panic |
//! | #DB | #DB stack, then moved to the main stack; `core` | #DB stack; DR6 cleared and forgotten |
//! | interrupt | main stack; `core`, then the way out | same stack: only while waiting for one |
//! | NMI, #MC, #DF | own stack; never into `core` | the same |
//! | fault of the guest-bound IRETQ | (counts as the hypervisor's) | registers moved to the main frame; `core` gives it to the guest |
//!
//! Ways back to a guest: SYSRETQ when the frame looks exactly as SYSCALL would have left it and the return address is
//! canonical, IRETQ otherwise. Both start from the register frame at the top of the main stack, so a context switch is
//! the replacement of that frame.
//!
//! While page tables are isolated ([`crate::isolation`]) a guest's tables map the entry code, `.entry_data`, and the pages
//! of the stack block that the CPU and the entry code write to. From a guest, the full tables are loaded once the
//! registers are saved; the guest's are loaded after the last call on the way back. What interrupts the entry code in
//! between finds by CR3 which tables to go back to.
//!
//! No entry uses SWAPGS: the CPU's data is found from the stack pointer (see [`crate::percpu`]).

pub(crate) mod descriptors;
mod dispatch;
mod dump;
mod entry;
mod extable;
mod frame;
mod host;
mod idt;
mod msrs;
pub(crate) mod vectors;

pub(crate) use descriptors::{ldt_offset, map_gdt, map_ldt_page, set_ldt, use_entry_stacks};
pub(crate) use dispatch::set_core_cpu;
pub(crate) use dispatch::{core_cpu, on_first_entry};
pub(crate) use dump::dump_host_frame;
pub(crate) use entry::CALL_ROOM;
pub(crate) use frame::HostFrame;
pub(crate) use frame::guest_frame;
pub(crate) use idt::page as idt_page;

use crate::percpu::{self, PerCpu};

/// Catches exceptions on the boot CPU while it still runs on the boot stack: they end in a register dump. Called once,
/// before anything that could fault.
pub(crate) fn init_early() {
    descriptors::load_early();
    idt::load();
}

/// Sets this CPU up for guests: descriptor tables, entry points, control registers. Called once on each CPU, on its
/// main stack, with its per-CPU area mapped and its header written; the byte heap works.
pub(crate) fn init_cpu(cpu: &'static PerCpu) {
    debug_assert_eq!(percpu::this_cpu().cpu, cpu.cpu);
    crate::control::init();
    descriptors::load(cpu);
    idt::load();
    entry::set_targets();
    msrs::set(cpu);
    crate::fpu::init_cpu();
}

/// The word of the CPU's header that has its window's entries.
pub(crate) const fn window_word() -> usize {
    entry::word::WINDOW
}

/// The word of the CPU's header that has the entries of its window in its guests' tables.
pub(crate) const fn isolated_window_word() -> usize {
    entry::word::ISOLATED_WINDOW
}

/// The words of the CPU's header that have CR3 while the hypervisor works for a guest, and while that guest runs.
pub(crate) const fn root_words() -> (usize, usize) {
    (entry::word::FULL_CR3, entry::word::GUEST_CR3)
}

/// The word of the CPU's header that has its XCR0.
pub(crate) const fn xcr0_word() -> usize {
    entry::word::XCR0
}

/// This CPU's IA32_TSC_AUX, as last written.
pub(crate) fn tsc_aux() -> u64 {
    // SAFETY: this CPU's own header.
    unsafe { (*percpu::this_header()).entry[entry::word::TSC_AUX] }
}

/// Notes this CPU's IA32_TSC_AUX.
pub(crate) fn set_tsc_aux(value: u64) {
    // SAFETY: this CPU's own header.
    unsafe { (*percpu::this_header()).entry[entry::word::TSC_AUX] = value }
}
