//! Who called whom, by the frame pointers.

use core::arch::global_asm;
use core::fmt::Write;

use super::symbols;
use crate::image;
use crate::layout::{DIRECT_MAP_BASE, IMAGE_BASE, IMAGE_PHYS};
use crate::num::low32;
use crate::percpu::{self, STACKS};

/// Room for the table of symbols: a build without link-time optimisation fills most of it.
const TABLE_SIZE: usize = 192 << 10;
/// Most callers that are printed.
const DEEPEST: usize = 48;

// In assembly, so that the compiler knows nothing of the contents, which come after linking.
global_asm!(
    r#"
    .section .oxen_syms, "a", @progbits
    .global oxen_syms
oxen_syms:
    .fill {size}, 1, 0
    .text
    "#,
    size = const TABLE_SIZE,
);

unsafe extern "C" {
    #[link_name = "oxen_syms"]
    static SYMBOLS: [u8; TABLE_SIZE];
}

/// The table of symbols.
fn table() -> &'static [u8] {
    // SAFETY: constant data of the image, of that size.
    unsafe { &SYMBOLS }
}

/// How many functions have names.
pub(crate) fn symbol_count() -> usize {
    symbols::count(table())
}

/// Address and name of function `index`, in the order of their addresses.
pub(crate) fn symbol(index: usize) -> Option<(u64, &'static str)> {
    let (offset, name) = symbols::nth(table(), index)?;
    Some((IMAGE_BASE + u64::from(offset), name))
}

/// Prints the function that an address lies in.
pub(super) fn print_address(out: &mut dyn Write, rip: u64) {
    let name = image::text()
        .contains(&rip)
        .then(|| symbols::lookup(table(), low32(rip - IMAGE_BASE)))
        .flatten();
    // The console takes every text.
    let _ = match name {
        Some((name, offset)) => writeln!(out, "  {rip:#018x} {name}+{offset:#x}"),
        None => writeln!(out, "  {rip:#018x}"),
    };
}

/// Prints the callers, from the frame that `rbp` points to on.
pub(super) fn print(out: &mut dyn Write, mut rbp: u64) {
    for _ in 0..DEEPEST {
        if !is_on_stack(rbp) {
            return;
        }
        // SAFETY: 16 aligned bytes that are mapped as part of a stack, as checked.
        let [caller, rip] = unsafe { (rbp as *const [u64; 2]).read_volatile() };
        if !image::text().contains(&rip) {
            return;
        }
        // The call, not what comes after it.
        print_address(out, rip - 1);
        rbp = caller;
    }
}

/// Whether a frame at `rbp` lies on one of this CPU's stacks, or on the boot stack.
fn is_on_stack(rbp: u64) -> bool {
    let inside = |start: u64, size: u64| {
        rbp.is_multiple_of(8)
            && rbp
                .checked_sub(start)
                .is_some_and(|offset| offset <= size - 16)
    };
    match percpu::try_this_cpu() {
        Some(cpu) => STACKS
            .iter()
            .any(|(offset, size)| inside(cpu.stack_block() + offset, *size)),
        None => {
            let boot_section = image::physical(image::text().start) - IMAGE_PHYS;
            inside(DIRECT_MAP_BASE + IMAGE_PHYS, boot_section)
        }
    }
}
