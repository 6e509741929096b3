//! Memory shared with another domain.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags};

use crate::device::gntdev::GrantIndex;
use crate::{Error, Result};

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

impl Protection {
    fn flags(self) -> ProtFlags {
        match self {
            Self::Read => ProtFlags::READ,
            Self::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        }
    }
}

/// Pages of another domain, mapped into this process; unmapped on drop.
///
/// The other domain may write to them at any time, so there are no references into them: every access copies, is
/// bounds-checked, and reads each byte once.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    protection: Protection,
    grant: Option<GrantIndex>,
}

// SAFETY: the mapping is plain memory that any thread may reach; the struct is its only owner.
unsafe impl Send for Mapping {}
// SAFETY: all accesses through `&self` are volatile or atomic, on memory that is shared with another domain anyway.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `pages` pages of `fd`, from `offset` bytes on.
    pub(crate) fn of_device(
        fd: &OwnedFd,
        pages: usize,
        protection: Protection,
        offset: u64,
    ) -> rustix::io::Result<Self> {
        let len = pages
            .checked_mul(PAGE_SIZE)
            .filter(|&len| len > 0 && len <= isize::MAX as usize);
        let len = len.ok_or(rustix::io::Errno::INVAL)?;
        // SAFETY: the address is the kernel's choice, so no existing mapping is replaced, and nothing else in this
        // process refers to the new one.
        let start = unsafe {
            rustix::mm::mmap(
                core::ptr::null_mut(),
                len,
                protection.flags(),
                MapFlags::SHARED,
                fd,
                offset,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self {
            start,
            len,
            protection,
            grant: None,
        })
    }

    /// Zeroed memory of this process, to try code on that works on rings.
    ///
    /// # Errors
    /// [`Error::Device`] where there is no memory.
    pub fn of_own_memory(pages: usize) -> Result<Self> {
        let failed = |errno| Error::Device {
            op: "mapping own memory",
            domain: None,
            errno,
        };
        let fd =
            rustix::fs::memfd_create("ring", rustix::fs::MemfdFlags::CLOEXEC).map_err(failed)?;
        let len = pages
            .checked_mul(PAGE_SIZE)
            .ok_or_else(|| failed(rustix::io::Errno::INVAL))?;
        rustix::fs::ftruncate(&fd, len as u64).map_err(failed)?;
        Self::of_device(&fd, pages, Protection::ReadWrite, 0).map_err(failed)
    }

    /// The same, giving the grants back when it is dropped.
    pub(crate) fn with_grant(mut self, grant: GrantIndex) -> Self {
        self.grant = Some(grant);
        self
    }

    /// Where it begins, for the kernel to fill it in.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes; a mapping always has some.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `into.len()` bytes at `offset` out of the mapping.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where the bytes are not all inside.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let from = self.range(offset, into.len())?;
        // SAFETY: `range` found the bytes inside the live mapping.
        unsafe { copy_volatile_out(from, into) };
        Ok(())
    }

    /// Copies `from` into the mapping at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where the bytes are not all inside; [`Error::Invalid`] for a read-only mapping.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        let to = self.writable(offset, from.len())?;
        // SAFETY: `writable` found the bytes inside the live, writable mapping.
        unsafe { copy_volatile_in(to, from) };
        Ok(())
    }

    /// Sets `len` bytes at `offset` to `byte`.
    ///
    /// # Errors
    /// As [`Mapping::write`].
    pub fn fill(&self, offset: usize, len: usize, byte: u8) -> Result<()> {
        const CHUNK: usize = PAGE_SIZE;
        let to = self.writable(offset, len)?;
        let chunk = [byte; CHUNK];
        let mut done = 0;
        while done < len {
            let n = CHUNK.min(len - done);
            // SAFETY: `done + n <= len`, and `writable` found `len` bytes inside the live, writable mapping.
            unsafe { copy_volatile_in(to.add(done), chunk.get(..n).unwrap_or_default()) };
            done += n;
        }
        Ok(())
    }

    /// Reads a little-endian u64 at `offset`, in one access when it is aligned.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn read_u64(&self, offset: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a little-endian u64 at `offset`, in one access when it is aligned.
    ///
    /// # Errors
    /// As [`Mapping::write`].
    pub fn write_u64(&self, offset: usize, value: u64) -> Result<()> {
        self.write(offset, &value.to_le_bytes())
    }

    /// Reads the u32 at `offset` (a multiple of 4) with acquire ordering: what the other side wrote before it stored
    /// this value is visible afterwards. For ring indexes.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], also for an unaligned offset.
    pub fn load_u32(&self, offset: usize) -> Result<u32> {
        Ok(self.atomic_u32(offset, false)?.load(Ordering::Acquire))
    }

    /// Stores the u32 at `offset` (a multiple of 4) with release ordering: what was written before is visible to
    /// whoever reads this value. For ring indexes.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], also for an unaligned offset; [`Error::Invalid`] for a read-only mapping.
    pub fn store_u32(&self, offset: usize, value: u32) -> Result<()> {
        self.atomic_u32(offset, true)?
            .store(value, Ordering::Release);
        Ok(())
    }

    fn atomic_u32(&self, offset: usize, write: bool) -> Result<&AtomicU32> {
        let at = if write {
            self.writable(offset, 4)?
        } else {
            self.range(offset, 4)?
        };
        if !offset.is_multiple_of(4) {
            return Err(Error::OutOfRange {
                offset,
                len: 4,
                size: self.len,
            });
        }
        // SAFETY: inside the live mapping, which starts on a page, so aligned; lives as long as `self`. Other accesses
        // of this process to these bytes may be volatile, which is what memory shared with a domain needs; no Rust
        // reference to them exists but this atomic one.
        Ok(unsafe { AtomicU32::from_ptr(at.cast()) })
    }

    fn writable(&self, offset: usize, len: usize) -> Result<*mut u8> {
        if self.protection != Protection::ReadWrite {
            return Err(Error::Invalid {
                op: "write to a mapping",
                what: "it is mapped read-only".into(),
            });
        }
        self.range(offset, len)
    }

    fn range(&self, offset: usize, len: usize) -> Result<*mut u8> {
        match offset.checked_add(len) {
            // SAFETY: `offset <= self.len`, so the result is inside the mapping or one past its end.
            Some(end) if end <= self.len => Ok(unsafe { self.start.as_ptr().add(offset) }),
            _ => Err(Error::OutOfRange {
                offset,
                len,
                size: self.len,
            }),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are what mmap gave; nobody can use the mapping any more. A failure would leave the
        // pages mapped, which is all right.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        if let Some(grant) = self.grant.take() {
            grant.release();
        }
    }
}

