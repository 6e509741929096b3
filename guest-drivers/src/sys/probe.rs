//! Doing things that may trap, and learning how they did.

use core::arch::{asm, global_asm};
use core::sync::atomic::Ordering;

use oxen_abi::arch_x86::{FLAT_USER_CS, FLAT_USER_SS, IretContext};
use oxen_abi::hypercall::HYPERVISOR_IRET;

use super::trap::{self, EXPECTED};

/// A trap that a probe caused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Vector or pseudo vector.
    pub vector: u64,
    /// Error code.
    pub error: u64,
    /// CR2 as the hypervisor left it (page faults only).
    pub address: u64,
    /// RIP in the frame.
    pub rip: u64,
    /// CS in the frame.
    pub cs: u64,
    /// RFLAGS in the frame.
    pub rflags: u64,
    /// RAX at the trap.
    pub rax: u64,
}

impl core::fmt::Debug for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "trap {:#x} error {:#x} address {:#x} rip {:#x}",
            self.vector, self.error, self.address, self.rip
        )
    }
}

/// #DB.
pub const DB: u64 = 1;
/// #BP.
pub const BP: u64 = 3;
/// #UD.
pub const UD: u64 = 6;
/// #NM.
pub const NM: u64 = 7;
/// #GP.
pub const GP: u64 = 13;
/// #PF.
pub const PF: u64 = 14;

/// What a probe did: a value or a trap.
pub type Probe<T> = Result<T, Fault>;

/// Takes the record of the trap that just happened, if one did.
fn outcome<T>(value: T) -> Probe<T> {
    let expected = trap::expected();
    expected.resume.store(0, Ordering::Relaxed);
    let [vector, error, address, rip, cs, rflags, rax] = expected
        .record
        .each_ref()
        .map(|field| field.swap(0, Ordering::Relaxed));
    match vector.checked_sub(1) {
        None => Ok(value),
        Some(vector) => Err(Fault {
            vector,
            error,
            address,
            rip,
            cs,
            rflags,
            rax,
        }),
    }
}

/// Runs instructions that may trap. A trap goes on at the label behind them, with all registers
/// as they were at the trap.
macro_rules! probe_asm {
    ($($code:literal),+ ; $($operands:tt)*) => {
        asm!(
            "lea {probe_tmp}, [rip + 29999f]",
            "mov [{probe_resume}], {probe_tmp}",
            $($code,)+
            "29999:",
            probe_tmp = out(reg) _,
            probe_resume = in(reg) trap::expected().resume.as_ptr(),
            $($operands)*
        )
    };
}

/// Reads 8 bytes.
pub fn read(address: u64) -> Probe<u64> {
    let mut value = 0u64;
    // SAFETY: a read of any address changes nothing, and a fault goes on behind it.
    unsafe { probe_asm!("mov {v}, [{a}]"; v = inout(reg) value, a = in(reg) address) };
    outcome(value)
}

/// Writes 8 bytes. The image outside the arena is refused, for Rust objects live there.
pub fn write(address: u64, value: u64) -> Probe<()> {
    assert!(
        !super::frame::is_rust_memory(address),
        "probe writes to Rust memory at {address:#x}"
    );
    // SAFETY: the address is not that of a Rust object, and a fault goes on behind the write.
    unsafe { probe_asm!("mov [{a}], {v}"; v = in(reg) value, a = in(reg) address) };
    outcome(())
}

/// Writes 4 bytes, as [`write`].
pub fn write32(address: u64, value: u32) -> Probe<()> {
    assert!(
        !super::frame::is_rust_memory(address),
        "probe writes to Rust memory at {address:#x}"
    );
    // SAFETY: as for `write`.
    unsafe { probe_asm!("mov [{a}], {v:e}"; v = in(reg) value, a = in(reg) address) };
    outcome(())
}

/// Compares and exchanges 8 bytes with a lock prefix; returns what was there.
pub fn compare_exchange(address: u64, old: u64, new: u64) -> Probe<u64> {
    assert!(
        !super::frame::is_rust_memory(address),
        "probe writes to Rust memory at {address:#x}"
    );
    let mut value = old;
    // SAFETY: as for `write`.
    unsafe {
        probe_asm!("lock cmpxchg [{a}], {n}";
            n = in(reg) new, a = in(reg) address, inout("rax") value);
    };
    outcome(value)
}

/// Calls an address, on the first vCPU; the code there must be a plain `ret` or trap.
pub fn call(address: u64) -> Probe<()> {
    // SAFETY: the code is a `ret` by contract, or the call traps; the stack pointer is put back
    // in either case.
    unsafe {
        asm!(
            "lea {t}, [rip + 29999f]",
            "mov [rip + {resume}], {t}",
            "mov {t}, rsp",
            "call {a}",
            "29999:",
            "mov rsp, {t}",
            t = out(reg) _,
            a = in(reg) address,
            resume = sym EXPECTED,
        );
    };
    outcome(())
}

/// `int3`.
pub fn int3() -> Probe<()> {
    // SAFETY: the trap goes on behind the instruction.
    unsafe { probe_asm!("int3"; ) };
    outcome(())
}

