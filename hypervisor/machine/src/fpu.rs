//! FPU, SSE, AVX and AVX-512 state, switched eagerly.
//!
//! With XSAVE the whole state that this host supports is loaded at each switch, with XCR0 opened for it, so that nothing
//! of one guest stays in registers that another guest could make visible later by an XSETBV of its own.

use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::arch::{asm, global_asm};
use core::ptr::NonNull;

use crate::control;
use crate::cpuid::{Features, cpuid};
use crate::num::low32;
use crate::percpu::this_header;
use crate::xsave_area::{
    AVX, AVX512, FCW_DEFAULT, HEADER, MINIMUM, MXCSR, MXCSR_DEFAULT, MXCSR_MASK, X87_SSE,
    fill_initial, is_standard, is_xcr0,
};

/// State components that guests may use: x87, SSE, AVX, and AVX-512's three. PKRU needs CR4.PKE, and AMX its own fault
/// handling; both stay hidden.
const COMPONENTS: u64 = 0xe7;

/// What this host's FPU is like.
#[derive(Clone, Copy, Debug)]
struct Host {
    /// All components in use; 0 without XSAVE.
    mask: u64,
    size: usize,
    optimised: bool,
    mxcsr_mask: u32,
    /// FXRSTOR and XRSTOR leave the x87's error pointers alone while no exception is pending (AMD).
    keeps_pointers: bool,
}

impl Host {
    fn get() -> &'static Self {
        static HOST: spin::Once<Host> = spin::Once::new();
        HOST.call_once(Self::read)
    }

    fn read() -> Self {
        let features = Features::get();
        let mask = if features.xsave { supported() } else { 0 };
        let mut host = Self {
            mask,
            size: if features.xsave {
                area_size(mask)
            } else {
                MINIMUM
            },
            optimised: features.xsaveopt,
            mxcsr_mask: 0xffbf,
            keeps_pointers: keeps_pointers(),
        };
        let area = State::new(&host);
        control::set_ts(false);
        // SAFETY: the area is aligned and has room for the legacy image.
        unsafe { asm!("fxsave64 [{}]", in(reg) area.pointer(), options(nostack, preserves_flags)) };
        match area.word(MXCSR_MASK) {
            // SDM volume 1, 11.6.6: zero stands for the default.
            0 => {}
            found => host.mxcsr_mask = found,
        }
        host
    }
}

/// Components of [`COMPONENTS`] that the CPU has; AVX-512's only together.
fn supported() -> u64 {
    let leaf = cpuid(13, 0);
    let mut mask = COMPONENTS & ((u64::from(leaf.edx) << 32) | u64::from(leaf.eax));
    if mask & AVX == 0 || mask & AVX512 != AVX512 {
        mask &= !AVX512;
    }
    mask | X87_SSE
}

/// AMD's and Hygon's CPUs but for those that say otherwise (APM volume 3, CPUID 8000_0008h EBX bit 2).
fn keeps_pointers() -> bool {
    const LEAF: u32 = 0x8000_0008;
    // "Auth", "Hygo": the first four letters of the vendor's name.
    let amd = matches!(cpuid(0, 0).ebx, 0x6874_7541 | 0x6f67_7948);
    let saved = cpuid(0x8000_0000, 0).eax >= LEAF && cpuid(LEAF, 0).ebx & (1 << 2) != 0;
    amd && !saved
}

/// Bytes of an XSAVE area (standard format) for a set of components.
fn area_size(mask: u64) -> usize {
    (2..63)
        .filter(|component| mask & (1 << component) != 0)
        .map(|component| {
            let leaf = cpuid(13, component);
            leaf.eax as usize + leaf.ebx as usize
        })
        .fold(MINIMUM, usize::max)
}

/// A vCPU's state.
#[derive(Debug)]
pub(crate) struct State {
    area: NonNull<u8>,
    size: usize,
    xcr0: u64,
}

