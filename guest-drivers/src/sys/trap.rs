//! Traps, event and syscall callbacks: the stubs, and what they record.
//!
//! A probe (`probe.rs`) says where to go on before it does something that may trap. A trap that
//! nobody expects ends the domain with a dump.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::arch_x86::{FLAT_KERNEL_CS, FLAT_KERNEL_SS, TI_IF, TrapInfo};
use oxen_abi::hypercall::{HYPERVISOR_IRET, HYPERVISOR_SET_TRAP_TABLE};
use oxen_abi::sched::SHUTDOWN_CRASH;

use super::{hypercall, shared};

/// Pseudo vector of the event callback.
pub const EVENT: u64 = 0x100;
/// Pseudo vector of the failsafe callback.
pub const FAILSAFE: u64 = 0x101;
/// Pseudo vector of the syscall callback.
pub const SYSCALL: u64 = 0x102;
/// Pseudo vector of the NMI callback.
pub const NMI: u64 = 0x103;

/// Kernel code selector as the hypervisor shows it: RPL 0 tells kernel mode from user mode.
pub const KERNEL_CS: u64 = (FLAT_KERNEL_CS & !3) as u64;

/// What the stubs push: general registers, vector, error code, and the hypervisor's frame.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    /// RDI.
    pub rdi: u64,
    /// RSI.
    pub rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    /// RAX.
    pub rax: u64,
    /// Vector, or one of this module's pseudo vectors.
    pub vector: u64,
    /// Error code, 0 where there is none.
    pub error: u64,
    /// RIP.
    pub rip: u64,
    /// CS; the byte at bit 32 is the event mask at the entry.
    pub cs: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// SS.
    pub ss: u64,
}

// On the hypervisor's frame lie RCX and R11; some traps have an error code behind them.
global_asm!(
    ".macro trap_stub vector, has_error",
    ".balign 16",
    "trap_stub_\\vector:",
    "pop rcx",
    "pop r11",
    ".if \\has_error == 0",
    "push 0",
    ".endif",
    "push \\vector",
    "jmp trap_common",
    ".endm",
    ".pushsection .text.traps, \"ax\", @progbits",
    ".irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 9, 16, 18, 19, 128",
    "trap_stub \\vector, 0",
    ".endr",
    ".irp vector, 8, 10, 11, 12, 13, 14, 17",
    "trap_stub \\vector, 1",
    ".endr",
    ".balign 16",
    ".globl event_callback",
    "event_callback:",
    "pop rcx",
    "pop r11",
    "push 0",
    "push {event}",
    "jmp trap_common",
    // Four selectors come before the frame.
    ".globl failsafe_callback",
    "failsafe_callback:",
    "pop rcx",
    "pop r11",
    "add rsp, 32",
    "push 0",
    "push {failsafe}",
    "jmp trap_common",
    ".globl syscall_callback",
    "syscall_callback:",
    "pop rcx",
    "pop r11",
    "push 0",
    "push {syscall}",
    "jmp trap_common",
    ".globl nmi_callback",
    "nmi_callback:",
    "pop rcx",
    "pop r11",
    "push 0",
    "push {nmi}",
    "jmp trap_common",
    "trap_common:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "and rsp, -16",
    "cld",
    "call {handler}",
    "mov rsp, rbx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    // Vector and error code make room for the rest of the iret hypercall's frame.
    "mov qword ptr [rsp + 8], 0",
    "mov [rsp], rcx",
    "push r11",
    "push rax",
    "mov eax, {iret}",
    "syscall",
    "ud2",
    ".popsection",
    ".pushsection .rodata.trap_table, \"a\", @progbits",
    ".balign 8",
    ".globl trap_stub_table",
    "trap_stub_table:",
    ".irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 9, 16, 18, 19, 128, 8, 10, 11, 12, 13, 14, 17",
    ".quad \\vector, trap_stub_\\vector",
    ".endr",
    ".popsection",
    event = const EVENT,
    failsafe = const FAILSAFE,
    syscall = const SYSCALL,
    nmi = const NMI,
    iret = const HYPERVISOR_IRET,
    handler = sym handle,
);

/// Vectors that have a stub.
const STUBS: usize = 20;

unsafe extern "C" {
    static trap_stub_table: [[u64; 2]; STUBS];
    fn event_callback();
    fn failsafe_callback();
    fn syscall_callback();
    fn nmi_callback();
}

/// Address of the event callback.
pub fn event_callback_address() -> u64 {
    event_callback as *const () as u64
}

/// Address of the failsafe callback.
pub fn failsafe_callback_address() -> u64 {
    failsafe_callback as *const () as u64
}

