//! The kernel's Xen devices: the ioctls and mmaps of each.

pub mod dom0_xenstore;
pub(crate) mod evtchn;
#[cfg(feature = "tokio")]
pub(crate) mod evtchn_async;
pub(crate) mod gntdev;
pub(crate) mod privcmd;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// The number of an ioctl as Linux's `_IOC(_IOC_NONE, kind, number, size)` makes it.
const fn ioctl_number(kind: u8, number: u8, size: usize) -> u64 {
    ((size as u64) << 16) | ((kind as u64) << 8) | number as u64
}

/// Opens a device for reading and writing, closed on exec.
fn open(path: &str, extra: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC | extra, Mode::empty()).map_err(|errno| {
        Error::Open {
            path: path.into(),
            errno,
        }
    })
}

/// Issues an ioctl whose result is a 64-bit value. The C library's `ioctl` would cut it to 32 bits.
///
/// # Safety
/// `argument` must be what the ioctl takes, and all that the kernel or the hypervisor writes because of it must go
/// to memory that the caller has borrowed mutably for the call.
unsafe fn ioctl(
    fd: BorrowedFd<'_>,
    number: u64,
    argument: *mut libc::c_void,
) -> core::result::Result<i64, Errno> {
    // SAFETY: an ioctl on an open descriptor; the caller answers for the argument.
    let r = unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), number, argument) };
    if r == -1 {
        let errno = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(r)
}
