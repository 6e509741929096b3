//! GDT, TSS and LDT.
//!
//! A CPU's GDT is a window of its per-CPU area: 14 pages for the frames of the running guest's GDT, then one page with
//! the hypervisor's own descriptors (and the TSS). The LDT is a second window. Their L1 entries are written by the CPU
//! they belong to, and are not global, so that loading CR3 forgets them. GDT pages that the guest does not have are zeros,
//! so that its selectors past the end raise #GP; LDT pages are mapped when the CPU first misses them.

use alloc::boxed::Box;
use core::cell::UnsafeCell;

use oxen_core::Mfn;
use x86_64::VirtAddr;
use x86_64::instructions::tables::{lgdt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;

use super::entry::word;
use crate::layout::{GDT_WINDOW, LDT_WINDOW, PAGE_SIZE};
use crate::percpu::{
    DB_STACK_TOP, DF_STACK_TOP, ENTRY_PAGE, ENTRY_STACK, MC_STACK_TOP, NMI_STACK_TOP, PerCpu,
    RSP0_OFFSET, this_header,
};
use crate::{isolation, window};

/// Pages of the GDT window that are the guest's.
const GUEST_PAGES: usize = 14;
/// Offset of the hypervisor's page in the GDT (FIRST_RESERVED_GDT_BYTE of the ABI).
const OWN_OFFSET: u64 = GUEST_PAGES as u64 * PAGE_SIZE;
/// Pages of the LDT window.
const LDT_PAGES: usize = 16;

/// The hypervisor's code.
pub(super) const CODE_SELECTOR: u16 = 0xe008;
/// The base of SYSRET's selectors: 32-bit code here, data at +8, 64-bit code at +16.
pub(super) const SYSRET_BASE: u16 = 0xe023;
pub(crate) const DATA_SELECTOR: u16 = 0xe010;
const TSS_SELECTOR: u16 = 0xe040;
const LDT_SELECTOR: u16 = 0xe050;
const LDT_INDEX: usize = 10;

/// Stacks of the TSS's interrupt stack table, by their number in a gate.
#[derive(Clone, Copy)]
pub(super) enum Ist {
    /// #DF.
    DoubleFault = 1,
    /// NMI.
    Nmi = 2,
    /// #MC.
    MachineCheck = 3,
    /// #DB.
    Debug = 4,
}

/// Tops of their stacks, as offsets in a stack block.
pub(super) const IST_TOPS: [u64; 4] = [DF_STACK_TOP, NMI_STACK_TOP, MC_STACK_TOP, DB_STACK_TOP];

/// Tops of their parts of the entry page, in that order.
fn entry_stacks(block: u64) -> [u64; 4] {
    core::array::from_fn(|index| block + ENTRY_PAGE + ENTRY_STACK * (index as u64 + 1))
}

/// 64-bit TSS (SDM volume 3, 8.7). The I/O map's base is past the limit: a guest's port access always faults.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map_base: u16,
}

const _: () = assert!(size_of::<Tss>() == 104);

const DESCRIPTORS: usize = 16;

/// The hypervisor's page of a CPU's GDT.
#[repr(C, align(4096))]
struct OwnPage {
    descriptors: [u64; DESCRIPTORS],
    tss: Tss,
}

const OWN_LIMIT: u64 = OWN_OFFSET + (DESCRIPTORS as u64) * 8 - 1;
const TSS_OFFSET: u64 = OWN_OFFSET + core::mem::offset_of!(OwnPage, tss) as u64;

/// Stacks for the boot CPU before it has its per-CPU block.
#[repr(C, align(16))]
struct EarlyStack(UnsafeCell<[u8; 8192]>);

// SAFETY: only the boot CPU uses it, through its TSS.
unsafe impl Sync for EarlyStack {}

static EARLY_STACK: EarlyStack = EarlyStack(UnsafeCell::new([0; 8192]));

struct EarlyPage(UnsafeCell<OwnPage>);

// SAFETY: written once by the boot CPU in `load_early`, then only read by its hardware until `load` replaces it.
unsafe impl Sync for EarlyPage {}

static EARLY_PAGE: EarlyPage = EarlyPage(UnsafeCell::new(OwnPage {
    descriptors: [0; DESCRIPTORS],
    tss: Tss::new(0, [0; 4]),
}));