/// `ud2`.
pub fn ud2() -> Probe<()> {
    // SAFETY: the trap goes on behind the instruction.
    unsafe { probe_asm!("ud2"; ) };
    outcome(())
}

/// `int 0x80`.
pub fn int80() -> Probe<()> {
    // SAFETY: the trap goes on behind the instruction.
    unsafe { probe_asm!("int 0x80"; ) };
    outcome(())
}

/// `div` by zero.
pub fn divide_by_zero() -> Probe<()> {
    // SAFETY: the trap goes on behind the instruction.
    unsafe {
        probe_asm!("xor ecx, ecx", "div rcx";
            out("rcx") _, inout("rax") 1u64 => _, inout("rdx") 0u64 => _);
    };
    outcome(())
}

/// Executes an instruction with the trap flag set, on the first vCPU: one #DB behind it.
pub fn single_step() -> Probe<()> {
    // SAFETY: the handler clears the trap flag on its way out, and the flags are put back from
    // the stack, which is as before at the label whether the trap came or not.
    unsafe {
        asm!(
            "lea {t}, [rip + 29999f]",
            "mov [rip + {resume}], {t}",
            "pushfq",
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "nop",
            "nop",
            "29999:",
            "popfq",
            t = out(reg) _,
            resume = sym EXPECTED,
        );
    };
    outcome(())
}

/// What CPUID returned: EAX, EBX, ECX, EDX.
pub type Cpuid = [u32; 4];

/// CPUID with the forced-emulation prefix.
pub fn cpuid(leaf: u32, subleaf: u32) -> Probe<Cpuid> {
    let (mut a, mut c) = (leaf, subleaf);
    let (b, d): (u64, u32);
    // SAFETY: changes the named registers only; RBX is put back.
    unsafe {
        probe_asm!("mov {b}, rbx", ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e", "cpuid", "xchg {b}, rbx";
            b = inout(reg) 0u64 => b, inout("eax") a, inout("ecx") c, inout("edx") 0u32 => d);
    };
    outcome([a, u32::try_from(b & 0xffff_ffff).unwrap_or(0), c, d])
}

/// RDMSR.
pub fn rdmsr(msr: u32) -> Probe<u64> {
    let (mut low, mut high) = (0u32, 0u32);
    // SAFETY: reads a register; a fault goes on behind it.
    unsafe { probe_asm!("rdmsr"; in("ecx") msr, inout("eax") low, inout("edx") high) };
    outcome(u64::from(high) << 32 | u64::from(low))
}

/// WRMSR, which the hypervisor emulates or refuses.
pub fn wrmsr(msr: u32, value: u64) -> Probe<()> {
    let low = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
    let high = u32::try_from(value >> 32).unwrap_or(0);
    // SAFETY: the hypervisor emulates the write and allows what is harmless to this kernel.
    unsafe { probe_asm!("wrmsr"; in("ecx") msr, in("eax") low, in("edx") high) };
    outcome(())
}

/// Defines a probe of one instruction without operands.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name() -> Probe<()> {
                // SAFETY: privileged state of a PV guest is virtual; a trap goes on behind it.
                unsafe { probe_asm!($code; ) };
                outcome(())
            }
        )*
    };
}

plain! {
    /// CLI.
    cli = "cli";
    /// STI.
    sti = "sti";
    /// CLTS.
    clts = "clts";
    /// HLT.
    hlt = "hlt";
    /// WBINVD.
    wbinvd = "wbinvd";
    /// An x87 instruction that #NM stops when TS is set.
    fpu_nop = "fnop";
    /// An SSE instruction that #NM stops when TS is set.
    sse_nop = "movaps xmm0, xmm0";
}

/// Defines a probe that reads a register into a value.
macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name() -> Probe<u64> {
                let mut value = 0u64;
                // SAFETY: reads a register; a trap goes on behind it.
                unsafe { probe_asm!($code; v = inout(reg) value) };
                outcome(value)
            }
        )*
    };
}

reads! {
    /// Reads CR0.
    read_cr0 = "mov {v}, cr0";
    /// Reads CR2.
    read_cr2 = "mov {v}, cr2";
    /// Reads CR3.
    read_cr3 = "mov {v}, cr3";
    /// Reads CR4.
    read_cr4 = "mov {v}, cr4";
    /// Reads DR7.
    read_dr7 = "mov {v}, dr7";
}

/// Defines a probe that writes a value to a register.
macro_rules! writes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(value: u64) -> Probe<()> {
                // SAFETY: the hypervisor emulates or refuses it; a trap goes on behind it.
                unsafe { probe_asm!($code; v = in(reg) value) };
                outcome(())
            }
        )*
    };
}

writes! {
    /// Writes CR0.
    write_cr0 = "mov cr0, {v}";
    /// Writes CR4.
    write_cr4 = "mov cr4, {v}";
    /// INVLPG.
    invlpg = "invlpg [{v}]";
    /// Loads a selector into FS.
    load_fs = "mov fs, {v:e}";
}

