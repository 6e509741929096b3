//! The way to the hypervisor.

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::buffer::{Lent, Pool};
use crate::device::privcmd::Privcmd;
use crate::mapping::Mapping;
use crate::{DomId, Error, Protection, Result};

/// The hypervisor below this dom0. Its methods are hypercalls, grouped by file under `ops/`; all take `&self`, and any
/// number of threads may use one at once.
#[derive(Debug)]
pub struct Hypervisor {
    privcmd: Privcmd,
    buffers: Pool,
}

impl Hypervisor {
    /// Opens `/dev/xen/privcmd`.
    ///
    /// # Errors
    /// [`Error::Open`]: not root, or not the dom0 of a running hypervisor.
    pub fn open() -> Result<Self> {
        let privcmd = Privcmd::open()?;
        let device = rustix::fs::open(
            "/dev/xen/hypercall",
            OFlags::RDWR | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        Ok(Self {
            privcmd,
            buffers: Pool::new(device.ok()),
        })
    }

    /// Maps frames of another domain (MFNs of a PV domain), in the order given; all or none.
    ///
    /// # Errors
    /// [`Error::MapFrame`] names the first frame that could not be mapped.
    pub fn map_foreign(
        &self,
        domain: DomId,
        frames: &[u64],
        protection: Protection,
    ) -> Result<Mapping> {
        self.privcmd.map_foreign(domain, frames, protection)
    }

    /// Maps `count` frames of a domain's grant table from frame `first` on, 512 entries of grant-table version 1 in
    /// each. dom0 seeds the console's and xenstore's entries of a new domain there.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn map_grant_table(&self, domain: DomId, first: u32, count: usize) -> Result<Mapping> {
        /// `XENMEM_resource_grant_table` and `XENMEM_resource_grant_table_id_shared`.
        const GRANT_TABLE: (u32, u32) = (1, 0);
        self.privcmd
            .map_resource(domain, GRANT_TABLE.0, GRANT_TABLE.1, first, count)
    }

    /// A zeroed buffer that a hypercall may use.
    pub(crate) fn buffer(&self, op: &'static str, len: usize) -> Result<Lent<'_>> {
        self.buffers.take(len).map_err(|errno| Error::Hypercall {
            op,
            domain: None,
            errno,
        })
    }

    /// Issues a hypercall.
    ///
    /// # Safety
    /// As [`Privcmd::hypercall`].
    pub(crate) unsafe fn call(
        &self,
        op: &'static str,
        domain: Option<DomId>,
        number: u64,
        arg: [u64; 5],
    ) -> Result<i64> {
        // SAFETY: the caller's promise is the same.
        let r = unsafe { self.privcmd.hypercall(number, arg) };
        r.map_err(|errno| refused(op, domain, errno))
    }
}

/// The error for a refused hypercall.
pub(crate) fn refused(op: &'static str, domain: Option<DomId>, errno: Errno) -> Error {
    match (errno, domain) {
        (Errno::SRCH, Some(domain)) if domain.is_domain() => Error::NoSuchDomain(domain),
        _ => Error::Hypercall { op, domain, errno },
    }
}
