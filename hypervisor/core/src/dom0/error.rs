//! Why there is no dom0.

use core::fmt;

use oxen_abi::Errno;

use super::load::LoadError;
use super::plan::PlanError;

/// Why dom0 was not built. Nothing runs without it, so this ends the boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuildError(pub(super) Why);

impl From<Why> for BuildError {
    fn from(why: Why) -> Self {
        Self(why)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// The boot loader loaded no file.
    NoKernel,
    /// The kernel cannot be loaded.
    Kernel(LoadError),
    /// There is no block of free memory that is large enough, in bytes.
    NoBlock(usize),
    /// The parts do not fit.
    Plan(PlanError),
    /// Memory ran out while this was made.
    NoMemory(&'static str),
    /// Creating the domain failed.
    Create(Errno),
    /// The page tables made for dom0 were not accepted; this is a fault of the hypervisor's.
    Tables(Errno),
}

impl From<LoadError> for Why {
    fn from(error: LoadError) -> Self {
        Self::Kernel(error)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKernel => f.write_str(
                "the boot loader loaded no dom0 kernel; add it to the boot entry as a module",
            ),
            Self::Kernel(error) => write!(f, "the dom0 kernel cannot be used: {error}"),
            Self::NoBlock(bytes) => write!(
                f,
                "the dom0 kernel needs {} MiB of free memory in one piece, and there is none",
                bytes.div_ceil(1 << 20)
            ),
            Self::Plan(PlanError::Memory { needed, available }) => write!(
                f,
                "dom0 needs {} MiB to start, {} MiB are free",
                needed.div_ceil(256),
                available / 256
            ),
            Self::Plan(PlanError::Address(address)) => {
                write!(
                    f,
                    "the dom0 kernel asks for the impossible address {address:#x}"
                )
            }
            Self::NoMemory(what) => write!(f, "memory ran out while {what} was made"),
            Self::Create(errno) => write!(f, "the domain was not created: {errno}"),
            Self::Tables(errno) => write!(f, "dom0's first page tables were refused: {errno}"),
        }
    }
}