impl Tss {
    const fn new(rsp0: u64, stacks: [u64; 4]) -> Self {
        let [first, second, third, fourth] = stacks;
        Self {
            reserved0: 0,
            rsp: [rsp0, 0, 0],
            reserved1: 0,
            ist: [first, second, third, fourth, 0, 0, 0],
            reserved2: 0,
            reserved3: 0,
            #[expect(clippy::cast_possible_truncation, reason = "104")]
            io_map_base: size_of::<Tss>() as u16,
        }
    }
}

impl OwnPage {
    /// Descriptors with a TSS at address `tss`, for CPU number `cpu`.
    const fn new(tss_address: u64, cpu: u32, tss: Tss) -> Self {
        let [tss_low, tss_high] = system(tss_address, 103, 9);
        Self {
            descriptors: [
                0,
                0x00af_9b00_0000_ffff, // 0xe008: ring 0, 64-bit code
                0x00cf_9300_0000_ffff, // 0xe010: ring 0, data
                0,
                0x00cf_fb00_0000_ffff, // 0xe020: ring 3, 32-bit code
                0x00cf_f300_0000_ffff, // 0xe028: ring 3, data
                0x00af_fb00_0000_ffff, // 0xe030: ring 3, 64-bit code
                0,
                tss_low, // 0xe040
                tss_high,
                0, // 0xe050: LDT
                0,
                // 0xe060: the limit tells guests' LSL the CPU's number
                0x0040_f100_0000_0000 | cpu as u64,
                0,
                0,
                0,
            ],
            tss,
        }
    }
}

/// A system descriptor: 2 = LDT, 9 = available TSS.
const fn system(base: u64, limit: u64, kind: u64) -> [u64; 2] {
    const PRESENT: u64 = 1 << 47;
    [
        (limit & 0xffff)
            | ((base & 0xff_ffff) << 16)
            | (kind << 40)
            | PRESENT
            | ((limit & 0xf_0000) << 32)
            | ((base & 0xff00_0000) << 32),
        base >> 32,
    ]
}

/// Descriptors for the boot CPU on the boot stack. The GDT's base is chosen so that the usual selectors hit the page.
pub(super) fn load_early() {
    let page = EARLY_PAGE.0.get();
    let base = page as u64 - OWN_OFFSET;
    let stack = EARLY_STACK.0.get() as u64 + 8192;
    // SAFETY: the boot CPU is alone and has not loaded the page yet.
    unsafe {
        page.write(OwnPage::new(
            base + TSS_OFFSET,
            0,
            Tss::new(stack, [stack; 4]),
        ))
    };
    // SAFETY: the page is static and complete.
    unsafe { load_tables(base) }
}

/// Descriptors of a CPU in its window.
pub(super) fn load(cpu: &PerCpu) {
    let block = cpu.stack_block();
    let base = crate::percpu::area(cpu.cpu) + GDT_WINDOW;
    let tops = if isolation::is_on() {
        entry_stacks(block)
    } else {
        IST_TOPS.map(|top| block + top)
    };
    let tss = Tss::new(block + RSP0_OFFSET, tops);
    let page = Box::leak(Box::new(OwnPage::new(base + TSS_OFFSET, cpu.cpu, tss)));
    let entries = window::entries(cpu.cpu);
    // SAFETY: this CPU's own header.
    unsafe { (*this_header()).entry[word::WINDOW] = core::ptr::from_ref(entries) as u64 };
    let frame = Mfn::containing(crate::paging::undirect(core::ptr::from_ref(page) as u64));
    for page in 0..GUEST_PAGES {
        window::set(window::GDT_FIRST + page, None);
    }
    window::set(window::GDT_FIRST + GUEST_PAGES, Some(frame));
    // SAFETY: the page is mapped at its place in the window now and never freed.
    unsafe { load_tables(base) }
}