/// Copies out of shared memory, eight bytes at a time where they are aligned, each byte read once.
///
/// # Safety
/// `from` must be valid for `into.len()` bytes.
unsafe fn copy_volatile_out(from: *const u8, into: &mut [u8]) {
    let head = from.align_offset(8).min(into.len());
    let (first, rest) = into.split_at_mut(head);
    for (i, b) in first.iter_mut().enumerate() {
        // SAFETY: `i < into.len()`.
        *b = unsafe { from.add(i).read_volatile() };
    }
    let mut words = rest.chunks_exact_mut(8);
    let mut at = head;
    for word in words.by_ref() {
        // SAFETY: eight bytes at `at` are inside `into.len()`; aligned because `head` made it so.
        let value = unsafe { from.add(at).cast::<u64>().read_volatile() };
        word.copy_from_slice(&value.to_ne_bytes());
        at += 8;
    }
    for b in words.into_remainder() {
        // SAFETY: `at < into.len()`.
        *b = unsafe { from.add(at).read_volatile() };
        at += 1;
    }
}

/// Copies into shared memory, eight bytes at a time where they are aligned.
///
/// # Safety
/// `to` must be valid for writing `from.len()` bytes.
unsafe fn copy_volatile_in(to: *mut u8, from: &[u8]) {
    let head = to.align_offset(8).min(from.len());
    let (first, rest) = from.split_at(head);
    for (i, b) in first.iter().enumerate() {
        // SAFETY: `i < from.len()`.
        unsafe { to.add(i).write_volatile(*b) };
    }
    let mut at = head;
    let (words, tail) = rest.as_chunks::<8>();
    for word in words {
        // SAFETY: eight bytes at `at` are inside `from.len()`; aligned because `head` made it so.
        unsafe {
            to.add(at)
                .cast::<u64>()
                .write_volatile(u64::from_ne_bytes(*word))
        };
        at += 8;
    }
    for b in tail {
        // SAFETY: `at < from.len()`.
        unsafe { to.add(at).write_volatile(*b) };
        at += 1;
    }
}

/// A file that mappings keep open.
pub(crate) type SharedFd = Arc<OwnedFd>;

#[cfg(test)]
mod tests {
    use super::*;

    fn two_pages(protection: Protection) -> Mapping {
        let fd = rustix::fs::memfd_create("mapping-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 2 * PAGE_SIZE as u64).unwrap();
        Mapping::of_device(&fd, 2, protection, 0).unwrap()
    }

    #[test]
    fn unaligned_copies_round_trip() {
        let m = two_pages(Protection::ReadWrite);
        for offset in [0, 1, 7, 8, 13, PAGE_SIZE - 3] {
            for len in [0, 1, 5, 8, 17, 64, 1001] {
                let data: Vec<u8> = (0..len)
                    .map(|i| u8::try_from((i * 7 + offset) % 251).unwrap())
                    .collect();
                m.write(offset, &data).unwrap();
                let mut back = vec![0; len];
                m.read(offset, &mut back).unwrap();
                assert_eq!(back, data);
            }
        }
    }

    #[test]
    fn accesses_outside_are_refused() {
        let m = two_pages(Protection::ReadWrite);
        let mut b = [0; 8];
        assert!(m.read(2 * PAGE_SIZE - 7, &mut b).is_err());
        assert!(m.read(usize::MAX, &mut b).is_err());
        assert!(m.write(2 * PAGE_SIZE, &[1]).is_err());
        assert!(m.load_u32(2).is_err());
        assert!(m.load_u32(2 * PAGE_SIZE).is_err());
        assert!(m.fill(PAGE_SIZE, PAGE_SIZE + 1, 0).is_err());
    }

    #[test]
    fn a_read_only_mapping_refuses_writes() {
        let m = two_pages(Protection::Read);
        assert!(m.write(0, &[1]).is_err());
        assert!(m.store_u32(0, 1).is_err());
        assert_eq!(m.load_u32(0).unwrap(), 0);
    }

    #[test]
    fn fill_sets_exactly_its_range() {
        let m = two_pages(Protection::ReadWrite);
        m.fill(10, 5000, 0xab).unwrap();
        let mut b = vec![0; 5002];
        m.read(9, &mut b).unwrap();
        assert_eq!((b[0], b[1], b[5000], b[5001]), (0, 0xab, 0xab, 0));
    }
}