// SAFETY: it owns its memory, like a box.
unsafe impl Send for State {}
// SAFETY: shared references only read.
unsafe impl Sync for State {}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with the same layout.
        unsafe { dealloc(self.area.as_ptr(), layout(self.size)) }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 64).expect("an XSAVE area is some kilobytes")
}

impl State {
    fn new(host: &Host) -> Self {
        let layout = layout(host.size);
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(area) = NonNull::new(memory) else {
            handle_alloc_error(layout)
        };
        let mut state = Self {
            area,
            size: host.size,
            xcr0: 1,
        };
        state.reset();
        state
    }

    fn pointer(&self) -> *mut u8 {
        self.area.as_ptr()
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation has this size and is initialised.
        unsafe { core::slice::from_raw_parts(self.pointer(), self.size) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.pointer(), self.size) }
    }

    fn word(&self, offset: usize) -> u32 {
        self.bytes()
            .get(offset..offset + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }

    fn set(&mut self, offset: usize, value: &[u8]) {
        if let Some(bytes) = self.bytes_mut().get_mut(offset..offset + value.len()) {
            bytes.copy_from_slice(value);
        }
    }

    /// As after FNINIT, all else in its initial state.
    fn reset(&mut self) {
        self.bytes_mut().fill(0);
        self.set(0, &FCW_DEFAULT.to_le_bytes());
        self.set(MXCSR, &MXCSR_DEFAULT.to_le_bytes());
    }
}

unsafe extern "C" {
    /// Loads the components `mask` (0: FXRSTOR) from `area`; returns 1 if the CPU refused the contents.
    fn oxen_restore_fpu(area: *const u8, mask_low: u32, mask_high: u32) -> u32;
}

global_asm!(
    r#"
    .section .text.fpu, "ax", @progbits
    .global oxen_restore_fpu
oxen_restore_fpu:
    mov eax, esi
    mov ecx, edx
    or ecx, esi
    jz 3f
2:  xrstor64 [rdi]
    jmp 4f
3:  fxrstor64 [rdi]
4:  xor eax, eax
    ret
5:  mov eax, 1
    ret
    .pushsection .extable, "a"
    .quad 2b, 5b
    .quad 3b, 5b
    .popsection
    .text
    "#
);

/// Opens this CPU's XCR0 for all components.
pub(crate) fn init_cpu() {
    let host = Host::get();
    if host.mask != 0 {
        write_xcr0(host.mask);
    }
}

/// A fresh state.
pub(crate) fn new() -> State {
    State::new(Host::get())
}

/// Saves this CPU's registers.
pub(crate) fn save(state: &mut State) {
    let host = Host::get();
    control::set_ts(false);
    if host.mask == 0 {
        // SAFETY: the area is aligned and large enough.
        unsafe {
            asm!("fxsave64 [{}]", in(reg) state.pointer(), options(nostack, preserves_flags))
        };
        return;
    }
    state.xcr0 = xcr0();
    set_xcr0_word(host.mask);
    let (low, high) = (low32(host.mask), low32(host.mask >> 32));
    // SAFETY: the area has the size of all components of `mask`, and is aligned to 64 bytes. Its header was made by
    // `reset` or by an earlier XSAVE.
    unsafe {
        if host.optimised {
            asm!("xsaveopt64 [{}]", in(reg) state.pointer(), in("eax") low, in("edx") high,
                 options(nostack, preserves_flags));
        } else {
            asm!("xsave64 [{}]", in(reg) state.pointer(), in("eax") low, in("edx") high,
                 options(nostack, preserves_flags));
        }
    }
}

