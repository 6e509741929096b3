//! The control interfaces: `domctl` and `sysctl` in version 0x15, `platform_op`, `xen_version`.
//!
//! All but the last are for the control domain only; others get `EPERM` before anything of
//! theirs is looked at.

mod bitmap;
mod cpu_policy;
mod domctl;
mod mca;
mod platform;
mod sysctl;
#[cfg(test)]
mod tests;
mod version;

pub use domctl::domctl;
pub use mca::{MachineChecks, Report, mca, report as report_machine_check};
pub use platform::platform_op;
pub use sysctl::sysctl;
pub use version::xen_version;

use oxen_abi::Errno;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::error::Stop;
use crate::machine::Machine;
use crate::percpu::Cx;

/// The bytes of a sub-operation's structure.
type Union = [u64; 16];

/// What becomes of the caller's structure after a sub-operation that succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// It stays as it is.
    Done,
    /// It is written back.
    Reply,
    /// It is written back, and says why this is the result.
    Refuse(Errno),
}

/// The outcome of a sub-operation.
type Outcome = Result<Answer, Stop>;

/// Takes a sub-operation's structure out of the union.
fn take<T: FromBytes + FromZeros>(union: &Union) -> T {
    T::read_from_prefix(union.as_bytes()).map_or_else(|_| T::new_zeroed(), |(value, _)| value)
}

/// Puts it back, changed.
fn put<T: IntoBytes + Immutable>(union: &mut Union, value: &T) -> Outcome {
    // Every structure fits: their sizes are asserted against the ABI's.
    let _ = value.write_to_prefix(union.as_mut_bytes());
    Ok(Answer::Reply)
}

/// Only the control domain may go on.
fn check_privilege<M: Machine>(cx: &Cx<'_, M>) -> Result<(), Errno> {
    if cx.domain().privileged {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The low half of an argument that the ABI has as 32 bits.
const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}
