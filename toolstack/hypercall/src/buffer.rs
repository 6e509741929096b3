//! Memory that a hypercall may read and write.
//!
//! The hypervisor reaches user memory through the page tables and cannot fault it in, so the pages must be present
//! whenever a hypercall runs. `/dev/xen/hypercall` gives out pages that the kernel never moves or swaps. Where that
//! device is missing, locked anonymous memory serves.

use core::ptr::NonNull;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::mapping::PAGE_SIZE;

/// How many idle buffers are kept, and how large they may be (bytes).
const KEEP: usize = 4;
const KEEP_SIZE: usize = 16 * PAGE_SIZE;

/// Page-aligned memory for the arguments of hypercalls; zeroed when fresh.
#[derive(Debug)]
pub(crate) struct Buffer {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the buffer is plain memory with one owner.
unsafe impl Send for Buffer {}

impl Buffer {
    fn new(device: Option<&OwnedFd>, len: usize) -> rustix::io::Result<Self> {
        let len = len
            .max(1)
            .checked_next_multiple_of(PAGE_SIZE)
            .filter(|&l| l <= isize::MAX as usize);
        let len = len.ok_or(Errno::NOMEM)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let start = match device {
            // SAFETY: the kernel chooses the address; the pages are this buffer's alone.
            Some(fd) => unsafe {
                rustix::mm::mmap(core::ptr::null_mut(), len, prot, MapFlags::SHARED, fd, 0)?
            },
            None => {
                let flags = MapFlags::PRIVATE | MapFlags::LOCKED | MapFlags::POPULATE;
                // SAFETY: as above.
                unsafe { rustix::mm::mmap_anonymous(core::ptr::null_mut(), len, prot, flags)? }
            }
        };
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?,
            len,
        })
    }

    /// Its address, to be put into a hypercall's arguments. The caller holds the buffer mutably meanwhile.
    pub(crate) fn address(&mut self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes at `start` are mapped while `self` lives. The hypervisor writes to them only during
        // hypercalls for which the caller lends the buffer mutably.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are what mmap gave, and the owner is gone.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Hands out buffers and keeps a few for the next call.
#[derive(Debug)]
pub(crate) struct Pool {
    device: Option<OwnedFd>,
    idle: Mutex<Vec<Buffer>>,
}

impl Pool {
    /// `device` is `/dev/xen/hypercall`, if there is one.
    pub(crate) fn new(device: Option<OwnedFd>) -> Self {
        Self {
            device,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// A buffer of at least `len` bytes whose first `len` bytes are zero.
    pub(crate) fn take(&self, len: usize) -> rustix::io::Result<Lent<'_>> {
        let reused = {
            let mut idle = self
                .idle
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let fitting = idle.iter().position(|b| b.len >= len);
            fitting.map(|i| idle.swap_remove(i))
        };
        let buffer = match reused {
            Some(mut buffer) => {
                if let Some(used) = buffer.bytes_mut().get_mut(..len) {
                    used.fill(0);
                }
                buffer
            }
            None => Buffer::new(self.device.as_ref(), len)?,
        };
        Ok(Lent {
            pool: self,
            buffer: Some(buffer),
            len,
        })
    }

    fn give_back(&self, buffer: Buffer) {
        if buffer.len > KEEP_SIZE {
            return;
        }
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() < KEEP {
            idle.push(buffer);
        }
    }
}

/// A buffer on loan from a [`Pool`], seen as exactly the bytes that were asked for.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    pool: &'a Pool,
    buffer: Option<Buffer>,
    len: usize,
}

impl Lent<'_> {
    pub(crate) fn address(&mut self) -> u64 {
        self.buffer.as_mut().map_or(0, Buffer::address)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .and_then(|b| b.bytes().get(..self.len))
            .unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.buffer
            .as_mut()
            .and_then(|b| b.bytes_mut().get_mut(..len))
            .unwrap_or_default()
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.give_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_buffer_comes_zeroed() {
        let pool = Pool::new(None);
        {
            let mut a = pool.take(100).unwrap();
            a.bytes_mut().fill(0xff);
        }
        let b = pool.take(200).unwrap();
        assert_eq!(b.bytes().len(), 200);
        assert!(b.bytes().iter().all(|&x| x == 0));
    }
}
