//! The way to real mode and back, for one software interrupt (SDM volume 3, 10.8.5 and 10.9; AMD64 APM volume 2, 14.7).
//!
//! Four pieces of code, each of which can only run where it is:
//!
//! 1. in the image proper: saves the CPU's state and takes the boot page tables, which have low memory at its physical
//!    address;
//! 2. in the boot section: from 64-bit over 32-bit code out of long mode;
//! 3. in the area (see [`super::area`]), copied there: out of protected mode, the interrupt with the interrupt flag set,
//!    and back into protected mode;
//! 4. in the boot section and the image again: back to where it came from.
//!
//! The task register keeps its TSS all the way. An NMI that comes before real mode or behind it finds no stack and resets
//! the machine: nothing that sends one has been set up.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicU64;

use super::area::{BUFFER, BUFFER_SIZE, SIZE};
use super::services::{Interrupts, Registers};
use crate::layout::DIRECT_MAP_BASE;
use crate::num::{low32, to_usize};

/// EFER and its bit that makes paging long mode (SDM volume 4).
const EFER: u32 = 0xc000_0080;
const EFER_LME: u32 = 1 << 8;
/// CR4.PAE alone.
const CR4_PAE: u32 = 1 << 5;
/// CR0 in real mode, and in protected mode without paging: ET, PE.
const CR0_REAL: u32 = 0x10;
const CR0_PROTECTED: u32 = 0x11;
/// CR0 with paging: PG, WP, NE, ET, MP, PE.
const CR0_PAGING: u32 = 0x8001_0033;

/// Selectors of the descriptors in [`Head`].
const CODE64: u16 = 0x08;
const DATA32: u16 = 0x10;
const CODE32: u16 = 0x18;
const CODE16: u16 = 0x20;
const DATA16: u16 = 0x28;

/// A pseudo-descriptor as LGDT takes it in 64-bit mode; in the others it takes less of the base.
#[repr(C, packed)]
struct Table {
    limit: u16,
    base: u64,
}

/// A far pointer with a 32-bit offset.
#[repr(C, packed)]
struct Far {
    offset: u32,
    selector: u16,
}

/// What the area begins with.
#[repr(C, packed)]
struct Head {
    registers: Registers,
    /// Offset and segment of the code's second half, in real mode.
    real: [u16; 2],
    /// Into the boot section's 32-bit code.
    to_32: Far,
    /// Into the code, in 16-bit protected mode.
    to_16: Far,
    gdt: Table,
    /// The real-mode interrupt vectors.
    idt: Table,
    descriptors: [u64; 6],
}

/// Offset of the code in the area.
const CODE: usize = size_of::<Head>();

/// What is saved here: RSP, CR0, CR3, CR4, EFER, GDTR and IDTR (two words each).
#[unsafe(no_mangle)]
static OXEN_BIOS_SAVED: [AtomicU64; 9] = [const { AtomicU64::new(0) }; 9];

