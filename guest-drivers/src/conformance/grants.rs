//! Grant tables, version 1, from this domain to itself: sizes, mapping, copying.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::Errno;
use oxen_abi::arch_x86::PTE_ADDR_MASK;
use oxen_abi::grant_table as abi;
use oxen_abi::hypercall::HYPERVISOR_GRANT_TABLE_OP;
use oxen_abi::xen::DOMID_SELF;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::events::own_domain;
use super::mappings::NO_FRAME;
use super::traps::faulted;
use super::version::UNMAPPED;
use super::{Outcome, Suite, ensure, good, same, some};
use crate::pagetable::{self, RW};
use crate::sys::frame::Frame;
use crate::sys::{hypercall, probe};

/// One grant operation.
pub(super) fn op<T: IntoBytes + FromBytes + Immutable>(cmd: u32, arg: &mut T) -> hypercall::Result {
    hypercall::call(
        HYPERVISOR_GRANT_TABLE_OP,
        [u64::from(cmd), hypercall::address(arg), 1],
    )
}

/// The first frame of the grant table, mapped over an arena page.
pub(crate) struct Table {
    pub(super) entries: &'static [AtomicU64; 512],
    pub(super) domain: u16,
}

impl Table {
    /// Sets the table up and maps it.
    pub(crate) fn new() -> Outcome<Self> {
        let mut frames = [0u64];
        let mut arg = abi::SetupTable {
            dom: DOMID_SELF,
            nr_frames: 1,
            frame_list: hypercall::slice_address(&mut frames),
            ..abi::SetupTable::default()
        };
        same!(op(abi::GNTTABOP_SETUP_TABLE, &mut arg), Ok(0));
        same!(arg.status, abi::GNTST_OKAY);
        let page = Frame::new();
        good!(pagetable::update_va(page.address(), frames[0] << 12 | RW));
        Ok(Table {
            entries: page.words(),
            domain: own_domain()?,
        })
    }

    /// Where the table is mapped.
    pub(crate) fn address(&self) -> u64 {
        core::ptr::from_ref(self.entries) as u64
    }

    /// Grants a frame to a domain under a reference.
    pub(crate) fn grant_to(&self, reference: usize, domain: u16, mfn: u64, flags: u16) {
        let entry = u64::from(flags) | u64::from(domain) << 16 | mfn << 32;
        self.entries[reference].store(entry, Ordering::SeqCst);
    }

    /// The domain whose table this is.
    pub(crate) fn domain(&self) -> u16 {
        self.domain
    }

    pub(super) fn grant(&self, reference: usize, mfn: u64, flags: u16) {
        self.grant_to(reference, self.domain, mfn, flags);
    }

    /// The flags that the hypervisor sees and sets.
    pub(crate) fn flags(&self, reference: usize) -> u64 {
        self.entries[reference].load(Ordering::SeqCst) & 0xffff
    }

    /// Takes a grant back.
    pub(super) fn revoke(&self, reference: usize) {
        self.entries[reference].store(0, Ordering::SeqCst);
    }
}

/// Maps a reference of a domain; returns status, handle.
pub(crate) fn map(domain: u16, reference: u32, address: u64, flags: u32) -> Outcome<(i16, u32)> {
    let mut arg = abi::MapGrantRef {
        host_addr: address,
        flags,
        ref_: reference,
        dom: domain,
        ..abi::MapGrantRef::default()
    };
    same!(op(abi::GNTTABOP_MAP_GRANT_REF, &mut arg), Ok(0));
    Ok((arg.status, arg.handle))
}

/// Unmaps a handle; returns the status.
pub(crate) fn unmap(address: u64, handle: u32) -> Outcome<i16> {
    let mut arg = abi::UnmapGrantRef {
        host_addr: address,
        handle,
        ..abi::UnmapGrantRef::default()
    };
    same!(op(abi::GNTTABOP_UNMAP_GRANT_REF, &mut arg), Ok(0));
    Ok(arg.status)
}

/// A page whose own mapping is taken away, so that a grant can be mapped there.
pub(crate) fn place() -> Outcome<Frame> {
    let page = Frame::new();
    good!(pagetable::update_va(page.address(), 0));
    Ok(page)
}

/// Free references for the checks, above the reserved ones.
const REF: usize = 20;
const HOST: u32 = abi::GNTMAP_HOST_MAP;

