//! Instructions that do not trap.

use core::arch::asm;

use oxen_abi::hypercall::HYPERVISOR_IRET;

/// The time-stamp counter.
#[must_use]
pub fn rdtsc() -> u64 {
    // SAFETY: RDTSC reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The time-stamp counter, not read before what comes before it.
#[must_use]
pub fn rdtsc_ordered() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: LFENCE orders, RDTSC reads a counter.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high) };
    high << 32 | low & 0xffff_ffff
}

/// CPUID as the processor executes it (it may be emulated as well).
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let r = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// A hint for waiting loops.
pub fn pause() {
    core::hint::spin_loop();
}

/// Puts a pattern into XMM0 and XMM15.
pub fn set_xmm(pattern: u64) {
    // SAFETY: the kernel is built without SSE, so nobody uses these registers.
    unsafe {
        asm!("movq xmm0, {p}", "movq xmm15, {p}", "punpcklqdq xmm15, xmm15", p = in(reg) pattern);
    }
}

/// Reads XMM0's low half and XMM15's high half.
#[must_use]
pub fn get_xmm() -> [u64; 2] {
    let (low, high): (u64, u64);
    // SAFETY: the kernel is built without SSE; XMM14 is scratch.
    unsafe {
        asm!("movq {l}, xmm0", "movaps xmm14, xmm15", "punpckhqdq xmm14, xmm14",
            "movq {h}, xmm14", l = out(reg) low, h = out(reg) high);
    }
    [low, high]
}

/// Leaves by the iret hypercall from a frame: RAX, R11, RCX, flags, RIP, CS, RFLAGS, RSP, SS.
///
/// It is a safe function because nothing of this vCPU runs after it, other than what the frame
/// leads to: the fuzzer ends so.
pub fn leave(frame: &[u64; 9]) -> ! {
    // SAFETY: nothing comes back. The frame may be made up; then the domain ends in some way.
    unsafe {
        asm!(
            "mov rsp, {frame}",
            "mov eax, {iret}",
            "syscall",
            "ud2",
            frame = in(reg) frame.as_ptr(),
            iret = const HYPERVISOR_IRET,
            options(noreturn),
        )
    }
}

/// Calls a hypercall through the page that the hypervisor filled.
#[must_use]
pub fn hypercall_page(number: u64, args: [u64; 2]) -> u64 {
    let result;
    // SAFETY: each stub of the page is 32 bytes, returns, and changes RAX, RCX, R11 and the
    // arguments at most.
    unsafe {
        asm!(
            "lea {t}, [rip + hypercall_page]",
            "add {t}, {o}",
            "call {t}",
            t = out(reg) _,
            o = in(reg) number * 32,
            inout("rdi") args[0] => _,
            inout("rsi") args[1] => _,
            out("rax") result,
            out("rcx") _,
            out("r11") _,
            out("rdx") _, out("r8") _, out("r9") _, out("r10") _,
        );
    }
    result
}

/// Makes a hypercall and returns the callee-saved registers' fate: true if all general registers
/// but RAX, RCX and R11 came back unchanged.
#[must_use]
pub fn hypercall_keeps_registers(number: u64) -> bool {
    let wrong: u64;
    // SAFETY: as for any hypercall; RBX and RBP are put back.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov rbx, 0x1111", "mov rbp, 0x2222", "mov r12, 0x3333", "mov r13, 0x4444",
            "mov r14, 0x5555", "mov r15, 0x6666", "mov rdi, 0", "mov rsi, 0x7777",
            "mov rdx, 0x8888", "mov r10, 0x9999", "mov r8, 0xaaaa", "mov r9, 0xbbbb",
            "syscall",
            "xor eax, eax",
            "cmp rbx, 0x1111", "setne cl", "or al, cl",
            "cmp rbp, 0x2222", "setne cl", "or al, cl",
            "cmp r12, 0x3333", "setne cl", "or al, cl",
            "cmp r13, 0x4444", "setne cl", "or al, cl",
            "cmp r14, 0x5555", "setne cl", "or al, cl",
            "cmp r15, 0x6666", "setne cl", "or al, cl",
            "cmp rdi, 0", "setne cl", "or al, cl",
            "cmp rsi, 0x7777", "setne cl", "or al, cl",
            "cmp rdx, 0x8888", "setne cl", "or al, cl",
            "cmp r10, 0x9999", "setne cl", "or al, cl",
            "cmp r8, 0xaaaa", "setne cl", "or al, cl",
            "cmp r9, 0xbbbb", "setne cl", "or al, cl",
            "pop rbp",
            "pop rbx",
            inlateout("rax") number => wrong,
            out("rcx") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            out("rdi") _, out("rsi") _, out("rdx") _, out("r10") _, out("r8") _, out("r9") _,
        );
    }
    wrong == 0
}