/// Loads GDTR, the segment registers and TR.
///
/// # Safety
/// The hypervisor's descriptors lie at `base` + [`OWN_OFFSET`] for as long as the tables are loaded.
unsafe fn load_tables(base: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "below 64 Ki")]
    let pointer = DescriptorTablePointer {
        limit: OWN_LIMIT as u16,
        base: VirtAddr::new(base),
    };
    // SAFETY: by the caller's promise. The code selector's descriptor is 64-bit ring-0 code, the same as before.
    unsafe {
        lgdt(&pointer);
        core::arch::asm!(
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ss, {data:e}",
            "xor {scratch:e}, {scratch:e}",
            "mov ds, {scratch:e}",
            "mov es, {scratch:e}",
            "mov fs, {scratch:e}",
            "mov gs, {scratch:e}",
            code = in(reg) u64::from(CODE_SELECTOR),
            data = in(reg) u32::from(DATA_SELECTOR),
            scratch = out(reg) _,
        );
        load_tss(SegmentSelector(TSS_SELECTOR));
    }
}

/// Maps the running guest's GDT frames in front of the hypervisor's descriptors.
pub(crate) fn map_gdt(frames: &[Mfn]) {
    let header = this_header();
    // SAFETY: this CPU's own header.
    let mapped = unsafe { (*header).entry[word::GDT_PAGES] };
    let count = frames.len().min(GUEST_PAGES);
    for (page, frame) in frames.iter().take(GUEST_PAGES).enumerate() {
        window::set(window::GDT_FIRST + page, Some(*frame));
    }
    for page in count..crate::num::to_usize(mapped).min(GUEST_PAGES) {
        window::set(window::GDT_FIRST + page, None);
    }
    // SAFETY: as above.
    unsafe { (*header).entry[word::GDT_PAGES] = count as u64 }
}

/// Sets the LDT to `entries` descriptors (8192 at the most) of the window and unmaps all of its pages.
pub(crate) fn set_ldt(entries: u32) {
    let header = this_header();
    // SAFETY: this CPU's own header.
    let mut mapped = unsafe { core::mem::take(&mut (*header).entry[word::LDT_PAGES]) };
    while mapped != 0 {
        window::set(window::LDT_FIRST + mapped.trailing_zeros() as usize, None);
        mapped &= mapped - 1;
    }
    let entries = u64::from(entries.min(8192));
    let selector = if entries == 0 {
        0
    } else {
        // SAFETY: as above.
        let base = crate::percpu::area(unsafe { (*header).cpu }) + LDT_WINDOW;
        write_own(LDT_INDEX, system(base, entries * 8 - 1, 2));
        LDT_SELECTOR
    };
    // SAFETY: null, or the descriptor just written, whose pages fault while they are not mapped.
    unsafe { core::arch::asm!("lldt {0:x}", in(reg) selector, options(nostack, preserves_flags)) }
}

/// Maps a frame as page `index` of the LDT window.
pub(crate) fn map_ldt_page(index: usize, frame: Mfn) {
    if index < LDT_PAGES {
        window::set(window::LDT_FIRST + index, Some(frame));
        // SAFETY: this CPU's own header.
        unsafe { (*this_header()).entry[word::LDT_PAGES] |= 1 << index }
    }
}

/// How far into this CPU's LDT window an address lies.
pub(crate) fn ldt_offset(address: u64) -> Option<u64> {
    // SAFETY: this CPU's own header.
    let base = crate::percpu::area(unsafe { (*this_header()).cpu }) + LDT_WINDOW;
    let offset = address.checked_sub(base)?;
    (offset < LDT_PAGES as u64 * PAGE_SIZE).then_some(offset)
}

/// Lets this CPU's interrupt stack table begin in the entry page: page tables are going to be isolated.
pub(crate) fn use_entry_stacks(cpu: &PerCpu) {
    let tss = crate::percpu::area(cpu.cpu) + GDT_WINDOW + TSS_OFFSET;
    let table = (tss + core::mem::offset_of!(Tss, ist) as u64) as *mut [u64; 4];
    // SAFETY: this CPU's own TSS, which it has loaded and which is mapped there; the stacks are mapped too. The
    // structure is packed to four bytes.
    unsafe { table.write_unaligned(entry_stacks(cpu.stack_block())) }
}

/// Writes a system descriptor into this CPU's own page.
fn write_own(index: usize, descriptor: [u64; 2]) {
    // SAFETY: this CPU's own header; its own descriptor page is mapped there, and `index` is that of a 16-byte
    // descriptor inside it. Only this CPU writes it.
    unsafe {
        let base = crate::percpu::area((*this_header()).cpu) + GDT_WINDOW + OWN_OFFSET;
        (base as *mut u64)
            .add(index)
            .cast::<[u64; 2]>()
            .write_volatile(descriptor);
    }
}