global_asm!(
    r#"
    .section .text.oxen_bios_enter, "ax", @progbits
    .code64
    // EDI: the area.
oxen_bios_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov eax, cs
    push rax
    mov eax, ss
    push rax
    lea rsi, [rip + OXEN_BIOS_SAVED]
    mov [rsi], rsp
    mov rax, cr0
    mov [rsi + 8], rax
    mov rax, cr3
    mov [rsi + 16], rax
    mov rax, cr4
    mov [rsi + 24], rax
    mov ecx, {efer}
    rdmsr
    mov [rsi + 32], eax
    sgdt [rsi + 40]
    sidt [rsi + 56]
    mov eax, {pae}
    mov cr4, rax
    mov eax, offset boot_l4
    mov cr3, rax
    mov eax, offset oxen_bios_leave
    jmp rax

    .section .boot.text, "awx"
oxen_bios_leave:
    lgdt [rdi + {gdt}]
    // Far, by the pointer at RDI + to_32.
    .byte 0xff, 0x6f, {to_32}
    .code32
oxen_bios_leave_32:
    mov eax, {data32}
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, {efer}
    rdmsr
    and eax, ~{lme}
    wrmsr
    xor eax, eax
    mov cr4, eax
    // Far, by the pointer at EDI + to_16.
    .byte 0xff, 0x6f, {to_16}

    .section .boot.data, "aw"
    .code16
oxen_bios_code:
    // CS begins with the area, and so does what is loaded here.
    mov ax, {data16}
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    lidtd [{idt}]
    mov eax, {cr0_real}
    mov cr0, eax
    // Far, by the pointer at `real`.
    .byte 0xff, 0x2e
    .short {real}
oxen_bios_real:
    mov ax, cs
    mov ds, ax
    mov ss, ax
    mov sp, {stack}
    xor ax, ax
    mov fs, ax
    mov gs, ax
    xor ebp, ebp
    mov ebx, [{ebx}]
    mov ecx, [{ecx}]
    mov edx, [{edx}]
    mov esi, [{esi}]
    mov edi, [{edi}]
    mov es, [{es}]
    mov eax, [{eax}]
    mov ds, [{ds}]
    sti
oxen_bios_int:
    // The number is put in.
    .byte 0xcd, 0
    pushf
    cli
    cld
    mov cs:[{eax}], eax
    mov cs:[{ebx}], ebx
    mov cs:[{ecx}], ecx
    mov cs:[{edx}], edx
    mov cs:[{esi}], esi
    mov cs:[{edi}], edi
    mov cs:[{ds}], ds
    mov cs:[{es}], es
    pop ax
    mov cs:[{flags}], ax
    mov ax, cs
    mov ds, ax
    lgdtd [{gdt}]
    mov eax, {cr0_protected}
    mov cr0, eax
    .byte 0x66, 0xea
    .long oxen_bios_back_32
    .short {code32}
oxen_bios_code_end:

    .section .boot.text, "awx"
    .code32
oxen_bios_back_32:
    mov eax, {data32}
    mov ds, eax
    mov es, eax
    mov ss, eax
    // Address line 20, should the BIOS have turned it off: port 92h bit 1; bit 0 would reset. A machine without the port
    // reads ones.
    in al, 0x92
    test al, 2
    jnz 2f
    or al, 2
    and al, 0xfe
    out 0x92, al
2:  mov eax, {pae}
    mov cr4, eax
    mov eax, offset boot_l4
    mov cr3, eax
    mov ecx, {efer}
    rdmsr
    or eax, {lme}
    wrmsr
    mov eax, {cr0_paging}
    mov cr0, eax
    .byte 0xea
    .long oxen_bios_back_64
    .short {code64}
    .code64
oxen_bios_back_64:
    movabs rax, offset oxen_bios_return
    jmp rax

    .section .text.oxen_bios_enter, "ax", @progbits
oxen_bios_return:
    lea rsi, [rip + OXEN_BIOS_SAVED]
    // No-execute before the page tables that use it.
    mov ecx, {efer}
    rdmsr
    or eax, [rsi + 32]
    wrmsr
    mov rax, [rsi + 24]
    mov cr4, rax
    mov rax, [rsi + 16]
    mov cr3, rax
    mov rax, [rsi + 8]
    mov cr0, rax
    lgdt [rsi + 40]
    lidt [rsi + 56]
    mov rsp, [rsi]
    pop rax
    mov ss, eax
    lea rax, [rip + 3f]
    push rax
    retfq
3:  xor eax, eax
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
    .text
    "#,
    efer = const EFER,
    lme = const EFER_LME,
    pae = const CR4_PAE,
    cr0_real = const CR0_REAL,
    cr0_protected = const CR0_PROTECTED,
    cr0_paging = const CR0_PAGING,
    code64 = const CODE64,
    data32 = const DATA32,
    code32 = const CODE32,
    data16 = const DATA16,
    stack = const SIZE,
    gdt = const offset_of!(Head, gdt),
    idt = const offset_of!(Head, idt),
    to_32 = const offset_of!(Head, to_32),
    to_16 = const offset_of!(Head, to_16),
    real = const offset_of!(Head, real),
    eax = const offset_of!(Registers, eax),
    ebx = const offset_of!(Registers, ebx),
    ecx = const offset_of!(Registers, ecx),
    edx = const offset_of!(Registers, edx),
    esi = const offset_of!(Registers, esi),
    edi = const offset_of!(Registers, edi),
    ds = const offset_of!(Registers, ds),
    es = const offset_of!(Registers, es),
    flags = const offset_of!(Registers, flags),
);