fn queries(s: &mut Suite<'_>) {
    s.check("grants/query_size_and_version", || {
        let mut size = abi::QuerySize {
            dom: DOMID_SELF,
            ..abi::QuerySize::default()
        };
        same!(op(abi::GNTTABOP_QUERY_SIZE, &mut size), Ok(0));
        same!(size.status, abi::GNTST_OKAY);
        ensure!(
            size.nr_frames >= 1 && size.nr_frames <= size.max_nr_frames,
            "{} frames of {}",
            size.nr_frames,
            size.max_nr_frames
        );
        let mut version = abi::GetVersion {
            dom: DOMID_SELF,
            ..abi::GetVersion::default()
        };
        same!(op(abi::GNTTABOP_GET_VERSION, &mut version), Ok(0));
        same!(version.version, 1);
        same!(
            op(
                abi::GNTTABOP_SET_VERSION,
                &mut abi::SetVersion { version: 3 }
            ),
            Err(Errno::EINVAL)
        );
        Ok(())
    });
    s.check("grants/refused", || {
        let mut setup = abi::SetupTable {
            dom: 0x1234,
            nr_frames: 1,
            ..abi::SetupTable::default()
        };
        same!(op(abi::GNTTABOP_SETUP_TABLE, &mut setup), Ok(0));
        same!(setup.status, abi::GNTST_BAD_DOMAIN);
        let mut setup = abi::SetupTable {
            dom: DOMID_SELF,
            nr_frames: 100_000,
            ..abi::SetupTable::default()
        };
        same!(op(abi::GNTTABOP_SETUP_TABLE, &mut setup), Ok(0));
        ensure!(setup.status < 0, "{} frames", setup.nr_frames);
        for cmd in [13, 100] {
            same!(
                hypercall::call(HYPERVISOR_GRANT_TABLE_OP, [cmd, UNMAPPED, 1]),
                Err(Errno::ENOSYS)
            );
        }
        for cmd in [
            abi::GNTTABOP_MAP_GRANT_REF,
            abi::GNTTABOP_COPY,
            abi::GNTTABOP_UNMAP_GRANT_REF,
        ] {
            same!(
                hypercall::call(HYPERVISOR_GRANT_TABLE_OP, [u64::from(cmd), UNMAPPED, 1]),
                Err(Errno::EFAULT)
            );
            same!(
                hypercall::call(HYPERVISOR_GRANT_TABLE_OP, [u64::from(cmd), 0, 0]),
                Ok(0)
            );
        }
        Ok(())
    });
}

