//! `/dev/xen/gntdev`: pages that other domains granted to dom0. Layouts as in `xen/sys/gntdev.h`.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{ioctl, ioctl_number, open};
use crate::mapping::{Mapping, PAGE_SIZE, SharedFd};
use crate::{DomId, Error, Protection, Result};

/// Bytes of `struct ioctl_gntdev_map_grant_ref` with one reference, which is the size in the ioctl's number.
const MAP_ARGUMENT: usize = 24;
const MAP_GRANT_REF: u64 = ioctl_number(b'G', 0, MAP_ARGUMENT);
const UNMAP_GRANT_REF: u64 = ioctl_number(b'G', 1, size_of::<UnmapArgument>());

#[repr(C)]
struct UnmapArgument {
    index: u64,
    count: u32,
    pad: u32,
}

/// The open device.
#[derive(Clone, Debug)]
pub struct GrantDevice(SharedFd);

impl GrantDevice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open() -> Result<Self> {
        Ok(Self(Arc::new(open("/dev/xen/gntdev", OFlags::empty())?)))
    }

    /// Maps the pages behind grant references of `domain`, in the order given. The grants are given back when the
    /// mapping is dropped.
    ///
    /// # Errors
    /// [`Error::Device`]: a reference is not granted to dom0, or not for writing, or its domain is gone.
    pub fn map(
        &self,
        domain: DomId,
        references: &[u32],
        protection: Protection,
    ) -> Result<Mapping> {
        let device = |errno| Error::Device {
            op: "mapping granted pages",
            domain: Some(domain),
            errno,
        };
        let count = u32::try_from(references.len())
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| device(Errno::INVAL))?;
        // count and padding, the index that comes back, then (domain, reference) pairs; u64 for the alignment.
        let mut argument = vec![u64::from(count), 0];
        argument.extend(
            references
                .iter()
                .map(|&r| u64::from(domain.0) | u64::from(r) << 32),
        );
        // SAFETY: the kernel reads the header and `count` pairs and writes the index, all inside `argument`.
        unsafe { ioctl(self.0.as_fd(), MAP_GRANT_REF, argument.as_mut_ptr().cast()) }
            .map_err(device)?;
        let index = argument.get(1).copied().unwrap_or_default();
        let grant = GrantIndex {
            device: Arc::clone(&self.0),
            index,
            count,
        };
        match Mapping::of_device(&self.0, references.len(), protection, index) {
            Ok(mapping) => Ok(mapping.with_grant(grant)),
            Err(errno) => {
                grant.release();
                Err(device(errno))
            }
        }
    }
}

/// Entries in the device's table of grants, to be removed when their mapping is gone.
#[derive(Debug)]
pub(crate) struct GrantIndex {
    device: SharedFd,
    index: u64,
    count: u32,
}

impl GrantIndex {
    /// Removes the entries. The pages must be unmapped before.
    pub(crate) fn release(self) {
        let mut argument = UnmapArgument {
            index: self.index,
            count: self.count,
            pad: 0,
        };
        // SAFETY: the kernel reads the argument and writes nothing. An error would mean that the entries are gone.
        let _ = unsafe {
            ioctl(
                self.device.as_fd(),
                UNMAP_GRANT_REF,
                (&raw mut argument).cast(),
            )
        };
    }
}

const _: () = assert!(MAP_ARGUMENT == 16 + 8 && PAGE_SIZE == 4096);
