//! Entry point, ELF notes and the boot stack.

use core::arch::global_asm;
use core::sync::atomic::{AtomicPtr, Ordering};

use oxen_abi::arch_x86::{HYPERVISOR_VIRT_START, PTE_PRESENT};
use oxen_abi::elfnote as note;
use oxen_abi::features::{XENFEAT_DOM0, XENFEAT_WRITABLE_PAGE_TABLES};
use oxen_abi::start_info::StartInfo;
use zerocopy::FromZeros;

/// Bytes of the boot stack.
const STACK_SIZE: usize = 64 << 10;

// What the domain builder must know, as elfnote.h numbers it.
global_asm!(
    ".macro xen_note_quad kind, value:vararg",
    ".balign 4",
    ".long 4, 29901f - 29900f, \\kind",
    ".asciz \"Xen\"",
    "29900: .quad \\value",
    "29901:",
    ".endm",
    ".macro xen_note_text kind, text",
    ".balign 4",
    ".long 4, 29903f - 29902f, \\kind",
    ".asciz \"Xen\"",
    "29902: .asciz \"\\text\"",
    "29903:",
    ".endm",
    ".pushsection .note.Xen, \"a\", @note",
    "xen_note_text {guest_os}, oxen-test-guest",
    "xen_note_text {guest_version}, 0.1",
    "xen_note_text {xen_version}, xen-3.0",
    "xen_note_text {loader}, generic",
    "xen_note_quad {entry}, _start",
    "xen_note_quad {hypercall_page}, hypercall_page",
    "xen_note_quad {virt_base}, VIRT_BASE",
    "xen_note_quad {paddr_offset}, 0",
    "xen_note_quad {hv_start_low}, {hypervisor_start}",
    "xen_note_quad {l1_mfn_valid}, {present}, {present}",
    "xen_note_quad {mod_start_pfn}, 1",
    "xen_note_quad {supported_features}, {features}",
    "xen_note_text {pae_mode}, yes",
    ".popsection",
    guest_os = const note::XEN_ELFNOTE_GUEST_OS,
    guest_version = const note::XEN_ELFNOTE_GUEST_VERSION,
    xen_version = const note::XEN_ELFNOTE_XEN_VERSION,
    loader = const note::XEN_ELFNOTE_LOADER,
    entry = const note::XEN_ELFNOTE_ENTRY,
    hypercall_page = const note::XEN_ELFNOTE_HYPERCALL_PAGE,
    virt_base = const note::XEN_ELFNOTE_VIRT_BASE,
    paddr_offset = const note::XEN_ELFNOTE_PADDR_OFFSET,
    hv_start_low = const note::XEN_ELFNOTE_HV_START_LOW,
    l1_mfn_valid = const note::XEN_ELFNOTE_L1_MFN_VALID,
    mod_start_pfn = const note::XEN_ELFNOTE_MOD_START_PFN,
    supported_features = const note::XEN_ELFNOTE_SUPPORTED_FEATURES,
    pae_mode = const note::XEN_ELFNOTE_PAE_MODE,
    hypervisor_start = const HYPERVISOR_VIRT_START,
    present = const PTE_PRESENT,
    features = const (1u64 << XENFEAT_DOM0) | (1 << XENFEAT_WRITABLE_PAGE_TABLES),
);

// The page that the domain builder or the hypervisor fills with call stubs.
global_asm!(
    ".pushsection .hypercall_page, \"ax\", @progbits",
    ".globl hypercall_page",
    ".balign 4096",
    "hypercall_page:",
    ".skip 4096, 0xcc",
    ".popsection",
);

global_asm!(
    ".pushsection .text.start, \"ax\", @progbits",
    ".globl _start",
    "_start:",
    "cld",
    "lea rsp, [rip + boot_stack + {size}]",
    "xor ebp, ebp",
    "mov rdi, rsi",
    "call {entry}",
    "ud2",
    ".popsection",
    ".pushsection .bss.boot_stack, \"aw\", @nobits",
    ".balign 4096",
    "boot_stack: .skip {size}",
    ".popsection",
    size = const STACK_SIZE,
    entry = sym entry,
);

unsafe extern "C" {
    fn _start();
}

/// Address of the entry point.
#[must_use]
pub fn entry_address() -> u64 {
    _start as *const () as u64
}

static START_INFO: AtomicPtr<StartInfo> = AtomicPtr::new(core::ptr::null_mut());

/// First Rust function, called on the boot stack with what was in RSI.
extern "C" fn entry(start_info: *mut StartInfo) -> ! {
    START_INFO.store(start_info, Ordering::Relaxed);
    crate::kernel::run()
}

/// A copy of the start information.
pub fn start_info() -> StartInfo {
    let pointer = START_INFO.load(Ordering::Relaxed);
    if pointer.is_null() {
        return StartInfo::new_zeroed();
    }
    // SAFETY: the domain builder passes the address of a mapped page with this structure, which
    // nothing else in this kernel writes.
    unsafe { pointer.read_volatile() }
}
