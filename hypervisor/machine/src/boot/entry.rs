//! The way from the loader's 32-bit protected mode into 64-bit Rust.
//!
//! Everything here lies in the section `.boot`, which is linked at its physical address (boot/oxen.ld). The page tables
//! made here map the first 4 GiB twice, at 0 (for the jump, and for the other CPUs' start) and in the direct map, and
//! the image at its link address. They are replaced by [`crate::paging`] before anything else runs; only starting CPUs
//! go through them again.

use core::arch::global_asm;

use crate::layout::{DIRECT_MAP_BASE, IMAGE_BASE, IMAGE_PHYS};

// EFER bits (SDM volume 4): long mode enable, no-execute enable.
const EFER: u32 = 0xc000_0080;
const EFER_LME_NXE: u32 = (1 << 8) | (1 << 11);
// CPUID 0x80000001 EDX: long mode, no-execute.
const LM_NX: u32 = (1 << 29) | (1 << 20);

global_asm!(
    r#"
    .section .boot.header, "a"
    // Multiboot 1: page-aligned modules, memory map wanted.
    .balign 8
    .long 0x1badb002, 3, -(0x1badb002 + 3)

    // Multiboot 2, architecture i386.
    .balign 8
2:  .long 0xe85250d6, 0, 3f - 2b, -(0xe85250d6 + (3f - 2b))
    // Page-aligned modules.
    .short 6, 0
    .long 8
    // End.
    .short 0, 0
    .long 8
3:

    .section .boot.text, "awx"
    .code32
    .global oxen_start
oxen_start:
    cli
    cld
    mov esp, offset boot_stack_top
    mov ebp, eax
    mov esi, ebx

    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb 9f
    mov eax, 0x80000001
    cpuid
    and edx, {lm_nx}
    cmp edx, {lm_nx}
    jne 9f

    // CR4.PAE; the other bits are set once Rust knows what the CPU has.
    mov eax, 0x20
    mov cr4, eax
    mov eax, offset boot_l4
    mov cr3, eax
    mov ecx, {efer}
    rdmsr
    or eax, {efer_bits}
    wrmsr
    // PG, WP, NE, ET, MP, PE.
    mov eax, 0x80010033
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    mov eax, 8
    push eax
    mov eax, offset boot_long_mode
    push eax
    retf

    // No long mode: say so on COM1 and on the VGA text screen.
9:  mov esi, offset boot_no_long_mode
    mov edi, 0xb8000
    mov ah, 0x4f
8:  lodsb
    test al, al
    jz 7f
    mov edx, 0x3f8
    out dx, al
    stosw
    jmp 8b
7:  hlt
    jmp 7b

boot_no_long_mode:
    .asciz "Oxen needs a 64-bit CPU with no-execute pages; this one has not both. Halted.\r\n"

    .code64
boot_long_mode:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    // The boot stack through the direct map, so that the low mapping can go.
    movabs rax, {direct_map}
    mov esp, offset boot_stack_top
    add rsp, rax
    // No caller: the end of every backtrace.
    mov edi, ebp
    xor ebp, ebp
    push rbp
    push rbp
    movabs rax, offset {main}
    call rax
    ud2

    .section .boot.data, "aw"
    .balign 4096
    .global boot_l4
boot_l4:
    .quad boot_l3_low + 3
    .fill {slot_image} - 1, 8, 0
    .quad boot_l3_image + 3
    .fill {slot_direct} - {slot_image} - 1, 8, 0
    .quad boot_l3_low + 3
    .fill 511 - {slot_direct}, 8, 0
boot_l3_low:
    .quad boot_l2_low + 0x0003
    .quad boot_l2_low + 0x1003
    .quad boot_l2_low + 0x2003
    .quad boot_l2_low + 0x3003
    .fill 508, 8, 0
boot_l3_image:
    .fill {l3_image}, 8, 0
    .quad boot_l2_image + 3
    .fill 511 - {l3_image}, 8, 0
    // 2 MiB pages: present, writable, large.
boot_l2_low:
    .set page, 0x83
    .rept 2048
    .quad page
    .set page, page + 0x200000
    .endr
boot_l2_image:
    .set page, {image_phys} + 0x83
    .rept 16
    .quad page
    .set page, page + 0x200000
    .endr
    .fill 496, 8, 0

    .global boot_gdt
    .global boot_gdt_pointer
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff // 0x08: 64-bit code
    .quad 0x00cf93000000ffff // 0x10: data
    .quad 0x00cf9b000000ffff // 0x18: 32-bit code, for starting CPUs
boot_gdt_pointer:
    .short 31
    .quad boot_gdt

    .balign 16
boot_stack:
    .fill 65536, 1, 0
boot_stack_top:
    .text
    "#,
    lm_nx = const LM_NX,
    efer = const EFER,
    efer_bits = const EFER_LME_NXE,
    direct_map = const DIRECT_MAP_BASE,
    slot_image = const crate::layout::l4_slot(IMAGE_BASE),
    slot_direct = const crate::layout::l4_slot(DIRECT_MAP_BASE),
    l3_image = const (IMAGE_BASE >> 30) & 511,
    image_phys = const IMAGE_PHYS,
    main = sym super::start::oxen_boot,
);
