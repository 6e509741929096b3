//! The three outcomes of a guest's request: a value, an errno, or something that ends or
//! postpones the request itself.

use oxen_abi::errno::Errno;

/// Why a hypercall did not end in a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The guest gets `-errno`.
    Errno(Errno),
    /// Something is pending: the guest executes the hypercall again with these arguments
    /// (a continuation), after interrupts and the scheduler had their turn.
    Restart([u64; 6]),
    /// The caller blocked, yielded, or its registers were replaced: rax is left as it stands.
    NoReturn,
    /// The last call of a `multicall` that is carried out is an iret: what it does replaces the
    /// registers.
    Iret,
    /// The calling domain broke a rule that it cannot recover from: it is crashed, and the text
    /// goes to the log.
    Crash(&'static str),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// The outcome of a hypercall.
pub type HcResult = Result<u64, Stop>;