/// Loads this CPU's registers and XCR0.
pub(crate) fn load(state: &State) {
    let host = Host::get();
    control::set_ts(false);
    if host.mask != 0 {
        set_xcr0_word(host.mask);
    }
    if host.keeps_pointers {
        forget_pointers();
    }
    let (low, high) = (low32(host.mask), low32(host.mask >> 32));
    // SAFETY: the area is aligned and large enough; contents that the CPU refuses are recovered from.
    if unsafe { oxen_restore_fpu(state.pointer(), low, high) } != 0 {
        let fresh = new();
        // SAFETY: as above. Initial state is never refused.
        unsafe { oxen_restore_fpu(fresh.pointer(), low, high) };
    }
    if host.mask != 0 {
        set_xcr0_word(state.xcr0);
    }
}

/// Overwrites the x87's instruction and data pointers, so that they don't tell the next guest of the last one.
fn forget_pointers() {
    static ZERO: u32 = 0;
    // SAFETY: changes x87 registers only, which are loaded next. No exception is pending once FNCLEX is done, and
    // a register is free for the load.
    unsafe {
        asm!("fnclex", "ffree st(7)", "fild dword ptr [{}]", in(reg) &raw const ZERO, options(nostack));
    }
}

/// The legacy image.
pub(crate) fn legacy(state: &State) -> [u8; 512] {
    let mut image = [0; 512];
    if let Some(bytes) = state.bytes().get(..512) {
        image.copy_from_slice(bytes);
    }
    if Host::get().mask != 0 {
        let present = state.word(HEADER);
        fill_initial(&mut image, present);
    }
    image
}

/// Takes a legacy image in. The other components are in their initial state then.
pub(crate) fn set_legacy(state: &mut State, image: &[u8; 512]) {
    let host = Host::get();
    state.reset();
    state.set(0, image);
    let mxcsr = state.word(MXCSR) & host.mxcsr_mask;
    state.set(MXCSR, &mxcsr.to_le_bytes());
    state.set(MXCSR_MASK, &0u32.to_le_bytes());
    if host.mask != 0 {
        state.set(HEADER, &X87_SSE.to_le_bytes());
    }
}

/// Components that an area has; 0 without XSAVE.
pub(crate) fn components() -> u64 {
    Host::get().mask
}

/// XCR0 and the XSAVE area; `None` without XSAVE.
pub(crate) fn area(state: &State) -> Option<(u64, &[u8])> {
    (components() != 0).then(|| (state.xcr0, state.bytes()))
}

/// Takes XCR0 and an XSAVE area in. Returns whether they are such as this host can have.
pub(crate) fn set_area(state: &mut State, xcr0: u64, area: &[u8]) -> bool {
    let host = Host::get();
    if host.mask == 0 || !is_xcr0(xcr0, host.mask) || !is_standard(area, host.mask) {
        return false;
    }
    let Some((have, rest)) = state.bytes_mut().split_at_mut_checked(area.len()) else {
        return false;
    };
    have.copy_from_slice(area);
    rest.fill(0);
    let mxcsr = state.word(MXCSR) & host.mxcsr_mask;
    state.set(MXCSR, &mxcsr.to_le_bytes());
    state.xcr0 = xcr0;
    true
}

/// Sets XCR0 for the running vCPU if it is a set of components that can be.
pub(crate) fn set_xcr0(value: u64) -> bool {
    let host = Host::get();
    let allowed = is_xcr0(value, host.mask);
    if allowed && host.mask != 0 {
        set_xcr0_word(value);
    }
    allowed && host.mask != 0
}

fn xcr0() -> u64 {
    // SAFETY: this CPU's own header.
    unsafe { (*this_header()).entry[crate::trap::xcr0_word()] }
}

/// Writes XCR0 where it differs.
fn set_xcr0_word(value: u64) {
    if xcr0() != value {
        write_xcr0(value);
    }
}

fn write_xcr0(value: u64) {
    // SAFETY: the value is a set of components that the CPU has and that may be enabled together.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") low32(value), in("edx") low32(value >> 32),
             options(nostack, preserves_flags));
        (*this_header()).entry[crate::trap::xcr0_word()] = value;
    }
}