/// Address of the syscall callback.
pub fn syscall_callback_address() -> u64 {
    syscall_callback as *const () as u64
}

/// Address of the NMI callback.
pub fn nmi_callback_address() -> u64 {
    nmi_callback as *const () as u64
}

/// The kernel's trap table, ended by a zero entry. #BP, #OF and 0x80 may be raised from user
/// mode; `mask_events` are the vectors that start with events masked.
pub fn table(mask_events: &[u8]) -> [TrapInfo; STUBS + 1] {
    let mut table = [TrapInfo::default(); STUBS + 1];
    // SAFETY: the table is read-only data of this image with exactly that layout.
    let stubs = unsafe { &trap_stub_table };
    for (entry, &[vector, address]) in table.iter_mut().zip(stubs) {
        let vector = u8::try_from(vector).unwrap_or(0);
        *entry = TrapInfo {
            vector,
            flags: if matches!(vector, 3 | 4 | 0x80) { 3 } else { 0 }
                | if mask_events.contains(&vector) {
                    TI_IF
                } else {
                    0
                },
            cs: FLAT_KERNEL_CS,
            address,
            ..TrapInfo::default()
        };
    }
    table
}

/// Loads the trap table.
pub fn install() -> hypercall::Result {
    let mut table = table(&[]);
    hypercall::call(
        HYPERVISOR_SET_TRAP_TABLE,
        [hypercall::slice_address(&mut table)],
    )
}

/// What a vCPU's probe and the trap handler tell each other.
#[repr(C)]
pub(super) struct Expected {
    /// Where the probe wants to go on; 0: nobody expects a trap.
    pub(super) resume: AtomicU64,
    /// Stack pointer for a probe that left for user mode; 0: stay on the stack.
    pub(super) stack: AtomicU64,
    /// The last expected trap, field by field: vector + 1, error, address, RIP, CS, RFLAGS, RAX.
    pub(super) record: [AtomicU64; 7],
}

/// Of each vCPU. The probes in assembly that only the first vCPU uses take the first one.
pub(super) static EXPECTED: [Expected; 2] = [const {
    Expected {
        resume: AtomicU64::new(0),
        stack: AtomicU64::new(0),
        record: [const { AtomicU64::new(0) }; 7],
    }
}; 2];

/// That of the vCPU this runs on.
pub(super) fn expected() -> &'static Expected {
    let [first, second] = &EXPECTED;
    if super::vcpu::current() == 0 {
        first
    } else {
        second
    }
}

/// Number of event upcalls so far.
pub static UPCALLS: AtomicU64 = AtomicU64::new(0);
/// Number of NMIs so far.
pub static NMIS: AtomicU64 = AtomicU64::new(0);
/// Events masked at the last upcall's entry, as the flag in the pushed CS says.
pub static UPCALL_MASK: AtomicU64 = AtomicU64::new(0);

/// Called by the stubs.
extern "C" fn handle(frame: &mut Frame) {
    match frame.vector {
        EVENT => {
            UPCALLS.fetch_add(1, Ordering::Relaxed);
            UPCALL_MASK.store(frame.cs >> 32 & 0xff, Ordering::Relaxed);
            crate::event::upcall(super::vcpu::current());
            crate::fuzz::upcall();
            return;
        }
        // The callback, or the vector where none is registered.
        NMI | 2 => {
            NMIS.fetch_add(1, Ordering::Relaxed);
            return;
        }
        _ => {}
    }
    let vcpu = super::vcpu::current();
    let address = shared::vcpu_info(vcpu).map_or(0, |info| info.cr2.load(Ordering::Relaxed));
    let expected = expected();
    let resume = expected.resume.swap(0, Ordering::Relaxed);
    if resume == 0 && frame.vector == FAILSAFE {
        // Segment registers that were refused are null now, and nothing here uses them.
        return;
    }
    if resume == 0 {
        crate::println!(
            "TRAP {:#x} nobody expects: address {address:#x} {frame:x?}",
            frame.vector
        );
        crate::kernel::shutdown(SHUTDOWN_CRASH);
    }
    let values = [
        frame.vector + 1,
        frame.error,
        address,
        frame.rip,
        frame.cs,
        frame.rflags,
        frame.rax,
    ];
    for (slot, value) in expected.record.iter().zip(values) {
        slot.store(value, Ordering::Relaxed);
    }
    frame.rip = resume;
    // A single-stepping probe steps once.
    frame.rflags &= !0x100;
    let stack = expected.stack.swap(0, Ordering::Relaxed);
    if stack != 0 {
        frame.rsp = stack;
        frame.cs = KERNEL_CS;
        frame.ss = u64::from(FLAT_KERNEL_SS);
    }
}
