//! The entry and exit code. The table in [`super`] says which way is taken when.
//!
//! Every entry builds the same frame: error code and vector below what the CPU pushed (SYSCALL's stub pushes the same
//! five words), then the general registers in the order of `CpuUserRegs`. Registers are cleared after saving, so that
//! a guest's values don't steer speculation in the hypervisor.

use core::arch::global_asm;
use core::mem::offset_of;

use oxen_abi::arch_x86::{FLAT_RING3_CS32, FLAT_RING3_CS64, FLAT_RING3_SS64};

use super::descriptors::IST_TOPS;
use super::frame::{GENERAL_BYTES, HostFrame, PUSHED_BYTES};
use super::vectors;
use crate::percpu::{
    CpuHeader, ENTRY_STACK, FRAME_PAGE, HEADER_OFFSET, RSP0_OFFSET, STUBS_OFFSET, this_header,
};
use crate::speculation;

/// Words of [`CpuHeader::entry`].
pub(crate) mod word {
    /// Where the SYSCALL stub goes on.
    pub(crate) const SYSCALL_TARGET: usize = 0;
    /// `*const oxen_core::PerCpu`.
    pub(crate) const CORE: usize = 1;
    /// XCR0 as this CPU has it.
    pub(crate) const XCR0: usize = 2;
    /// The L1 entries that map this CPU's windows (`*const AtomicU64`).
    pub(crate) const WINDOW: usize = 3;
    /// Bit n: page n of the LDT window is mapped.
    pub(crate) const LDT_PAGES: usize = 4;
    /// Number of pages mapped in the GDT window.
    pub(crate) const GDT_PAGES: usize = 5;
    /// IA32_TSC_AUX as this CPU has it.
    pub(crate) const TSC_AUX: usize = 6;
    /// The same entries in this CPU's guests' tables, while page tables are isolated; else 0.
    pub(crate) const ISOLATED_WINDOW: usize = 7;
    /// While page tables are isolated: CR3 of the address space that the hypervisor works in for the guest.
    pub(crate) const FULL_CR3: usize = 8;
    /// CR3 while the guest runs; 0 for a guest that is not isolated.
    pub(crate) const GUEST_CR3: usize = 9;
}

const fn header(field: usize) -> u64 {
    HEADER_OFFSET + field as u64 - STUBS_OFFSET
}

/// Offset in the stack block of a word of the header.
const fn header_word(word: usize) -> u64 {
    HEADER_OFFSET + (offset_of!(CpuHeader, entry) + 8 * word) as u64
}

/// Offset in the stack block of the guest's register frame.
const MAIN_FRAME: u64 = RSP0_OFFSET - PUSHED_BYTES as u64;
/// From there down to where the stack begins for what the entry code calls: the page boundary.
pub(crate) const CALL_ROOM: u64 = MAIN_FRAME - FRAME_PAGE;

unsafe extern "C" {
    static oxen_stub_syscall64: u8;
    static oxen_stub_syscall32: u8;
    static oxen_sysenter: u8;
    static oxen_syscall_common: u8;
    static oxen_gates: [[u8; GATE_BYTES]; 256];
    static __entry_stubs_start: u8;
    /// Address of the IRETQ that returns to guests.
    static oxen_guest_iret: u8;
}

/// Distance between two gates' code in bytes.
const GATE_BYTES: usize = 16;

/// Address of a vector's entry code.
pub(super) fn gate(vector: u8) -> u64 {
    // SAFETY: only the address is taken, of a table with 256 rows.
    unsafe {
        (&raw const oxen_gates)
            .cast::<[u8; GATE_BYTES]>()
            .add(usize::from(vector)) as u64
    }
}

/// Addresses of the SYSCALL stubs of a stack block: 64-bit, 32-bit.
pub(super) fn syscall_stubs(block: u64) -> (u64, u64) {
    let start = &raw const __entry_stubs_start as u64;
    let long = &raw const oxen_stub_syscall64 as u64;
    let compat = &raw const oxen_stub_syscall32 as u64;
    let page = block + STUBS_OFFSET;
    (page + (long - start), page + (compat - start))
}

/// Address of SYSENTER's entry code.
pub(super) fn sysenter() -> u64 {
    &raw const oxen_sysenter as u64
}

/// Address of the instruction that returns to guests and may fault.
pub(super) fn guest_iret() -> u64 {
    &raw const oxen_guest_iret as u64
}

/// Tells this CPU's stubs where they go on.
pub(super) fn set_targets() {
    let target = &raw const oxen_syscall_common as u64;
    // SAFETY: this CPU's own header, on its own stack block; the stubs that read it are not installed yet.
    unsafe { (*this_header()).entry[word::SYSCALL_TARGET] = target }
}

