//! What can go wrong.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::wire::MessageType;

/// Result of a request.
pub type Result<T> = core::result::Result<T, Error>;

/// Why a request failed. The text names the request, the path and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// xenstored could not be reached.
    #[error("cannot reach xenstored through {}: {source}; is xenstored running, and is this root?", path.display())]
    Connect {
        /// The socket or device.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to xenstored broke: {0}")]
    Io(#[from] io::Error),
    /// xenstored closed the connection.
    #[error("xenstored closed the connection")]
    Disconnected,
    /// xenstored refused the request.
    #[error("xenstore refused to {request} {what}: {code}")]
    Refused {
        /// The request.
        request: MessageType,
        /// The path, or what else it was about.
        what: String,
        /// Its reason.
        code: ErrorCode,
    },
    /// The request does not fit into a message.
    #[error(
        "cannot {request} {what}: {len} bytes are more than the {} that a xenstore message carries",
        crate::wire::PAYLOAD_MAX
    )]
    TooLong {
        /// The request.
        request: MessageType,
        /// The path, or what else it was about.
        what: String,
        /// Size of the payload.
        len: usize,
    },
    /// A string with a zero byte, which ends strings in the protocol.
    #[error("cannot {request} {what:?}: it contains a zero byte")]
    ZeroByte {
        /// The request.
        request: MessageType,
        /// The string.
        what: String,
    },
    /// xenstored's answer makes no sense.
    #[error("xenstored's answer to {request} {what} is malformed: {why}")]
    Malformed {
        /// The request.
        request: MessageType,
        /// The path, or what else it was about.
        what: String,
        /// What is wrong with the answer.
        why: &'static str,
    },
    /// The protocol was violated: a header that cannot be.
    #[error("xenstored sent a message that is not in the protocol: {0}")]
    Protocol(#[from] crate::wire::WireError),
    /// A value that should be text is not.
    #[error("the value of {0} is not UTF-8 text")]
    NotText(String),
    /// Others changed what a transaction read, again and again.
    #[error("a xenstore transaction collided with others {0} times; giving up")]
    Contended(u32),
}

impl Error {
    /// The reason that xenstored gave.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TooLong { .. } => Some(ErrorCode::E2BIG),
            _ => None,
        }
    }

    /// The node does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(ErrorCode::ENOENT)
    }

    /// A transaction met others and should be tried again.
    pub fn is_again(&self) -> bool {
        self.code() == Some(ErrorCode::EAGAIN)
    }
}

macro_rules! codes {
    ($($name:ident => $errno:ident, $text:literal;)*) => {
        /// The errors that the protocol knows; they travel as their names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::upper_case_acronyms)]
        pub enum ErrorCode {
            $(#[doc = $text] $name,)*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name that travels.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The error with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }

            /// The error number.
            pub fn errno(self) -> Errno {
                match self { $(Self::$name => Errno::$errno,)* }
            }

            fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    EINVAL => INVAL, "invalid request";
    EACCES => ACCESS, "permission denied";
    EEXIST => EXIST, "it exists already";
    EISDIR => ISDIR, "it is a directory";
    ENOENT => NOENT, "no such node";
    ENOMEM => NOMEM, "xenstored is out of memory";
    ENOSPC => NOSPC, "the domain's quota is used up";
    EIO => IO, "xenstored's store is damaged";
    ENOTEMPTY => NOTEMPTY, "it is not empty";
    ENOSYS => NOSYS, "xenstored does not know this request";
    EROFS => ROFS, "the connection is read-only";
    EBUSY => BUSY, "too many requests or transactions at once";
    EAGAIN => AGAIN, "others changed the same nodes meanwhile";
    EISCONN => ISCONN, "the domain is connected already";
    E2BIG => TOOBIG, "it is too big";
    EPERM => PERM, "operation not permitted";
}

impl core::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} ({})", self.text(), self.name())
    }
}
