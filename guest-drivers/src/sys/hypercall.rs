//! The hypercall instruction.

use core::arch::asm;

use oxen_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Result of a hypercall.
pub type Result<T = u64> = core::result::Result<T, Errno>;

/// Issues a hypercall with up to six arguments and returns the raw result.
///
/// A hypercall may read and write wherever its arguments point, and may change mappings. It is a
/// safe function all the same, because trying just that is what this kernel is for: its callers
/// pass addresses of their own buffers, of frames of the test arena (where no Rust object
/// lives), or addresses that are wrong on purpose and lead nowhere.
#[inline(always)]
pub fn raw(number: u64, args: [u64; 6]) -> u64 {
    let result;
    // SAFETY: SYSCALL in a PV kernel enters the hypervisor, which returns to the next
    // instruction with RAX, RCX and R11 changed; a call that is continued after an interruption
    // changes its arguments as well. Memory that the call may change is clobbered by
    // the default of `asm!`; which memory that is, the function's contract says.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            inlateout("rdi") args[0] => _,
            inlateout("rsi") args[1] => _,
            inlateout("rdx") args[2] => _,
            inlateout("r10") args[3] => _,
            inlateout("r8") args[4] => _,
            inlateout("r9") args[5] => _,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Splits a raw result: -4095 to -1 are errors.
#[inline(always)]
pub fn decode(raw: u64) -> Result {
    match raw.wrapping_neg() {
        negated @ 1..=4095 => Err(Errno(i32::try_from(negated).unwrap_or(i32::MAX))),
        _ => Ok(raw),
    }
}

/// Issues a hypercall with up to five arguments.
#[inline(always)]
pub fn call<const N: usize>(number: u64, args: [u64; N]) -> Result {
    // No loop, which would stay one where the compiler looks for small code.
    let arg = |index: usize| args.get(index).copied().unwrap_or(0);
    decode(raw(
        number,
        [arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)],
    ))
}

/// Issues `number(cmd, &mut arg)`, the form of most operations.
#[inline(always)]
pub fn op<T: IntoBytes + FromBytes + Immutable>(number: u64, cmd: u32, arg: &mut T) -> Result {
    call(number, [u64::from(cmd), address(arg)])
}

/// Address of an argument, as a guest handle.
#[inline(always)]
pub fn address<T: ?Sized>(value: &mut T) -> u64 {
    core::ptr::from_mut(value).cast::<u8>() as u64
}

/// Address of a slice's first element, as a guest handle.
#[inline(always)]
pub fn slice_address<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr() as u64
}
