//! `/dev/xen/privcmd`: hypercalls and memory of other domains. Layouts as in `xen/sys/privcmd.h`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{ioctl, ioctl_number, open};
use crate::mapping::Mapping;
use crate::{DomId, Error, Protection, Result};

#[repr(C)]
struct HypercallArgs {
    op: u64,
    arg: [u64; 5],
}

#[repr(C)]
struct MmapBatchV2 {
    num: u32,
    dom: u16,
    addr: u64,
    arr: *const u64,
    err: *mut i32,
}

#[repr(C)]
struct MmapResource {
    dom: u16,
    kind: u32,
    id: u32,
    idx: u32,
    num: u64,
    addr: u64,
}

const HYPERCALL: u64 = ioctl_number(b'P', 0, size_of::<HypercallArgs>());
const MMAP_BATCH_V2: u64 = ioctl_number(b'P', 4, size_of::<MmapBatchV2>());
const MMAP_RESOURCE: u64 = ioctl_number(b'P', 7, size_of::<MmapResource>());

/// The open device.
#[derive(Debug)]
pub(crate) struct Privcmd(OwnedFd);

impl Privcmd {
    pub(crate) fn open() -> Result<Self> {
        open("/dev/xen/privcmd", OFlags::empty()).map(Self)
    }

    /// Issues a hypercall.
    ///
    /// # Safety
    /// Every address that the hypercall makes the hypervisor write through, in `arg` or in structures that `arg`
    /// points to, must lie with its whole extent in hypercall buffers that the caller has borrowed mutably.
    pub(crate) unsafe fn hypercall(
        &self,
        op: u64,
        arg: [u64; 5],
    ) -> core::result::Result<i64, Errno> {
        let mut call = HypercallArgs { op, arg };
        // SAFETY: the argument has the ioctl's layout; the caller answers for what the hypervisor writes.
        unsafe { ioctl(self.0.as_fd(), HYPERCALL, (&raw mut call).cast()) }
    }

    /// Maps frames of another domain, in the order given. All or nothing.
    pub(crate) fn map_foreign(
        &self,
        domain: DomId,
        frames: &[u64],
        protection: Protection,
    ) -> Result<Mapping> {
        let device = |errno| Error::Device {
            op: "mapping foreign memory",
            domain: Some(domain),
            errno,
        };
        let num = u32::try_from(frames.len()).map_err(|_| device(Errno::INVAL))?;
        let mapping = Mapping::of_device(&self.0, frames.len(), protection, 0).map_err(device)?;
        let mut errors = vec![0i32; frames.len()];
        let mut batch = MmapBatchV2 {
            num,
            dom: domain.0,
            addr: mapping.address(),
            arr: frames.as_ptr(),
            err: errors.as_mut_ptr(),
        };
        // SAFETY: the kernel reads `num` frames, writes `num` errors to a vector of that length, and fills the
        // mapping, which is `num` pages long and not in use yet.
        let done = unsafe { ioctl(self.0.as_fd(), MMAP_BATCH_V2, (&raw mut batch).cast()) };
        let failed = errors.iter().zip(frames).find(|(e, _)| **e != 0);
        match (done, failed) {
            (Ok(_), None) => Ok(mapping),
            (_, Some((&error, &frame))) => {
                let errno = Errno::from_raw_os_error(
                    error.checked_neg().filter(|&e| e > 0).unwrap_or(libc::EIO),
                );
                Err(Error::MapFrame {
                    domain,
                    frame,
                    errno,
                })
            }
            (Err(errno), None) => Err(device(errno)),
        }
    }

    /// Maps `count` frames of a resource of a domain (`XENMEM_resource_*`), from frame `first` on.
    pub(crate) fn map_resource(
        &self,
        domain: DomId,
        kind: u32,
        id: u32,
        first: u32,
        count: usize,
    ) -> Result<Mapping> {
        let device = |errno| Error::Device {
            op: "mapping a resource",
            domain: Some(domain),
            errno,
        };
        let mapping =
            Mapping::of_device(&self.0, count, Protection::ReadWrite, 0).map_err(device)?;
        let mut request = MmapResource {
            dom: domain.0,
            kind,
            id,
            idx: first,
            num: count as u64,
            addr: mapping.address(),
        };
        // SAFETY: the kernel fills the mapping, which is `count` pages long and not in use yet.
        unsafe { ioctl(self.0.as_fd(), MMAP_RESOURCE, (&raw mut request).cast()) }
            .map_err(device)?;
        Ok(mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ioctl_numbers_are_linux_s() {
        assert_eq!(HYPERCALL, 0x0030_5000);
        assert_eq!(MMAP_BATCH_V2, 0x0020_5004);
        assert_eq!(MMAP_RESOURCE, 0x0020_5007);
    }
}
