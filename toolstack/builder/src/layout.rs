//! Where everything goes: the "start of day" memory layout of the public xen.h.
//!
//! A PV domain begins with its memory numbered from pseudo-physical frame (PFN) 0 on, and with a
//! region of virtual addresses from the kernel's VIRT_BASE on that maps the first frames one to one:
//!
//! 1. the kernel, where its ELF file wants it,
//! 2. the RAM disk, unless the kernel takes it unmapped (MOD_START_PFN),
//! 3. the P2M list, unless the kernel wants it at an address of its own (INIT_P2M),
//! 4. the start_info page, xenstore's ring page, the console's ring page,
//! 5. the page tables that map all this, L4 first,
//! 6. a stack page,
//! 7. at least 512 KiB of room, up to a 4 MiB boundary.
//!
//! A P2M list with its own address follows in PFN order, then the page tables that map it; the RAM
//! disk that is not mapped comes last. The P2M list comes first of the two because Linux takes every
//! PFN below it for mapped.

use oxen_abi::arch_x86::{HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START};

use crate::PAGE_SIZE;
use crate::error::Error;

/// Alignment of the region's end, in bytes.
const REGION_ALIGN: u64 = 4 << 20;
/// Room behind the stack, in bytes.
const ROOM: u64 = 512 << 10;
/// Entries of the P2M list in a page.
const P2M_PER_PAGE: u64 = PAGE_SIZE / 8;

/// What the layout is made for. Sizes are in bytes unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Virtual address of PFN 0, on a page boundary.
    pub virt_base: u64,
    /// First byte past the kernel, in pseudo-physical memory.
    pub kernel_end: u64,
    /// Size of the RAM disk; 0 for none.
    pub ramdisk: u64,
    /// Whether the RAM disk may stay unmapped.
    pub unmapped_ramdisk: bool,
    /// Virtual address for the P2M list.
    pub init_p2m: Option<u64>,
    /// The domain's memory, in pages.
    pub pages: u64,
}

/// Frames in pseudo-physical order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frames {
    /// The first.
    pub pfn: u64,
    /// How many.
    pub count: u64,
}

impl Frames {
    /// The frame after the last.
    #[must_use]
    pub fn end(self) -> u64 {
        self.pfn.saturating_add(self.count)
    }
}

/// Virtual addresses that are mapped to successive frames by page tables of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// The first address, on a page boundary.
    pub start: u64,
    /// The frames that it maps.
    pub frames: Frames,
    /// Where the L3, L2 and L1 tables are, in this order.
    pub tables: Frames,
}

/// The plan of a domain's memory at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Virtual address of PFN 0.
    pub virt_base: u64,
    /// The domain's memory, in pages.
    pub pages: u64,
    /// The RAM disk, if there is one.
    pub ramdisk: Option<Frames>,
    /// Whether the RAM disk is mapped.
    pub ramdisk_mapped: bool,
    /// The P2M list.
    pub p2m: Frames,
    /// Virtual address of the P2M list.
    pub p2m_address: u64,
    /// PFN of the start_info page.
    pub start_info: u64,
    /// PFN of xenstore's ring.
    pub xenstore: u64,
    /// PFN of the console's ring.
    pub console: u64,
    /// PFN of the L4 table.
    pub l4: u64,
    /// PFN of the stack.
    pub stack: u64,
    /// The region.
    pub region: Area,
    /// The P2M list's own area, where it has one.
    pub p2m_area: Option<Area>,
    /// Frames that are in use at the start.
    pub used: u64,
}

impl Layout {
    /// Plans the layout.
    ///
    /// # Errors
    /// [`Error::DomainTooSmall`] and [`Error::Layout`].
    pub fn plan(wanted: &Wanted) -> Result<Self, Error> {
        let mut next = Allocator::default();
        next.take(pages_of(wanted.kernel_end));
        let has_ramdisk = wanted.ramdisk > 0;
        let ramdisk_mapped = has_ramdisk && !wanted.unmapped_ramdisk;
        let ramdisk_pages = pages_of(wanted.ramdisk);
        let mut ramdisk = ramdisk_mapped.then(|| next.take(ramdisk_pages));
        let p2m_pages = wanted.pages.div_ceil(P2M_PER_PAGE);
        let own_address = p2m_address(wanted, p2m_pages);
        let mut p2m = Frames::default();
        if own_address.is_none() {
            p2m = next.take(p2m_pages);
        }
        let start_info = next.take(1).pfn;
        let xenstore = next.take(1).pfn;
        let console = next.take(1).pfn;
        let l4 = next.take(1).pfn;
        let (region, stack) = region(wanted.virt_base, &mut next)?;
        let mut p2m_area = None;
        if let Some(start) = own_address {
            p2m = next.take(p2m_pages);
            let tables = next.take(tables_for(start, p2m_pages));
            p2m_area = Some(Area {
                start,
                frames: p2m,
                tables,
            });
        }
        if has_ramdisk && !ramdisk_mapped {
            ramdisk = Some(next.take(ramdisk_pages));
        }
        let used = next.next;
        if used > wanted.pages {
            return Err(Error::DomainTooSmall {
                have_mib: mib(wanted.pages),
                need_mib: mib(used),
            });
        }
        let in_region = |pfn: u64| wanted.virt_base.wrapping_add(pfn.wrapping_mul(PAGE_SIZE));
        Ok(Self {
            virt_base: wanted.virt_base,
            pages: wanted.pages,
            ramdisk,
            ramdisk_mapped,
            p2m,
            p2m_address: own_address.unwrap_or_else(|| in_region(p2m.pfn)),
            start_info,
            xenstore,
            console,
            l4,
            stack,
            region,
            p2m_area,
            used,
        })
    }