/// IN, a byte.
pub fn inb(port: u16) -> Probe<u8> {
    let mut value = 0u8;
    // SAFETY: reads a port that the hypervisor lets this domain read, or emulates.
    unsafe { probe_asm!("in al, dx"; in("dx") port, inout("al") value) };
    outcome(value)
}

/// OUT, a byte.
pub fn outb(port: u16, value: u8) -> Probe<()> {
    // SAFETY: writes a port that the hypervisor lets this domain write, or emulates.
    unsafe { probe_asm!("out dx, al"; in("dx") port, in("al") value) };
    outcome(())
}

/// IN, two bytes.
pub fn inw(port: u16) -> Probe<u16> {
    let mut value = 0u16;
    // SAFETY: as for `inb`.
    unsafe { probe_asm!("in ax, dx"; in("dx") port, inout("ax") value) };
    outcome(value)
}

/// IN, four bytes.
pub fn inl(port: u16) -> Probe<u32> {
    let mut value = 0u32;
    // SAFETY: as for `inb`.
    unsafe { probe_asm!("in eax, dx"; in("dx") port, inout("eax") value) };
    outcome(value)
}

/// OUT, four bytes.
pub fn outl(port: u16, value: u32) -> Probe<()> {
    // SAFETY: as for `outb`.
    unsafe { probe_asm!("out dx, eax"; in("dx") port, in("eax") value) };
    outcome(())
}

/// REP INSB into an address, which must not be that of a Rust object; returns how many bytes were
/// left out.
pub fn rep_insb(port: u16, address: u64, count: u64) -> Probe<u64> {
    assert!(
        !super::frame::is_rust_memory(address),
        "probe reads ports into Rust memory at {address:#x}"
    );
    let mut left = count;
    // SAFETY: the address is not that of a Rust object; the rest is as for `inb`.
    unsafe {
        probe_asm!("rep insb"; in("dx") port, inout("rdi") address => _, inout("rcx") left);
    };
    outcome(left)
}

/// REP OUTSB from an address; returns how many bytes were left out.
pub fn rep_outsb(port: u16, address: u64, count: u64) -> Probe<u64> {
    let mut left = count;
    // SAFETY: as for `outb`; a read of any address changes nothing.
    unsafe {
        probe_asm!("rep outsb"; in("dx") port, inout("rsi") address => _, inout("rcx") left);
    };
    outcome(left)
}

/// Reads 8 bytes through FS.
pub fn read_fs(offset: u64) -> Probe<u64> {
    let mut value = 0u64;
    // SAFETY: a read changes nothing, and a fault goes on behind it.
    unsafe { probe_asm!("mov {v}, fs:[{a}]"; v = inout(reg) value, a = in(reg) offset) };
    outcome(value)
}

/// Reads 8 bytes through GS.
pub fn read_gs(offset: u64) -> Probe<u64> {
    let mut value = 0u64;
    // SAFETY: a read changes nothing, and a fault goes on behind it.
    unsafe { probe_asm!("mov {v}, gs:[{a}]"; v = inout(reg) value, a = in(reg) offset) };
    outcome(value)
}

// Leaves for user mode by a hypercall whose end is an iret; a trap or syscall comes back behind it, on
// the stack of before. The frame is copied to where the stack pointer is.
global_asm!(
    ".pushsection .text.enter_user, \"ax\", @progbits",
    "enter_user:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + {resume} + 8], rsp",
    "lea rax, [rip + 2f]",
    "mov [rip + {resume}], rax",
    "mov rax, rsi",
    "mov r8, rdx",
    "mov r9, rcx",
    "sub rsp, {frame}",
    "mov rsi, rdi",
    "mov rdi, rsp",
    "mov ecx, {frame} / 8",
    "rep movsq",
    "mov rdi, r8",
    "mov rsi, r9",
    "syscall",
    "ud2",
    "2:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".popsection",
    resume = sym EXPECTED,
    frame = const size_of::<IretContext>(),
);

unsafe extern "C" {
    fn enter_user(frame: *const IretContext, call: u64, first: u64, second: u64);
}

/// The frame for user mode at an address. RAX is 0x77 there, and events are let in.
pub fn user_frame(rip: u64, rsp: u64) -> IretContext {
    IretContext {
        rax: 0x77,
        r11: 0x202,
        rcx: 0,
        flags: 0,
        rip,
        cs: u64::from(FLAT_USER_CS),
        rflags: 0x202,
        rsp,
        ss: u64::from(FLAT_USER_SS),
    }
}

/// Runs user mode until it traps, on the first vCPU.
pub fn user(frame: &IretContext) -> Probe<()> {
    user_by(frame, HYPERVISOR_IRET, [0; 2])
}

/// As [`user`], by another hypercall that does the iret. Should it return instead, that is a trap too
/// (#UD).
pub fn user_by(frame: &IretContext, call: u64, [first, second]: [u64; 2]) -> Probe<()> {
    // SAFETY: user mode cannot touch kernel memory; the trap comes back to the saved stack.
    unsafe { enter_user(frame, call, first, second) };
    outcome(())
}
