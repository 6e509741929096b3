//! `/dev/xen/evtchn`: event channels of this process. Layouts as in `xen/sys/evtchn.h`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{ioctl, ioctl_number, open};
use crate::{DomId, Error, Result};

const BIND_VIRQ: u64 = ioctl_number(b'E', 0, 4);
const BIND_INTERDOMAIN: u64 = ioctl_number(b'E', 1, 8);
const BIND_UNBOUND: u64 = ioctl_number(b'E', 2, 4);
const UNBIND: u64 = ioctl_number(b'E', 3, 4);
const NOTIFY: u64 = ioctl_number(b'E', 4, 4);

/// An event-channel port of dom0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPort(pub u32);

/// The event channels of one opening of the device. Closing it (drop) closes all its ports.
///
/// The descriptor never blocks. It is readable when an event is pending, so it can be given to epoll or to tokio's
/// `AsyncFd`; [`EventChannels::wait`] waits without either. A port that fired stays masked until
/// [`EventChannels::unmask`].
#[derive(Debug)]
pub struct EventChannels(OwnedFd);

impl EventChannels {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open() -> Result<Self> {
        open("/dev/xen/evtchn", OFlags::NONBLOCK).map(Self)
    }

    /// Binds a new local port to a port that `domain` offers to dom0.
    ///
    /// # Errors
    /// [`Error::Device`]: the domain or the port does not exist, or is meant for someone else.
    pub fn bind_interdomain(&self, domain: DomId, remote_port: u32) -> Result<LocalPort> {
        self.ports(
            "binding an event channel",
            Some(domain),
            BIND_INTERDOMAIN,
            [domain.0.into(), remote_port],
        )
    }

    /// Binds a new local port to a virtual interrupt, such as `VIRQ_DOM_EXC`.
    ///
    /// # Errors
    /// [`Error::Device`]: the virtual interrupt has a handler already, or this is not dom0.
    pub fn bind_virq(&self, virq: u32) -> Result<LocalPort> {
        self.ports("binding a virtual interrupt", None, BIND_VIRQ, [virq])
    }

    /// Makes a new local port that `domain` may bind to.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn bind_unbound(&self, domain: DomId) -> Result<LocalPort> {
        self.ports(
            "offering an event channel",
            Some(domain),
            BIND_UNBOUND,
            [domain.0.into()],
        )
    }

    /// Closes a port.
    ///
    /// # Errors
    /// [`Error::Device`]: it is not bound here.
    pub fn unbind(&self, port: LocalPort) -> Result<()> {
        self.ports("closing an event channel", None, UNBIND, [port.0])
            .map(drop)
    }

    /// Sends an event to the other side of a port.
    ///
    /// # Errors
    /// [`Error::Device`]: it is not bound here.
    pub fn notify(&self, port: LocalPort) -> Result<()> {
        self.ports("sending an event", None, NOTIFY, [port.0])
            .map(drop)
    }

    /// Takes the next pending port, or `None` when there is none now.
    ///
    /// # Errors
    /// [`Error::Device`], notably `EFBIG` when the kernel's ring of pending ports has overflowed.
    pub fn pending(&self) -> Result<Option<LocalPort>> {
        let mut port = [0; 4];
        match rustix::io::read(&self.0, &mut port) {
            Ok(4) => Ok(Some(LocalPort(u32::from_ne_bytes(port)))),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(Error::Device {
                op: "reading pending events",
                domain: None,
                errno,
            }),
        }
    }

    /// Waits until a port is pending and takes it.
    ///
    /// # Errors
    /// As [`EventChannels::pending`].
    pub fn wait(&self) -> Result<LocalPort> {
        loop {
            if let Some(port) = self.pending()? {
                return Ok(port);
            }
            match rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::Device {
                        op: "waiting for events",
                        domain: None,
                        errno,
                    });
                }
            }
        }
    }

    /// Lets a port that was pending fire again.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn unmask(&self, port: LocalPort) -> Result<()> {
        rustix::io::write(&self.0, &port.0.to_ne_bytes())
            .map(drop)
            .map_err(|errno| Error::Device {
                op: "unmasking an event channel",
                domain: None,
                errno,
            })
    }

    fn ports<const N: usize>(
        &self,
        op: &'static str,
        domain: Option<DomId>,
        number: u64,
        mut argument: [u32; N],
    ) -> Result<LocalPort> {
        // SAFETY: each of these ioctls reads one or two u32, the size that is part of `number`, and writes nothing.
        let port = unsafe { ioctl(self.0.as_fd(), number, argument.as_mut_ptr().cast()) };
        let port = port.map_err(|errno| Error::Device { op, domain, errno })?;
        u32::try_from(port)
            .map(LocalPort)
            .map_err(|_| Error::Invalid {
                op,
                what: format!("port {port}"),
            })
    }
}

impl AsFd for EventChannels {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for EventChannels {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