global_asm!(
    r#"
    // General registers, in the order of CpuUserRegs, then cleared. The frame pointer is cleared too when a guest was
    // interrupted: that ends the hypervisor's back trace.
    .macro SAVE
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    xor edx, edx
    xor ecx, ecx
    xor eax, eax
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    xor ebx, ebx
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    .endm

    .macro RESTORE
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    .endm

    // AC must be clear while the hypervisor runs, else SMAP is off. SYSCALL clears it by its mask, gates don't.
    .macro CLEAR_AC
    cld
    test byte ptr [rip + {smap}], 1
    jz 77f
    clac
77:
    .endm

    // What a guest may have taught the processor's predictors is made harmless. RAX, RCX and RDX are lost. Nearly always
    // there is nothing to do; the rest is out of line.
    .macro GUARD_ENTRY
    cmp byte ptr [rip + {on_entry}], 0
    jne 81f
82:
    .pushsection .text.entry_guard, "ax", @progbits
81:
    // From the guest's page tables to the full ones. RSP is at the guest's frame.
    test byte ptr [rip + {on_entry}], {entry_isolation}
    jz 80f
    cmp qword ptr [rsp + {frame_to_guest_cr3}], 0
    je 80f
    mov rax, [rsp + {frame_to_full_cr3}]
    mov cr3, rax
80:
    test byte ptr [rip + {on_entry}], {entry_ibrs}
    jz 83f
    mov ecx, 0x48
    mov eax, [rip + {host_spec_ctrl}]
    xor edx, edx
    wrmsr
83:
    test byte ptr [rip + {on_entry}], {entry_ibpb}
    jz 84f
    mov ecx, 0x49
    mov eax, 1
    xor edx, edx
    wrmsr
84:
    test byte ptr [rip + {on_entry}], {entry_rsb}
    jz 82b
    // 32 calls: as deep as any return stack. What returns to one of them in speculation stays in its loop.
    mov ecx, 16
85: call 87f
86: pause
    lfence
    jmp 86b
87: call 89f
88: pause
    lfence
    jmp 88b
89: dec ecx
    jnz 85b
    add rsp, 8 * 32
    lfence
    jmp 82b
    .popsection
    .endm

    // The other way, before the guest's registers come back: all but RSP are lost.
    .macro GUARD_RETURN
    cmp byte ptr [rip + {on_return}], 0
    jne 91f
92:
    .pushsection .text.entry_guard, "ax", @progbits
91:
    xor r12d, r12d
    test byte ptr [rip + {on_return}], {return_isolation}
    jz 90f
    // The CR3 that the guest runs with; 0 = as it is.
    sub rsp, {call_room}
    call {on_return_isolated}
    add rsp, {call_room}
    mov r12, rax
90:
    test byte ptr [rip + {on_return}], {return_ibrs}
    jz 93f
    mov ecx, 0x48
    mov eax, [rip + {guest_spec_ctrl}]
    xor edx, edx
    wrmsr
93:
    test r12, r12
    jz 94f
    mov cr3, r12
94:
    test byte ptr [rip + {on_return}], {return_verw}
    jz 92b
    verw word ptr [rip + {verw_selector}]
    jmp 92b
    .popsection
    .endm

    // ---- per-CPU stubs: executed at the bottom of a stack block, at a fixed distance from the CPU's header ----
    .section .text.entry_stubs, "ax", @progbits
    .macro SYSCALL_STUB cs, vector
    mov [rip + __entry_stubs_start + {scratch}], rsp
    lea rsp, [rip + __entry_stubs_start + {rsp0}]
    push {ss}
    push qword ptr [rip + __entry_stubs_start + {scratch}]
    push r11
    push \cs
    push rcx
    push 0
    mov dword ptr [rsp + 4], \vector
    jmp qword ptr [rip + __entry_stubs_start + {target}]
    .endm

    .balign 16
    .global oxen_stub_syscall64
oxen_stub_syscall64:
    SYSCALL_STUB {cs64}, {syscall64}
    .balign 16
    .global oxen_stub_syscall32
oxen_stub_syscall32:
    SYSCALL_STUB {cs32}, {syscall32}

    // ---- the image's own part ----
    .section .text.entry, "ax", @progbits

    // SYSENTER loads RSP from its MSR, keeps neither RIP nor RSP, and clears nothing but IF and VM in the flags.
    .balign 16
    .global oxen_sysenter
oxen_sysenter:
    push {ss}
    push 0
    pushfq
    push {cs32}
    push 0
    push 0
    mov dword ptr [rsp + 4], {sysenter}
    push 2
    popfq

    .global oxen_syscall_common
oxen_syscall_common:
    SAVE
    GUARD_ENTRY
    xor ebp, ebp
    mov rdi, rsp
    xor esi, esi
    sub rsp, {call_room}
    call {on_syscall}
    add rsp, {call_room}
    test al, al
    jz oxen_return_by_iret

    // RCX and R11 of the frame equal RIP and RFLAGS.
    GUARD_RETURN
    RESTORE
    mov rsp, [rsp + {pushed_rsp}]
    sysretq

    .balign 16
    .global oxen_return_by_iret
oxen_return_by_iret:
    GUARD_RETURN
    RESTORE
    add rsp, 8
    .global oxen_guest_iret
oxen_guest_iret:
    iretq

    // Exceptions and interrupts.
    .balign 16
oxen_trap:
    CLEAR_AC
    SAVE
    mov rdi, rsp
    test byte ptr [rsp + {cs}], 3
    jz oxen_host_trap
oxen_guest_trap:
    GUARD_ENTRY
    xor ebp, ebp
    xor esi, esi
    sub rsp, {call_room}
    call {on_guest_trap}
    add rsp, {call_room}
    jmp oxen_return_by_iret

oxen_host_trap:
    test byte ptr [rip + {on_entry}], {entry_isolation}
    jnz oxen_isolated_host_trap
5:  // Interrupted code may have any alignment.
    mov rbx, rsp
    xor esi, esi
    and rsp, -16
    call {on_host_trap}
    mov rsp, rbx
    test rax, rax
    jnz 2f
    RESTORE
    add rsp, 8
    iretq

    // While page tables are isolated the entry code itself may be what was interrupted, with the guest's tables: mostly
    // at its IRETQ. The stack is free then below the frame page.
oxen_isolated_host_trap:
    mov rax, rsp
    and rax, {block_mask}
    mov r12, cr3
    cmp r12, [rax + {guest_cr3}]
    jne 5b
    mov rax, [rax + {full_cr3}]
    mov cr3, rax
    mov rbx, rsp
    and rsp, -4096
    // RBX: the frame; R12: CR3 that it goes back to, if not 0.
oxen_isolated_host_call:
    mov rdi, rbx
    xor esi, esi
    and rsp, -16
    call {on_host_trap}
    mov rsp, rbx
    test rax, rax
    jnz 2f
    test r12, r12
    jz 3f
    mov cr3, r12
3:  RESTORE
    add rsp, 8
    iretq

    // The return to a guest failed. RAX is the main frame, which now has all of the guest's registers.
2:  mov rsp, rax
    GUARD_ENTRY
    mov rdi, rsp
    xor ebp, ebp
    xor esi, esi
    sub rsp, {call_room}
    call {on_return_fault}
    add rsp, {call_room}
    jmp oxen_return_by_iret

    // While page tables are isolated, a stack of the interrupt stack table begins in its part of the entry page, which
    // guests' tables map. Goes to the stack proper. What the frame is of decides: of a guest, or of the entry code with
    // the guest's tables, it stays, and the full tables are loaded; of the hypervisor it is moved, and nothing is left
    // where guests' tables reach. Afterwards RBX is the frame, R12 the CR3 to go back to or 0. RAX, RCX, RDX, RSI and
    // RDI are lost.
    .macro LEAVE_ENTRY_PAGE
    mov rbx, rsp
    mov rax, rsp
    and rax, {block_mask}
    mov ecx, esp
    and ecx, 4095
    shr ecx, {entry_stack_bits}
    lea rdx, [rip + oxen_ist_tops]
    mov rdx, [rdx + 8 * rcx]
    add rdx, rax
    mov r12, cr3
    cmp r12, [rax + {guest_cr3}]
    je 71f
    xor r12d, r12d
    lea rdi, [rdx - 8 * {pushed_words}]
    mov rsi, rsp
    mov rdx, rdi
    mov ecx, {pushed_words}
    rep movsq
    mov rdi, rsp
    mov rbx, rdx
    xor eax, eax
    mov ecx, {pushed_words}
    rep stosq
    jmp 72f
71: mov rax, [rax + {full_cr3}]
    mov cr3, rax
72: mov rsp, rdx
    .endm

    .balign 8
oxen_ist_tops:
    .quad {ist_top_1}, {ist_top_2}, {ist_top_3}, {ist_top_4}

    // #DB, on its own stack: a guest's goes on on the main one.
    .balign 16
oxen_debug:
    CLEAR_AC
    SAVE
    mov rdi, rsp
    test byte ptr [rsp + {cs}], 3
    jz oxen_host_debug
    mov rsi, rsp
    mov rdi, rsp
    and rdi, {block_mask}
    add rdi, {main_frame}
    mov rax, rdi
    mov ecx, {pushed_words}
    rep movsq
    mov rsp, rax
    mov rdi, rsp
    jmp oxen_guest_trap

oxen_host_debug:
    test byte ptr [rip + {on_entry}], {entry_isolation}
    jz oxen_host_trap
    LEAVE_ENTRY_PAGE
    jmp oxen_isolated_host_call

    // NMI, #MC and #DF, on stacks of their own. What was interrupted may be anything, the SYSCALL stub included.
    .balign 16
oxen_paranoid:
    CLEAR_AC
    SAVE
    mov rbx, rsp
    test byte ptr [rip + {on_entry}], {entry_isolation}
    jz 5f
    LEAVE_ENTRY_PAGE
5:  // SPEC_CTRL may be the guest's or the hypervisor's own, and has to be the same again afterwards.
    test byte ptr [rip + {on_entry}], {entry_ibrs}
    jz 2f
    mov ecx, 0x48
    rdmsr
    mov r13d, eax
    mov eax, [rip + {host_spec_ctrl}]
    xor edx, edx
    wrmsr
2:  mov rdi, rbx
    xor esi, esi
    and rsp, -16
    call {on_paranoid}
    mov rsp, rbx
    test byte ptr [rip + {on_entry}], {entry_ibrs}
    jz 3f
    mov ecx, 0x48
    mov eax, r13d
    xor edx, edx
    wrmsr
3:  // SAVE has cleared R12.
    test r12, r12
    jz 4f
    mov cr3, r12
4:  RESTORE
    add rsp, 8
    iretq

    // 256 gates of 16 bytes: 2 + 8 + 5.
    .balign 16
    .global oxen_gates
oxen_gates:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    push 0
    .endif
    // mov dword ptr [rsp + 4], vector: in this syntax a symbol would be a memory operand.
    .byte 0xc7, 0x44, 0x24, 0x04
    .long vector
    .if vector == 1
    jmp oxen_debug
    .else
    .if (vector == 2) || (vector == 8) || (vector == 18)
    jmp oxen_paranoid
    .else
    jmp oxen_trap
    .endif
    .endif
    .set vector, vector + 1
    .endr
    .balign 16
    .text
    "#,
    ss = const FLAT_RING3_SS64,
    cs64 = const FLAT_RING3_CS64,
    cs32 = const FLAT_RING3_CS32,
    syscall64 = const vectors::SYSCALL64,
    syscall32 = const vectors::SYSCALL32,
    sysenter = const vectors::SYSENTER,
    scratch = const header(offset_of!(CpuHeader, scratch_rsp)),
    target = const header(offset_of!(CpuHeader, entry) + 8 * word::SYSCALL_TARGET),
    rsp0 = const RSP0_OFFSET - STUBS_OFFSET,
    cs = const offset_of!(HostFrame, cs),
    pushed_rsp = const offset_of!(HostFrame, rsp) - GENERAL_BYTES,
    pushed_words = const PUSHED_BYTES / 8,
    block_mask = const -(crate::layout::STACK_BLOCK.cast_signed()),
    main_frame = const MAIN_FRAME,
    call_room = const CALL_ROOM,
    frame_to_full_cr3 = const header_word(word::FULL_CR3) - MAIN_FRAME,
    frame_to_guest_cr3 = const header_word(word::GUEST_CR3) - MAIN_FRAME,
    full_cr3 = const header_word(word::FULL_CR3),
    guest_cr3 = const header_word(word::GUEST_CR3),
    entry_stack_bits = const ENTRY_STACK.ilog2(),
    ist_top_1 = const IST_TOPS[0],
    ist_top_2 = const IST_TOPS[1],
    ist_top_3 = const IST_TOPS[2],
    ist_top_4 = const IST_TOPS[3],
    smap = sym crate::control::SMAP,
    on_entry = sym speculation::ON_ENTRY,
    on_return = sym speculation::ON_RETURN,
    host_spec_ctrl = sym speculation::HOST_SPEC_CTRL,
    guest_spec_ctrl = sym speculation::GUEST_SPEC_CTRL,
    verw_selector = sym speculation::VERW_SELECTOR,
    entry_rsb = const speculation::ENTRY_RSB,
    entry_ibrs = const speculation::ENTRY_IBRS,
    entry_ibpb = const speculation::ENTRY_IBPB,
    entry_isolation = const speculation::ENTRY_ISOLATION,
    return_ibrs = const speculation::RETURN_IBRS,
    return_verw = const speculation::RETURN_VERW,
    return_isolation = const speculation::RETURN_ISOLATION,
    on_return_isolated = sym crate::isolation::on_return,
    on_syscall = sym super::dispatch::on_syscall,
    on_guest_trap = sym super::dispatch::on_guest_trap,
    on_return_fault = sym super::dispatch::on_return_fault,
    on_host_trap = sym super::host::on_host_trap,
    on_paranoid = sym super::host::on_paranoid,
);