unsafe extern "C" {
    static oxen_bios_code: u8;
    static oxen_bios_real: u8;
    static oxen_bios_int: u8;
    static oxen_bios_code_end: u8;
    static oxen_bios_leave_32: u8;
    /// Executes what has been put into the area at this physical address.
    fn oxen_bios_enter(area: u64);
}

/// The boot CPU with an area to go to real mode in.
pub(super) struct RealMode {
    /// Physical address of the area, below 640 KiB.
    area: u64,
    buffer: [u8; BUFFER_SIZE],
}

impl RealMode {
    /// Takes the area at physical address `area`, a multiple of the page size.
    ///
    /// # Safety
    /// The area is RAM below 640 KiB that nothing uses, this is the only CPU that runs, with interrupts off, and no device
    /// has been set up since the BIOS did it. All of this stays so as long as there is this value.
    pub(super) const unsafe fn new(area: u64) -> Self {
        Self {
            area,
            buffer: [0; BUFFER_SIZE],
        }
    }

    /// A place in the area, through the direct map.
    fn at<T>(&self, offset: usize) -> *mut T {
        (DIRECT_MAP_BASE + self.area + offset as u64) as *mut T
    }

    /// The area's segment in real mode, and the one `offset` bytes further on.
    fn segment_at(&self, offset: u64) -> u16 {
        u16::try_from((self.area + offset) >> 4).unwrap_or(u16::MAX)
    }

    fn head(&self, registers: Registers) -> Head {
        let area = low32(self.area);
        let code = (&raw const oxen_bios_code).addr();
        let real = (&raw const oxen_bios_real).addr() - code + CODE;
        // The boot section is linked at its physical address.
        let leave = low32((&raw const oxen_bios_leave_32).addr() as u64);
        let base = u64::from(area) << 16;
        Head {
            registers,
            real: [u16::try_from(real).unwrap_or(0), self.segment_at(0)],
            to_32: Far {
                offset: leave,
                selector: CODE32,
            },
            to_16: Far {
                offset: low32(CODE as u64),
                selector: CODE16,
            },
            gdt: Table {
                limit: 47,
                base: self.area + offset_of!(Head, descriptors) as u64,
            },
            idt: Table {
                limit: 0x3ff,
                base: 0,
            },
            descriptors: [
                0,
                0x00af_9b00_0000_ffff,
                0x00cf_9300_0000_ffff,
                0x00cf_9b00_0000_ffff,
                // 64 KiB from the area on, as real mode wants to find them.
                0x0000_9b00_0000_ffff | base,
                0x0000_9300_0000_ffff | base,
            ],
        }
    }
}

impl Interrupts for RealMode {
    fn segment(&self) -> u16 {
        self.segment_at(BUFFER)
    }

    fn buffer(&mut self) -> &mut [u8; BUFFER_SIZE] {
        &mut self.buffer
    }

    fn interrupt(&mut self, number: u8, registers: &mut Registers) {
        let code = &raw const oxen_bios_code;
        let length = (&raw const oxen_bios_code_end).addr() - code.addr();
        let number_at = CODE + (&raw const oxen_bios_int).addr() - code.addr() + 1;
        // Linked at its physical address, like the rest of the boot section.
        let code = (DIRECT_MAP_BASE + code.addr() as u64) as *const u8;
        let buffer = to_usize(BUFFER);
        // SAFETY: the area is ours and mapped writable, as all RAM is; head, code and buffer have their places in it. The
        // code leaves everything that Rust relies on as it was (not the bases of FS and GS, which guests alone use: they
        // are loaded with a guest's state). The services are called with addresses in the area only.
        unsafe {
            self.at::<Head>(0).write(self.head(*registers));
            self.at::<u8>(CODE)
                .copy_from_nonoverlapping(code, length.min(buffer - CODE));
            self.at::<u8>(number_at).write(number);
            self.at::<[u8; BUFFER_SIZE]>(buffer).write(self.buffer);
            oxen_bios_enter(self.area);
            *registers = self.at::<Registers>(0).read();
            self.buffer = self.at::<[u8; BUFFER_SIZE]>(buffer).read();
        }
    }
}
