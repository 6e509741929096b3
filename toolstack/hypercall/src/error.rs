//! What can go wrong, in words.

use core::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::DomId;

/// Result of an operation of this crate.
pub type Result<T> = core::result::Result<T, Error>;

/// Why an operation failed. The text names the operation, the domain and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device file of the kernel's Xen drivers could not be opened.
    #[error("cannot open {}: {}{}", path.display(), Words(*errno), open_advice(*errno))]
    Open {
        /// The device.
        path: PathBuf,
        /// The kernel's error.
        errno: Errno,
    },
    /// The hypervisor, or the kernel on the way to it, refused a hypercall.
    #[error("{op}{} failed: {}", OfDomain(*domain), Words(*errno))]
    Hypercall {
        /// Name of the operation in the public headers, without its prefix.
        op: &'static str,
        /// The domain it was for.
        domain: Option<DomId>,
        /// The error, numbered as in Linux.
        errno: Errno,
    },
    /// An ioctl or mmap of one of the kernel's Xen devices failed.
    #[error("{op}{} failed: {}", OfDomain(*domain), Words(*errno))]
    Device {
        /// What was tried.
        op: &'static str,
        /// The domain it was for.
        domain: Option<DomId>,
        /// The error.
        errno: Errno,
    },
    /// A frame of another domain could not be mapped.
    #[error("cannot map frame {frame:#x} of domain {domain}: {}{}", plain(*errno), frame_advice(*errno))]
    MapFrame {
        /// Owner of the frame.
        domain: DomId,
        /// The frame (MFN of a PV domain, GFN of a translated one).
        frame: u64,
        /// The error.
        errno: Errno,
    },
    /// A batch stopped before its end: the hypervisor did part of the work only.
    #[error("{op} for domain {domain} stopped after {done} of {wanted}: {cause}")]
    Partial {
        /// Name of the operation.
        op: &'static str,
        /// The domain it was for.
        domain: DomId,
        /// Items done.
        done: usize,
        /// Items asked for.
        wanted: usize,
        /// What usually causes it.
        cause: &'static str,
    },
    /// No domain has this id.
    #[error("there is no domain {0}")]
    NoSuchDomain(DomId),
    /// An access outside of a mapping.
    #[error("access of {len} bytes at offset {offset:#x} is outside a mapping of {size} bytes")]
    OutOfRange {
        /// First byte.
        offset: usize,
        /// Number of bytes.
        len: usize,
        /// Size of the mapping.
        size: usize,
    },
    /// An argument that cannot be expressed in the ABI, or an answer that contradicts it.
    #[error("{op}: {what}")]
    Invalid {
        /// The operation.
        op: &'static str,
        /// What is wrong.
        what: String,
    },
}

impl Error {
    /// The error number, where the kernel or the hypervisor gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Open { errno, .. }
            | Self::Hypercall { errno, .. }
            | Self::Device { errno, .. }
            | Self::MapFrame { errno, .. } => Some(*errno),
            Self::NoSuchDomain(_) => Some(Errno::SRCH),
            Self::Partial { .. } => Some(Errno::NOMEM),
            Self::OutOfRange { .. } | Self::Invalid { .. } => None,
        }
    }

    /// Whether the hypervisor said that the domain does not exist.
    pub fn is_no_such_domain(&self) -> bool {
        self.errno() == Some(Errno::SRCH)
    }

    /// Whether the hypervisor does not know the operation.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSYS | Errno::OPNOTSUPP))
    }
}

/// An error number in words, with what it means for a hypercall where that is not obvious.
struct Words(Errno);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(self.0))?;
        match self.0 {
            Errno::SRCH => f.write_str(" (no such domain)"),
            Errno::PERM => f.write_str(
                " (only dom0 may do this, as root, and a security policy may forbid it)",
            ),
            Errno::NOMEM => f.write_str(" (the hypervisor or the domain's limit is out of memory)"),
            Errno::NOSYS => f.write_str(" (this hypervisor does not have the operation)"),
            _ => Ok(()),
        }
    }
}

/// The system's text for an error number, without the number.
fn plain(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn frame_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM | Errno::INVAL => " (is it the domain's?)",
        Errno::SRCH => " (no such domain)",
        _ => "",
    }
}

struct OfDomain(Option<DomId>);

impl fmt::Display for OfDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(domain) => write!(f, " for domain {domain}"),
            None => Ok(()),
        }
    }
}

fn open_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS | Errno::PERM => "; this needs root",
        Errno::NOENT | Errno::NODEV | Errno::NXIO => {
            "; is this the dom0 of a running hypervisor, with the modules xen-privcmd, xen-evtchn and xen-gntdev loaded?"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypercall_error_names_operation_domain_and_cause() {
        let e = Error::Hypercall {
            op: "createdomain",
            domain: Some(DomId(7)),
            errno: Errno::PERM,
        };
        let text = e.to_string();
        assert!(
            text.starts_with("createdomain for domain 7 failed: Operation not permitted"),
            "{text}"
        );
        assert!(text.contains("root"), "{text}");
    }

    #[test]
    fn a_missing_device_says_what_to_do() {
        let e = Error::Open {
            path: "/dev/xen/privcmd".into(),
            errno: Errno::NOENT,
        };
        assert!(e.to_string().contains("xen-privcmd"), "{e}");
    }
}