fn mapping(s: &mut Suite<'_>, table: &Table) {
    let own = table.domain;
    let reference = 20;
    s.check("grants/map_and_unmap", || {
        let (page, place) = (Frame::new(), place()?);
        page.fill(0x77);
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS);
        let (status, handle) = map(own, reference, place.address(), HOST)?;
        same!(status, abi::GNTST_OKAY);
        same!(probe::read(place.address()), Ok(0x77));
        good!(probe::write(place.address(), 0x78));
        same!(page.words()[0].load(Ordering::Relaxed), 0x78);
        let in_use = u64::from(abi::GTF_READING | abi::GTF_WRITING);
        same!(table.flags(REF) & in_use, in_use);
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        same!(table.flags(REF) & in_use, 0);
        faulted(probe::read(place.address()), probe::PF)?;
        same!(unmap(place.address(), handle)?, abi::GNTST_BAD_HANDLE);
        table.revoke(REF);
        good!(pagetable::make_writable(place));
        Ok(())
    });
    s.check("grants/map_read_only", || {
        let (page, place) = (Frame::new(), place()?);
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS | abi::GTF_READONLY);
        let (status, _) = map(own, reference, place.address(), HOST)?;
        same!(status, abi::GNTST_GENERAL_ERROR);
        let (status, handle) = map(own, reference, place.address(), HOST | abi::GNTMAP_READONLY)?;
        same!(status, abi::GNTST_OKAY);
        good!(probe::read(place.address()));
        faulted(probe::write(place.address(), 1), probe::PF)?;
        same!(
            table.flags(REF) & u64::from(abi::GTF_READING | abi::GTF_WRITING),
            u64::from(abi::GTF_READING)
        );
        same!(unmap(place.address(), handle)?, abi::GNTST_OKAY);
        table.revoke(REF);
        Ok(())
    });
    s.check("grants/map_by_entry_address", || {
        let (page, place) = (Frame::new(), place()?);
        page.fill(0x99);
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS);
        let entry = some!(pagetable::entry(place.address(), 1)).machine;
        let (status, handle) = map(own, reference, entry, HOST | abi::GNTMAP_CONTAINS_PTE)?;
        same!(status, abi::GNTST_OKAY);
        same!(probe::read(place.address()), Ok(0x99));
        // The handle remembers how it was mapped: another entry is refused.
        ensure!(unmap(entry + 8, handle)? < 0, "unmapped somewhere else");
        same!(unmap(entry, handle)?, abi::GNTST_OKAY);
        // Empty memory could be a page table, but is none.
        let empty = Frame::new().mfn() << 12;
        let (status, _) = map(own, reference, empty, HOST | abi::GNTMAP_CONTAINS_PTE)?;
        same!(status, abi::GNTST_GENERAL_ERROR);
        table.revoke(REF);
        Ok(())
    });
    s.check("grants/map_twice", || {
        let (page, a, b) = (Frame::new(), place()?, place()?);
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS);
        let (first, first_handle) = map(own, reference, a.address(), HOST)?;
        let (second, second_handle) =
            map(own, reference, b.address(), HOST | abi::GNTMAP_READONLY)?;
        same!([first, second], [abi::GNTST_OKAY; 2]);
        same!(unmap(a.address(), first_handle)?, abi::GNTST_OKAY);
        // The reader is still there.
        same!(
            table.flags(REF) & u64::from(abi::GTF_READING | abi::GTF_WRITING),
            u64::from(abi::GTF_READING)
        );
        same!(unmap(b.address(), second_handle)?, abi::GNTST_OKAY);
        table.revoke(REF);
        Ok(())
    });
    s.check("grants/device_map_only", || {
        let page = Frame::new();
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS);
        let mut arg = abi::MapGrantRef {
            flags: abi::GNTMAP_DEVICE_MAP,
            ref_: reference,
            dom: own,
            ..abi::MapGrantRef::default()
        };
        same!(op(abi::GNTTABOP_MAP_GRANT_REF, &mut arg), Ok(0));
        same!(arg.status, abi::GNTST_OKAY);
        same!(arg.dev_bus_addr & PTE_ADDR_MASK, page.mfn() << 12);
        let mut back = abi::UnmapGrantRef {
            dev_bus_addr: arg.dev_bus_addr,
            handle: arg.handle,
            ..abi::UnmapGrantRef::default()
        };
        same!(op(abi::GNTTABOP_UNMAP_GRANT_REF, &mut back), Ok(0));
        same!(back.status, abi::GNTST_OKAY);
        table.revoke(REF);
        Ok(())
    });
    s.check("grants/many_handles", || {
        // More than a page of the hypervisor's has room for: it gets further ones. Of each kind of
        // use of an entry Xen counts up to 127.
        const EACH: usize = 120;
        const ENTRIES: usize = 12;
        let page = Frame::new();
        let mut handles = [0u32; EACH * ENTRIES];
        for entry in REF..REF + ENTRIES {
            table.grant(entry, page.mfn(), abi::GTF_PERMIT_ACCESS);
        }
        // A domain may have fewer, and it may have them all again.
        let mut most = None;
        for _ in 0..2 {
            let mut count = 0;
            for (place, slot) in handles.iter_mut().enumerate() {
                let entry = reference + u32::try_from(place / EACH).unwrap_or(0);
                let (status, handle) = map(own, entry, 0, abi::GNTMAP_DEVICE_MAP)?;
                if status == abi::GNTST_NO_SPACE {
                    break;
                }
                same!(status, abi::GNTST_OKAY);
                *slot = handle;
                count += 1;
            }
            ensure!(count >= 200, "only {count} handles");
            same!(count, *most.get_or_insert(count));
            let used = handles.get_mut(..count).unwrap_or(&mut []);
            used.sort_unstable();
            for pair in used.windows(2) {
                ensure!(pair[0] != pair[1], "handle {} was given twice", pair[0]);
            }
            for handle in used {
                let mut back = abi::UnmapGrantRef {
                    dev_bus_addr: page.mfn() << 12,
                    handle: *handle,
                    ..abi::UnmapGrantRef::default()
                };
                same!(op(abi::GNTTABOP_UNMAP_GRANT_REF, &mut back), Ok(0));
                same!(back.status, abi::GNTST_OKAY);
            }
        }
        for entry in REF..REF + ENTRIES {
            same!(table.flags(entry) & 0x18, 0);
            table.revoke(entry);
        }
        Ok(())
    });
    s.check("grants/map_refused", || {
        let (page, place) = (Frame::new(), place()?);
        let status = |domain, reference, address, flags| -> Outcome<i16> {
            Ok(map(domain, reference, address, flags)?.0)
        };
        same!(
            status(0x1234, reference, place.address(), HOST)?,
            abi::GNTST_BAD_DOMAIN
        );
        same!(
            status(own, 1_000_000, place.address(), HOST)?,
            abi::GNTST_BAD_GNTREF
        );
        same!(
            status(own, u32::MAX, place.address(), HOST)?,
            abi::GNTST_BAD_GNTREF
        );
        // Not granted.
        table.revoke(REF);
        same!(
            status(own, reference, place.address(), HOST)?,
            abi::GNTST_GENERAL_ERROR
        );
        // Granted to somebody else.
        table.grant_to(REF, 0x7f00, page.mfn(), abi::GTF_PERMIT_ACCESS);
        same!(
            status(own, reference, place.address(), HOST)?,
            abi::GNTST_GENERAL_ERROR
        );
        // A frame that is not the granter's.
        table.grant(REF, NO_FRAME & 0xffff_ffff, abi::GTF_PERMIT_ACCESS);
        same!(
            status(own, reference, place.address(), HOST)?,
            abi::GNTST_BAD_PAGE
        );
        table.grant(REF, page.mfn(), abi::GTF_PERMIT_ACCESS);
        // Neither host nor device, and addresses without an entry.
        same!(
            status(own, reference, place.address(), 0)?,
            abi::GNTST_BAD_GNTREF
        );
        ensure!(
            status(own, reference, UNMAPPED, HOST)? < 0,
            "mapped where no table is"
        );
        ensure!(
            status(own, reference, super::version::HYPERVISOR, HOST)? < 0,
            "mapped into the hypervisor"
        );
        same!(table.flags(REF) & 0x18, 0);
        for handle in [12345, u32::MAX] {
            same!(unmap(place.address(), handle)?, abi::GNTST_BAD_HANDLE);
        }
        table.revoke(REF);
        Ok(())
    });
    s.check("grants/page_table_not_granted_writable", || {
        let l1 = good!(pagetable::new_table());
        good!(super::pinning::mmuext_for(
            oxen_abi::mmu::MMUEXT_PIN_L1_TABLE,
            l1.mfn(),
            0,
            DOMID_SELF
        ));
        let place = place()?;
        table.grant(REF, l1.mfn(), abi::GTF_PERMIT_ACCESS);
        ensure!(
            map(own, reference, place.address(), HOST)?.0 < 0,
            "a page table was mapped read-write through a grant"
        );
        table.revoke(REF);
        good!(super::pinning::mmuext_for(
            oxen_abi::mmu::MMUEXT_UNPIN_TABLE,
            l1.mfn(),
            0,
            DOMID_SELF
        ));
        Ok(())
    });
}

