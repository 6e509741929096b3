//! Where xenstored is.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::error::{Error, Result};

/// xenstored's socket in the domain that runs it.
pub(crate) const SOCKET: &str = "/run/xenstored/socket";
/// The kernel's own connection, in other domains.
const DEVICE: &str = "/dev/xen/xenbus";

/// The direction from xenstored.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// The direction to xenstored.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// How to reach xenstored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix stream socket.
    Socket(PathBuf),
    /// The kernel's xenbus device.
    Device(PathBuf),
}

impl Endpoint {
    /// The usual one: the socket that the environment variable `XENSTORED_PATH` names, or `/run/xenstored/socket`; in
    /// a domain that is not dom0 and has no such socket, `/dev/xen/xenbus`.
    pub fn usual() -> Self {
        if let Some(path) = std::env::var_os("XENSTORED_PATH") {
            return Self::Socket(path.into());
        }
        // In dom0 the device waits for xenstored for ever, while the socket says at once that nobody is there.
        let is_dom0 = std::fs::read_to_string("/proc/xen/capabilities")
            .is_ok_and(|c| c.contains("control_d"));
        if !Path::new(SOCKET).exists() && Path::new(DEVICE).exists() && !is_dom0 {
            return Self::Device(DEVICE.into());
        }
        Self::Socket(SOCKET.into())
    }

    /// Opens both directions for tokio.
    pub(crate) fn open_async(&self) -> Result<(Reader, Writer)> {
        let failed = |source| Error::Connect {
            path: self.path().to_owned(),
            source,
        };
        let fd = self.open()?;
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(|e| failed(e.into()))?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).map_err(|e| failed(e.into()))?;
        if matches!(self, Self::Socket(_)) {
            let (reader, writer) = UnixStream::from_std(fd.into())
                .map_err(failed)?
                .into_split();
            return Ok((Box::new(reader), Box::new(writer)));
        }
        // tokio has no type for character devices, but its pipe ends take any descriptor that epoll takes.
        let other = fd.try_clone().map_err(failed)?;
        let reader = pipe::Receiver::from_owned_fd_unchecked(fd).map_err(failed)?;
        let writer = pipe::Sender::from_owned_fd_unchecked(other).map_err(failed)?;
        Ok((Box::new(reader), Box::new(writer)))
    }

    /// Its path in the file system.
    pub fn path(&self) -> &Path {
        match self {
            Self::Socket(path) | Self::Device(path) => path,
        }
    }

    /// Opens it; the descriptor blocks.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        match self {
            Self::Socket(path) => std::os::unix::net::UnixStream::connect(path)
                .map(OwnedFd::from)
                .map_err(|source| Error::Connect {
                    path: path.clone(),
                    source,
                }),
            Self::Device(path) => {
                rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|e| {
                    Error::Connect {
                        path: path.clone(),
                        source: e.into(),
                    }
                })
            }
        }
    }
}
