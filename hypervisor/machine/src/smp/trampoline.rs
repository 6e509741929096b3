//! The way of a starting CPU from real mode to Rust.
//!
//! A start-up interrupt makes it begin at the start of a page below 1 MiB, where a copy of the first piece lies. That
//! goes on in the boot section, whose page tables have it both at its physical address and at the image's. The last
//! piece is in the image proper: it changes to the hypervisor's page tables and to the CPU's own stack.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::boot::e820::Region;
use crate::layout::{DIRECT_MAP_BASE, PAGE_SIZE};
use crate::num::to_usize;

/// CR3 of the hypervisor's own page tables, for the CPU that starts.
#[unsafe(no_mangle)]
static OXEN_START_CR3: AtomicU64 = AtomicU64::new(0);
/// Its stack pointer.
#[unsafe(no_mangle)]
static OXEN_START_RSP: AtomicU64 = AtomicU64::new(0);

global_asm!(
    r#"
    .section .boot.data, "aw"
    .global oxen_trampoline
    .global oxen_trampoline_end
    .code16
oxen_trampoline:
    cli
    cld
    mov ax, cs
    mov ds, ax
    // Offsets in the page, which DS begins at.
    .set trampoline_gdt, 3f - oxen_trampoline
    .set trampoline_cr3, 4f - oxen_trampoline
    lgdtd [trampoline_gdt]
    // CR4.PAE, the boot page tables, EFER.LME and NXE, then paging and protection at once.
    mov eax, 0x20
    mov cr4, eax
    mov eax, [trampoline_cr3]
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, 0x80010033
    mov cr0, eax
    .byte 0x66, 0xea
    .long oxen_start_long
    .short 0x08
    .balign 8
3:  .short 31
    .long boot_gdt
    .balign 4
4:  .long boot_l4
oxen_trampoline_end:

    .section .boot.text, "awx"
    .code64
oxen_start_long:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset oxen_start_high
    jmp rax

    .section .text.oxen_start_high, "ax"
oxen_start_high:
    mov rax, [rip + OXEN_START_CR3]
    mov cr3, rax
    mov rsp, [rip + OXEN_START_RSP]
    xor ebp, ebp
    push rbp
    push rbp
    call {main}
    ud2
    .text
    "#,
    main = sym super::start::oxen_start_cpu,
);

unsafe extern "C" {
    static oxen_trampoline: u8;
    static oxen_trampoline_end: u8;
}

/// Picks the highest page of RAM below 640 KiB, by its number.
pub(super) fn pick_page(map: &[Region]) -> Option<u8> {
    let low = crate::boot::e820::ram_pages(map);
    let ends = low.iter().filter_map(|(start, end)| {
        let page = (*end).min(0xa_0000).checked_sub(PAGE_SIZE)?;
        (page >= (*start).max(PAGE_SIZE)).then_some(page)
    });
    ends.max()
        .and_then(|page| u8::try_from(page / PAGE_SIZE).ok())
}

/// Copies the first piece to page number `page`.
///
/// # Safety
/// The page is RAM below 1 MiB that nothing uses.
pub(super) unsafe fn install(page: u8) {
    let (start, end) = (&raw const oxen_trampoline, &raw const oxen_trampoline_end);
    let length = end.addr() - start.addr();
    let from = (DIRECT_MAP_BASE + start.addr() as u64) as *const u8;
    let to = (DIRECT_MAP_BASE + u64::from(page) * PAGE_SIZE) as *mut u8;
    // SAFETY: the boot section is linked at its physical address, which the direct map has; the target is ours.
    unsafe { to.copy_from_nonoverlapping(from, length.min(to_usize(PAGE_SIZE))) }
}

/// Says where the next CPU goes.
pub(super) fn set_target(cr3: u64, rsp: u64) {
    OXEN_START_CR3.store(cr3, Ordering::Release);
    OXEN_START_RSP.store(rsp, Ordering::Release);
}
