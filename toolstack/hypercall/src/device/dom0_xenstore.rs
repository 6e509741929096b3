//! Where dom0's own kernel waits for xenstored: `/proc/xen/xsd_kva` and `/proc/xen/xsd_port` of xenfs.

use rustix::fs::{Mode, OFlags};

use crate::mapping::Mapping;
use crate::{Error, Protection, Result};

const KVA: &str = "/proc/xen/xsd_kva";
const PORT: &str = "/proc/xen/xsd_port";

/// The ring page of dom0's kernel and the port it offers.
#[derive(Debug)]
pub struct Dom0Xenstore {
    /// The ring page (`struct xenstore_domain_interface`).
    pub ring: Mapping,
    /// The port to bind with [`EventChannels::bind_interdomain`](crate::EventChannels::bind_interdomain) and dom0.
    pub port: u32,
}

/// Maps the ring page and reads the port.
///
/// # Errors
/// [`Error::Open`] where xenfs is not mounted on `/proc/xen` or this is not dom0; [`Error::Device`] where the mapping
/// fails; [`Error::Invalid`] where the port is no number.
pub fn open() -> Result<Dom0Xenstore> {
    let text = std::fs::read_to_string(PORT).map_err(|e| Error::Open {
        path: PORT.into(),
        errno: rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO),
    })?;
    let port = text
        .trim_matches(|c: char| c.is_whitespace() || c == '\0')
        .parse()
        .map_err(|_| Error::Invalid {
            op: PORT,
            what: format!("{text:?} is not a port number"),
        })?;
    let fd =
        rustix::fs::open(KVA, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
            Error::Open {
                path: KVA.into(),
                errno,
            }
        })?;
    let ring =
        Mapping::of_device(&fd, 1, Protection::ReadWrite, 0).map_err(|errno| Error::Device {
            op: "mapping dom0's xenstore ring",
            domain: None,
            errno,
        })?;
    Ok(Dom0Xenstore { ring, port })
}