    /// The virtual address of a frame of the region.
    #[must_use]
    pub fn address(&self, pfn: u64) -> u64 {
        self.virt_base.wrapping_add(pfn.wrapping_mul(PAGE_SIZE))
    }

    /// The frame behind a virtual address of the region.
    #[must_use]
    pub fn pfn_of(&self, address: u64) -> Option<u64> {
        let pfn = address.checked_sub(self.virt_base)? / PAGE_SIZE;
        (pfn < self.region.frames.count).then_some(pfn)
    }

    /// Whether a frame is one of the page tables, which the domain may not write.
    #[must_use]
    pub fn is_table(&self, pfn: u64) -> bool {
        let within = |f: Frames| (f.pfn..f.end()).contains(&pfn);
        pfn == self.l4
            || within(self.region.tables)
            || self.p2m_area.is_some_and(|a| within(a.tables))
    }

    /// The number of page tables that map the region, with the L4.
    #[must_use]
    pub fn region_tables(&self) -> u64 {
        self.region.tables.count + 1
    }
}

/// Gives frames out in order. Saturates instead of overflowing: whatever saturates is more than any
/// domain has.
#[derive(Default)]
struct Allocator {
    next: u64,
}

impl Allocator {
    fn take(&mut self, count: u64) -> Frames {
        let frames = Frames {
            pfn: self.next,
            count,
        };
        self.next = self.next.saturating_add(count);
        frames
    }
}

/// Page tables below the L4, the stack and the region's end, which depend on each other: tables are
/// mapped in the region that they map.
fn region(virt_base: u64, next: &mut Allocator) -> Result<(Area, u64), Error> {
    let first_table = next.next;
    let mut tables = 3;
    // The number of tables only grows, and a table maps 512 pages, so this ends after a few turns.
    loop {
        let stack_end = first_table.saturating_add(tables).saturating_add(1);
        let bytes = stack_end.saturating_mul(PAGE_SIZE).saturating_add(ROOM);
        let end = virt_base
            .checked_add(bytes)
            .and_then(|e| e.checked_next_multiple_of(REGION_ALIGN))
            .ok_or_else(|| {
                Error::Layout(format!(
                    "kernel, ramdisk and P2M list reach past the end of the address space from {virt_base:#x} on"
                ))
            })?;
        check_hole(virt_base, end)?;
        let pages = (end - virt_base) / PAGE_SIZE;
        let needed = tables_for(virt_base, pages);
        if needed > tables {
            tables = needed;
            continue;
        }
        let area = Area {
            start: virt_base,
            frames: Frames {
                pfn: 0,
                count: pages,
            },
            tables: next.take(tables),
        };
        let stack = next.take(1).pfn;
        next.next = pages;
        return Ok((area, stack));
    }
}

/// Neither non-canonical addresses nor the hypervisor's own may be in the region.
fn check_hole(start: u64, end: u64) -> Result<(), Error> {
    const LOW_END: u64 = 1 << 47;
    let free = end <= LOW_END || start >= HYPERVISOR_VIRT_END;
    if free {
        return Ok(());
    }
    Err(Error::Layout(format!(
        "the kernel's addresses, {start:#x} to {end:#x}, touch the hypervisor's ({HYPERVISOR_VIRT_START:#x} to {HYPERVISOR_VIRT_END:#x}) or no memory at all"
    )))
}

/// The address that the kernel wants for its P2M list, if that can be granted: it needs an L4 entry
/// that the region does not use. Otherwise the list goes into the region, which every kernel takes.
fn p2m_address(wanted: &Wanted, pages: u64) -> Option<u64> {
    let start = wanted.init_p2m?;
    let end = start.checked_add(pages.checked_mul(PAGE_SIZE)?)?;
    let slots = (start >> 39)..=((end - 1) >> 39);
    // The region is below 2 GiB or so, and ends in the slot it starts in or the next.
    let region_slot = wanted.virt_base >> 39;
    let apart = !slots.contains(&region_slot) && !slots.contains(&(region_slot + 1));
    (start.is_multiple_of(PAGE_SIZE) && apart && check_hole(start, end).is_ok()).then_some(start)
}

/// The number of L3, L2 and L1 tables that map `pages` pages from `start` on.
pub(crate) fn tables_for(start: u64, pages: u64) -> u64 {
    [39, 30, 21]
        .into_iter()
        .map(|shift| tables_at(start, pages, shift))
        .sum()
}

/// The number of tables on one level, whose entries in the level above cover `1 << shift` bytes.
pub(crate) fn tables_at(start: u64, pages: u64, shift: u32) -> u64 {
    let last = start.saturating_add(pages.saturating_mul(PAGE_SIZE).saturating_sub(1));
    (last >> shift) - (start >> shift) + 1
}

fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

fn mib(pages: u64) -> u64 {
    pages.div_ceil((1 << 20) / PAGE_SIZE)
}

#[cfg(test)]
mod tests;