/// One end of a copy: reference or frame, domain, offset.
pub(crate) fn end(u: u64, domid: u16, offset: u16) -> abi::CopyPtr {
    abi::CopyPtr {
        u,
        domid,
        offset,
        ..abi::CopyPtr::default()
    }
}

/// Copies; returns the status.
pub(crate) fn copy(source: abi::CopyPtr, dest: abi::CopyPtr, len: u16, flags: u16) -> Outcome<i16> {
    let mut arg = abi::Copy {
        source,
        dest,
        len,
        flags,
        ..abi::Copy::default()
    };
    same!(op(abi::GNTTABOP_COPY, &mut arg), Ok(0));
    Ok(arg.status)
}

fn copying(s: &mut Suite<'_>, table: &Table) {
    let own = table.domain;
    s.check("grants/copy_between_own_frames", || {
        let (a, b) = (Frame::new(), Frame::new());
        a.fill(0x0807_0605_0403_0201);
        let (from, to) = (end(a.mfn(), DOMID_SELF, 0), end(b.mfn(), DOMID_SELF, 8));
        same!(copy(from, to, 4, 0)?, abi::GNTST_OKAY);
        same!(b.words()[1].load(Ordering::Relaxed), 0x0403_0201);
        same!(b.words()[0].load(Ordering::Relaxed), 0);
        let (from, to) = (end(a.mfn(), DOMID_SELF, 0), end(b.mfn(), DOMID_SELF, 0));
        same!(copy(from, to, 4096, 0)?, abi::GNTST_OKAY);
        same!(
            b.words()[511].load(Ordering::Relaxed),
            0x0807_0605_0403_0201
        );
        same!(copy(from, to, 0, 0)?, abi::GNTST_OKAY);
        Ok(())
    });
    s.check("grants/copy_from_and_to_references", || {
        let (a, b) = (Frame::new(), Frame::new());
        a.fill(5);
        table.grant(REF, a.mfn(), abi::GTF_PERMIT_ACCESS | abi::GTF_READONLY);
        table.grant(REF + 1, b.mfn(), abi::GTF_PERMIT_ACCESS);
        let (from, to) = (end(20, own, 16), end(21, own, 32));
        let both = abi::GNTCOPY_SOURCE_GREF | abi::GNTCOPY_DEST_GREF;
        same!(copy(from, to, 8, both)?, abi::GNTST_OKAY);
        same!(b.words()[4].load(Ordering::Relaxed), 5);
        // Writing to what was granted read-only.
        same!(copy(to, from, 8, both)?, abi::GNTST_GENERAL_ERROR);
        same!(table.flags(REF) & 0x18, 0);
        same!(table.flags(REF + 1) & 0x18, 0);
        table.revoke(REF);
        table.revoke(REF + 1);
        Ok(())
    });
    s.check("grants/copy_bounds", || {
        let (a, b) = (Frame::new(), Frame::new());
        for (from_offset, to_offset, len) in [
            (4000, 0, 97),
            (0, 4000, 97),
            (4096, 0, 1),
            (0, 0, 4097),
            (65535, 0, 65535),
        ] {
            let status = copy(
                end(a.mfn(), DOMID_SELF, from_offset),
                end(b.mfn(), DOMID_SELF, to_offset),
                len,
                0,
            )?;
            same!(status, abi::GNTST_BAD_COPY_ARG);
        }
        let last = end(a.mfn(), DOMID_SELF, 4095);
        same!(
            copy(last, end(b.mfn(), DOMID_SELF, 4095), 1, 0)?,
            abi::GNTST_OKAY
        );
        Ok(())
    });
    s.check("grants/copy_refused", || {
        let (a, b) = (Frame::new(), Frame::new());
        let good = end(b.mfn(), DOMID_SELF, 0);
        same!(
            copy(end(NO_FRAME, DOMID_SELF, 0), good, 8, 0)?,
            abi::GNTST_BAD_PAGE
        );
        same!(
            copy(good, end(NO_FRAME, DOMID_SELF, 0), 8, 0)?,
            abi::GNTST_BAD_PAGE
        );
        // A frame of another domain's, or of this one by its number.
        same!(
            copy(end(a.mfn(), 0x1234, 0), good, 8, 0)?,
            abi::GNTST_BAD_DOMAIN
        );
        same!(
            copy(end(a.mfn(), own, 0), good, 8, 0)?,
            abi::GNTST_PERMISSION_DENIED
        );
        for (reference, domain, status) in [
            (1 << 20, own, abi::GNTST_BAD_GNTREF),
            (20, own, abi::GNTST_GENERAL_ERROR),
            (20, 0x1234, abi::GNTST_BAD_DOMAIN),
        ] {
            same!(
                copy(end(reference, domain, 0), good, 8, abi::GNTCOPY_SOURCE_GREF)?,
                status
            );
        }
        // A page table is not a place to copy to.
        let l1 = some!(pagetable::entry(a.address(), 1)).machine >> 12;
        ensure!(
            copy(good, end(l1, DOMID_SELF, 0), 8, 0)? < 0,
            "copied over a page table"
        );
        Ok(())
    });
    s.check("grants/copy_batch", || {
        // One bad entry among good ones: each has its own status.
        let (a, b) = (Frame::new(), Frame::new());
        a.fill(9);
        let one = abi::Copy {
            source: end(a.mfn(), DOMID_SELF, 0),
            dest: end(b.mfn(), DOMID_SELF, 0),
            len: 8,
            ..abi::Copy::default()
        };
        let mut list = [one; 8];
        list[3].source.u = NO_FRAME;
        list[7].dest.offset = 80;
        let result = hypercall::call(
            HYPERVISOR_GRANT_TABLE_OP,
            [
                u64::from(abi::GNTTABOP_COPY),
                hypercall::slice_address(&mut list),
                8,
            ],
        );
        same!(result, Ok(0));
        for (i, copy) in list.iter().enumerate() {
            same!(copy.status < 0, i == 3);
        }
        same!(b.words()[10].load(Ordering::Relaxed), 9);
        Ok(())
    });
}

pub(super) fn run(s: &mut Suite<'_>) {
    let table = Table::new();
    queries(s);
    match &table {
        Ok(table) => {
            mapping(s, table);
            copying(s, table);
        }
        Err(why) => {
            let text = why.text();
            s.check("grants/setup_table", || {
                Err(super::Why::new(format_args!("{text}")))
            });
        }
    }
}
