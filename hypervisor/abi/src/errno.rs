//! Error numbers (errno.h). They are Linux's x86 values, and the hypervisor returns them negated.

use core::fmt;

/// A Xen error number, positive.
///
/// A newtype and not an enum, because the other side of the ABI may return any number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Errno = Errno($value);)*

            /// The number's name, `None` if the ABI has none for it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// Not permitted.
    EPERM = 1,
    /// No such thing.
    ENOENT = 2,
    /// No such domain, vCPU or process.
    ESRCH = 3,
    /// Interrupted.
    EINTR = 4,
    /// I/O error.
    EIO = 5,
    /// No such device or address.
    ENXIO = 6,
    /// Too many or too long arguments.
    E2BIG = 7,
    /// Bad executable.
    ENOEXEC = 8,
    /// Bad file number.
    EBADF = 9,
    /// No children.
    ECHILD = 10,
    /// Try again.
    EAGAIN = 11,
    /// Out of memory.
    ENOMEM = 12,
    /// Access refused.
    EACCES = 13,
    /// Bad address.
    EFAULT = 14,
    /// Busy.
    EBUSY = 16,
    /// Exists already.
    EEXIST = 17,
    /// Crosses a border between devices or domains.
    EXDEV = 18,
    /// No such device.
    ENODEV = 19,
    /// Not a directory.
    ENOTDIR = 20,
    /// Is a directory.
    EISDIR = 21,
    /// Invalid argument.
    EINVAL = 22,
    /// Table overflow.
    ENFILE = 23,
    /// Too many open files.
    EMFILE = 24,
    /// No space.
    ENOSPC = 28,
    /// Read only.
    EROFS = 30,
    /// Too many links.
    EMLINK = 31,
    /// Outside the domain of the function.
    EDOM = 33,
    /// Result out of range.
    ERANGE = 34,
    /// Would deadlock.
    EDEADLK = 35,
    /// Name too long.
    ENAMETOOLONG = 36,
    /// No locks left.
    ENOLCK = 37,
    /// Not implemented.
    ENOSYS = 38,
    /// Not empty.
    ENOTEMPTY = 39,
    /// No data.
    ENODATA = 61,
    /// Timer expired.
    ETIME = 62,
    /// Bad message.
    EBADMSG = 74,
    /// Value too large.
    EOVERFLOW = 75,
    /// Illegal sequence.
    EILSEQ = 84,
    /// Restart the call (inside the hypervisor).
    ERESTART = 85,
    /// Not a socket.
    ENOTSOCK = 88,
    /// Message too long.
    EMSGSIZE = 90,
    /// Not supported.
    EOPNOTSUPP = 95,
    /// Address in use.
    EADDRINUSE = 98,
    /// Address not available.
    EADDRNOTAVAIL = 99,
    /// No buffers.
    ENOBUFS = 105,
    /// Connected already.
    EISCONN = 106,
    /// Not connected.
    ENOTCONN = 107,
    /// Timed out.
    ETIMEDOUT = 110,
    /// Connection refused.
    ECONNREFUSED = 111,
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl core::error::Error for Errno {}
