//! The way to the hypervisor.

use oxen_abi::memory::{XENMEM_RESOURCE_GRANT_TABLE, XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED};
use rustix::fs::OFlags;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

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
    /// [`Error::MapFrame`] names the first frame that could not be mapped; [`Error::Invalid`] for dom0's own frames,
    /// which may be this process's memory.
    pub fn map_foreign(
        &self,
        domain: DomId,
        frames: &[u64],
        protection: Protection,
    ) -> Result<Mapping> {
        if matches!(domain, DomId::DOM0 | DomId::SELF) {
            let what = "dom0's own frames are not foreign".into();
            return Err(Error::Invalid {
                op: "mapping foreign memory",
                what,
            });
        }
        self.privcmd.map_foreign(domain, frames, protection)
    }

    /// Maps `count` frames of a domain's grant table from frame `first` on, 512 entries of grant-table version 1 in
    /// each. dom0 seeds the console's and xenstore's entries of a new domain there.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn map_grant_table(&self, domain: DomId, first: u32, count: usize) -> Result<Mapping> {
        let kind = u32::from(XENMEM_RESOURCE_GRANT_TABLE);
        let id = XENMEM_RESOURCE_GRANT_TABLE_ID_SHARED;
        self.privcmd.map_resource(domain, kind, id, first, count)
    }

    /// A zeroed buffer that a hypercall may use.
    pub(crate) fn buffer(&self, op: &'static str, len: usize) -> Result<Lent<'_>> {
        self.buffers.take(len).map_err(|errno| Error::Hypercall {
            op,
            domain: None,
            errno,
        })
    }

    /// Issues a hypercall that gets `argument` by its address, which `args` puts into place, and copies it back.
    ///
    /// # Safety
    /// Every guest handle inside `argument` and every address in what `args` returns must be 0, the address that
    /// `args` was given, or the address of a buffer of this hypervisor that the caller has borrowed mutably and that
    /// is as long as the operation makes of it.
    pub(crate) unsafe fn call_with<T: IntoBytes + FromBytes + Immutable>(
        &self,
        op: &'static str,
        domain: Option<DomId>,
        number: u64,
        argument: &mut T,
        args: impl FnOnce(u64) -> [u64; 5],
    ) -> Result<i64> {
        let mut buffer = self.buffer(op, size_of::<T>())?;
        buffer.bytes_mut().copy_from_slice(argument.as_bytes());
        // SAFETY: the argument lies in a buffer of its size that is held mutably; the caller answers for the others.
        let result = unsafe { self.privcmd.hypercall(number, args(buffer.address())) };
        // Some operations say more about an error in their argument.
        if let Ok(back) = T::read_from_bytes(buffer.bytes()) {
            *argument = back;
        }
        result.map_err(|errno| refused(op, domain, errno))
    }

    /// Issues a hypercall whose arguments are numbers only.
    ///
    /// # Safety
    /// No argument may be taken for an address by the operation, unless it is one of a buffer that the caller has
    /// borrowed mutably and that is as long as the operation makes of it.
    pub(crate) unsafe fn call(
        &self,
        op: &'static str,
        domain: Option<DomId>,
        number: u64,
        args: [u64; 5],
    ) -> Result<i64> {
        // SAFETY: the caller's promise is the same.
        let result = unsafe { self.privcmd.hypercall(number, args) };
        result.map_err(|errno| refused(op, domain, errno))
    }
}

/// The error for a refused hypercall.
pub(crate) fn refused(op: &'static str, domain: Option<DomId>, errno: Errno) -> Error {
    match (errno, domain) {
        (Errno::SRCH, Some(domain)) if domain.is_domain() => Error::NoSuchDomain(domain),
        _ => Error::Hypercall { op, domain, errno },
    }
}
