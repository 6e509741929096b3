//! Segment registers and bases, which stay the guest's while the hypervisor runs.

use core::arch::{asm, global_asm};

use oxen_core::machine::{Base, SegmentState};

use crate::control::fsgsbase_is_on;
use crate::msr::{rdmsr, wrmsr};

const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;

unsafe extern "C" {
    // Each loads a selector, or null and returns 1 if the CPU refused it.
    fn oxen_load_ds(selector: u32) -> u32;
    fn oxen_load_es(selector: u32) -> u32;
    fn oxen_load_fs(selector: u32) -> u32;
    fn oxen_load_gs(selector: u32) -> u32;
}

global_asm!(
    r#"
    .section .text.segments, "ax", @progbits
    .macro LOAD_SEGMENT reg
    .global oxen_load_\reg
oxen_load_\reg:
    xor eax, eax
2:  mov \reg, edi
    ret
    // The null selector never faults.
3:  mov \reg, eax
    mov eax, 1
    ret
    .pushsection .extable, "a"
    .quad 2b, 3b
    .popsection
    .endm
    LOAD_SEGMENT ds
    LOAD_SEGMENT es
    LOAD_SEGMENT fs
    LOAD_SEGMENT gs
    .text
    "#
);

/// Reads registers and bases.
pub(crate) fn save(state: &mut SegmentState) {
    let (ds, es, fs, gs): (u16, u16, u16, u16);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {0:e}, ds", "mov {1:e}, es", "mov {2:e}, fs", "mov {3:e}, gs",
             out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
    }
    let fast = fsgsbase_is_on();
    *state = SegmentState {
        ds,
        es,
        fs,
        gs,
        fs_base: read_base(Base::Fs, fast),
        gs_base: read_base(Base::Gs, fast),
        gs_shadow: read_base(Base::GsShadow, fast),
    };
}

/// Loads registers and bases; a selector that faults becomes null and makes the result `false`.
pub(crate) fn load(state: &SegmentState) -> bool {
    // SAFETY: data segments mean nothing to 64-bit code, and the hypervisor does not use FS and GS. Descriptor pages
    // that can't be read make the load fault, which is recovered from.
    let refused = unsafe {
        oxen_load_ds(u32::from(state.ds))
            | oxen_load_es(u32::from(state.es))
            | oxen_load_fs(u32::from(state.fs))
            | oxen_load_gs(u32::from(state.gs))
    };
    let fast = fsgsbase_is_on();
    write_base(Base::Fs, state.fs_base, fast);
    write_base(Base::Gs, state.gs_base, fast);
    write_base(Base::GsShadow, state.gs_shadow, fast);
    refused == 0
}

/// Exchanges the live and the shadow GS base.
pub(crate) fn swap_gs() {
    // SAFETY: both bases are the guest's.
    unsafe { asm!("swapgs", options(nomem, nostack, preserves_flags)) }
}

/// Sets a base. A non-canonical address is dropped: `core` refuses those before.
pub(crate) fn set_base(base: Base, value: u64) {
    write_base(base, value, fsgsbase_is_on());
}

/// Reads a base.
pub(crate) fn base(base: Base) -> u64 {
    read_base(base, fsgsbase_is_on())
}

/// Sets a base, by an instruction if `fast` says that it is on, by an MSR if not.
#[inline(always)]
fn write_base(base: Base, value: u64, fast: bool) {
    if (value << 16).cast_signed() >> 16 != value.cast_signed() {
        return;
    }
    // SAFETY: the bases are the guest's; the value is canonical, and the instructions are on where `fast` says so.
    unsafe {
        match base {
            Base::Fs if fast => {
                asm!("wrfsbase {}", in(reg) value, options(nomem, nostack, preserves_flags))
            }
            Base::Gs if fast => {
                asm!("wrgsbase {}", in(reg) value, options(nomem, nostack, preserves_flags))
            }
            // Nothing in the hypervisor uses GS, an NMI's handler neither: that both bases are exchanged for a moment
            // disturbs nobody, and costs far less than a write to an MSR.
            Base::GsShadow if fast => {
                asm!("swapgs", "wrgsbase {}", "swapgs", in(reg) value, options(nomem, nostack, preserves_flags))
            }
            Base::Fs => wrmsr(FS_BASE, value),
            Base::Gs => wrmsr(GS_BASE, value),
            Base::GsShadow => wrmsr(KERNEL_GS_BASE, value),
        }
    }
}

/// Reads a base, in the same two ways.
#[inline(always)]
fn read_base(base: Base, fast: bool) -> u64 {
    let value: u64;
    // SAFETY: reads registers; the instructions are on where `fast` says so.
    unsafe {
        match base {
            Base::Fs if fast => {
                asm!("rdfsbase {}", out(reg) value, options(nomem, nostack, preserves_flags))
            }
            Base::Gs if fast => {
                asm!("rdgsbase {}", out(reg) value, options(nomem, nostack, preserves_flags))
            }
            Base::GsShadow if fast => {
                asm!("swapgs", "rdgsbase {}", "swapgs", out(reg) value, options(nomem, nostack, preserves_flags))
            }
            Base::Fs => value = rdmsr(FS_BASE),
            Base::Gs => value = rdmsr(GS_BASE),
            Base::GsShadow => value = rdmsr(KERNEL_GS_BASE),
        }
    }
    value
}

/// Loads GS with a selector on behalf of user mode: its base goes to the shadow, the live base stays. Returns `false`,
/// with a null selector loaded, if the CPU refused it.
pub(crate) fn load_user_gs(selector: u16) -> bool {
    swap_gs();
    // SAFETY: as in `load`.
    let refused = unsafe { oxen_load_gs(u32::from(selector)) };
    swap_gs();
    refused == 0
}
