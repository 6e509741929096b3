//! Copies from and to the running guest's memory, through its own page tables.
//!
//! A guest's address is checked against the hypervisor's range and the copy recovers from faults, so the worst that a
//! bad address does is an error. Guest memory is never seen as a reference.

use core::arch::global_asm;
use core::sync::atomic::Ordering;

use oxen_core::machine::Fault;

use crate::control::SMAP;
use crate::layout::{HYPERVISOR_END, HYPERVISOR_START};

unsafe extern "C" {
    /// Copies `bytes` bytes, eight at a time as far as that goes; returns how many were left when it faulted, 0 when
    /// all were copied.
    fn oxen_guest_copy(to: *mut u8, from: *const u8, bytes: usize) -> usize;
    /// The same under STAC and CLAC.
    fn oxen_guest_copy_smap(to: *mut u8, from: *const u8, bytes: usize) -> usize;
}

global_asm!(
    r#"
    .macro GUEST_COPY
    mov rcx, rdx
    and edx, 7
    shr rcx, 3
2:  rep movsq
    mov ecx, edx
3:  rep movsb
4:
    .pushsection .extable, "a"
    .quad 2b, 5f
    .quad 3b, 4b
    .popsection
    .pushsection .text.uaccess_fixup, "ax", @progbits
5:  lea rcx, [rdx + 8 * rcx]
    jmp 4b
    .popsection
    .endm

    .section .text.uaccess, "ax", @progbits
    .global oxen_guest_copy
oxen_guest_copy:
    GUEST_COPY
    mov rax, rcx
    ret

    .global oxen_guest_copy_smap
oxen_guest_copy_smap:
    stac
    GUEST_COPY
    clac
    mov rax, rcx
    ret
    .text
    "#
);

/// Whether a guest may name these bytes: they lie wholly below or wholly above the hypervisor's range, and the address
/// space does not end within them.
fn allowed(address: u64, bytes: usize) -> bool {
    match address.checked_add(bytes as u64) {
        Some(end) => end <= HYPERVISOR_START || address >= HYPERVISOR_END,
        None => false,
    }
}

/// Copies from the guest.
pub(crate) fn copy_from(address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    // SAFETY: the destination is a live slice of that length; the source is outside the hypervisor's range, so what
    // is read is not Rust's, and faults are recovered from.
    unsafe {
        copy(
            bytes.as_mut_ptr(),
            address as *const u8,
            address,
            bytes.len(),
        )
    }
}

/// Copies to the guest.
pub(crate) fn copy_to(address: u64, bytes: &[u8]) -> Result<(), Fault> {
    // SAFETY: the source is a live slice of that length; the destination is outside the hypervisor's range, where page
    // typing lets a guest map nothing of the hypervisor's, and faults are recovered from.
    unsafe { copy(address as *mut u8, bytes.as_ptr(), address, bytes.len()) }
}

/// # Safety
/// The side that is not the guest's is valid for `bytes` bytes; `address` is the guest's side.
unsafe fn copy(to: *mut u8, from: *const u8, address: u64, bytes: usize) -> Result<(), Fault> {
    if !allowed(address, bytes) {
        return Err(Fault);
    }
    // SAFETY: by the caller's promise and the check above.
    let left = unsafe {
        if SMAP.load(Ordering::Relaxed) {
            oxen_guest_copy_smap(to, from, bytes)
        } else {
            oxen_guest_copy(to, from, bytes)
        }
    };
    if left == 0 { Ok(()) } else { Err(Fault) }
}
