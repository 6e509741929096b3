//! Where everything lies when dom0 starts: the layout that xen.h calls "start-of-day memory
//! layout". Pure arithmetic.
//!
//! The initial mapping begins at the kernel's virtual base and holds, in this order: the kernel,
//! the module and the P2M list (unless the kernel takes them outside of it), `start_info`, the
//! page tables, the boot stack, and at least 512 KiB of padding up to a multiple of 4 MiB.

use super::elf::Kernel;
use super::tables::Region;
use crate::types::{PAGE_SHIFT, PAGE_SIZE};

/// The layout. Places are page numbers from the start of the initial mapping, which are dom0's
/// pseudo-physical frame numbers as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// Virtual address of frame 0.
    pub(crate) base: u64,
    /// Frames dom0 starts with.
    pub(crate) frames: u64,
    /// First frame of the module, and how many; within the initial mapping or not.
    pub(crate) module: Option<Extent>,
    /// The P2M list.
    pub(crate) p2m: Extent,
    /// Where the P2M list is mapped.
    pub(crate) p2m_address: u64,
    /// Page tables that map the P2M list, when it lies outside the initial mapping.
    pub(crate) p2m_tables: Option<Extent>,
    /// The page of `start_info`.
    pub(crate) start_info: u64,
    /// Page tables of the initial mapping; the first one is the L4.
    pub(crate) tables: Extent,
    /// The boot stack's page.
    pub(crate) stack: u64,
    /// Frames of the initial mapping, padding included.
    pub(crate) mapped: u64,
}

/// Some frames in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// The first one.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u64,
}

impl Extent {
    /// The first frame behind it.
    pub(crate) const fn end(self) -> u64 {
        self.first + self.count
    }

    /// Whether it has this frame.
    pub(crate) const fn contains(self, frame: u64) -> bool {
        self.first <= frame && frame < self.end()
    }
}

/// Why there is no layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PlanError {
    /// dom0 has less memory than the layout takes (both in frames).
    Memory {
        /// What it takes.
        needed: u64,
        /// What there is.
        available: u64,
    },
    /// The kernel's address, or the one it wants for the P2M list, is the hypervisor's, or the
    /// two need the same L4 entry.
    Address(u64),
}

const MAPPING_UNIT: u64 = 4 << 20;
const PADDING: u64 = 512 << 10;
/// Frames that Linux needs beside what it is given, at the very least.
const ELBOW_ROOM: u64 = 1024;

impl Plan {
    /// Lays out a kernel with a module of `module` bytes in `frames` frames.
    pub(crate) fn new(kernel: &Kernel, module: u64, frames: u64) -> Result<Self, PlanError> {
        let pages = |bytes: u64| bytes.div_ceil(PAGE_SIZE);
        let base = kernel.base;
        if is_hypervisors(base) {
            return Err(PlanError::Address(base));
        }
        let mut at = pages(kernel.end as u64);
        let mut place = |count: u64| {
            let extent = Extent { first: at, count };
            at += count;
            extent
        };
        let mut module_extent = None;
        if module > 0 && !kernel.notes.module_by_pfn {
            module_extent = Some(place(pages(module)));
        }
        let p2m_pages = pages(frames * 8);
        let p2m_inside = kernel.notes.init_p2m.is_none().then(|| place(p2m_pages));
        let start_info = place(1).first;
        let (tables, stack, mapped) = initial_tables(base, at);
        // Behind the initial mapping.
        let mut outside = mapped;
        let mut place = |count: u64| {
            let extent = Extent {
                first: outside,
                count,
            };
            outside += count;
            extent
        };
        if module > 0 && kernel.notes.module_by_pfn {
            module_extent = Some(place(pages(module)));
        }
        let (p2m, p2m_address, p2m_tables) = match (p2m_inside, kernel.notes.init_p2m) {
            (Some(p2m), _) => (p2m, base + (p2m.first << PAGE_SHIFT), None),
            (None, wanted) => {
                let address = wanted.unwrap_or(0);
                check_p2m_address(address, p2m_pages, base)?;
                let end = address + (p2m_pages << PAGE_SHIFT);
                let tables = place(Region::new(address, end, 0, 0).tables());
                (place(p2m_pages), address, Some(tables))
            }
        };
        if outside + ELBOW_ROOM > frames {
            return Err(PlanError::Memory {
                needed: outside + ELBOW_ROOM,
                available: frames,
            });
        }
        Ok(Self {
            base,
            frames,
            module: module_extent,
            p2m,
            p2m_address,
            p2m_tables,
            start_info,
            tables,
            stack,
            mapped,
        })
    }

    /// The virtual address of a page of the initial mapping.
    pub(crate) const fn address(&self, page: u64) -> u64 {
        self.base + (page << PAGE_SHIFT)
    }

    /// The initial mapping.
    pub(crate) fn initial(&self) -> Region {
        Region::new(
            self.base,
            self.address(self.mapped),
            0,
            self.tables.first + 1,
        )
    }

    /// The mapping of the P2M list outside the initial one.
    pub(crate) fn p2m_region(&self) -> Option<Region> {
        let tables = self.p2m_tables?;
        let end = self.p2m_address + (self.p2m.count << PAGE_SHIFT);
        Some(Region::new(
            self.p2m_address,
            end,
            self.p2m.first,
            tables.first,
        ))
    }

    /// The frames of `start_info`'s `nr_p2m_frames`: list and tables, when outside.
    pub(crate) fn p2m_extent(&self) -> Option<Extent> {
        let tables = self.p2m_tables?;
        Some(Extent {
            first: tables.first,
            count: tables.count + self.p2m.count,
        })
    }
}

/// Tables, stack and end of the initial mapping, whose pages before the tables end at `at`. More
/// tables map more memory, which takes more tables: the number is found by trying.
fn initial_tables(base: u64, at: u64) -> (Extent, u64, u64) {
    let mut count = 1;
    loop {
        let stack = at + count;
        let end = (stack + 1) * PAGE_SIZE + PADDING;
        let mapped = (base.wrapping_add(end).next_multiple_of(MAPPING_UNIT)).wrapping_sub(base);
        // At the very top of the address space the end wraps to 0.
        let mapped = mapped >> PAGE_SHIFT;
        let needed = 1 + Region::new(base, base.wrapping_add(mapped << PAGE_SHIFT), 0, 0).tables();
        if needed <= count {
            return (Extent { first: at, count }, stack, mapped);
        }
        count = needed;
    }
}

/// Whether an address is in the hypervisor's range or not canonical.
fn is_hypervisors(address: u64) -> bool {
    (0x0000_8000_0000_0000..oxen_abi::arch_x86::HYPERVISOR_VIRT_END).contains(&address)
}

fn check_p2m_address(address: u64, pages: u64, base: u64) -> Result<(), PlanError> {
    let wrong = PlanError::Address(address);
    let last = address
        .checked_add((pages << PAGE_SHIFT) - 1)
        .ok_or(wrong)?;
    let slot = |address: u64| (address >> 39) & 511;
    let shared = slot(address) <= slot(base) && slot(base) <= slot(last);
    if !address.is_multiple_of(PAGE_SIZE)
        || is_hypervisors(address)
        || is_hypervisors(last)
        || shared
    {
        return Err(wrong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::notes::Notes;
    use super::*;
    use alloc::vec::Vec;

    fn linux(init_p2m: Option<u64>, module_by_pfn: bool) -> Kernel {
        Kernel {
            segments: Vec::new(),
            entry: 0,
            base: 0xffff_ffff_8000_0000,
            notes: Notes {
                init_p2m,
                module_by_pfn,
                ..Notes::default()
            },
            end: 0x4a0_0000,
        }
    }

    fn check(plan: &Plan) {
        let initial = plan.initial();
        assert_eq!(plan.tables.count, 1 + initial.tables());
        assert_eq!(plan.stack, plan.tables.end());
        assert!(plan.mapped - plan.stack > PADDING / PAGE_SIZE);
        assert_eq!(plan.address(plan.mapped) % MAPPING_UNIT, 0);
    }

    #[test]
    fn a_linux_kernel_of_today() {
        let module = 17 << 20;
        let plan = Plan::new(&linux(Some(0x80_0000_0000), true), module, 512 << 8).unwrap();
        check(&plan);
        assert_eq!(plan.start_info, 0x4a00);
        // 40 MiB and some: one L3, one L2, and an L1 for each 2 MiB.
        assert_eq!(plan.tables.count, 3 + plan.mapped / 512);
        assert_eq!(
            plan.module,
            Some(Extent {
                first: plan.mapped,
                count: 17 << 8
            })
        );
        // The list has 256 pages: one table of each level.
        assert_eq!(plan.p2m.count, 256);
        assert_eq!(
            plan.p2m_tables,
            Some(Extent {
                first: plan.mapped + (17 << 8),
                count: 3
            })
        );
        assert_eq!(plan.p2m_extent().unwrap().count, 259);
        assert_eq!(plan.p2m_address, 0x80_0000_0000);
    }

    #[test]
    fn an_old_kernel_has_it_all_inside() {
        let plan = Plan::new(&linux(None, false), 5000, 512 << 8).unwrap();
        check(&plan);
        assert_eq!(
            plan.module,
            Some(Extent {
                first: 0x4a00,
                count: 2
            })
        );
        assert_eq!(
            plan.p2m,
            Extent {
                first: 0x4a02,
                count: 256
            }
        );
        assert_eq!(plan.start_info, 0x4b02);
        assert_eq!(plan.p2m_extent(), None);
        assert_eq!(plan.p2m_address, plan.address(0x4a02));
    }

    #[test]
    fn bad_wishes_are_refused() {
        let too_small = Plan::new(&linux(None, false), 0, 64 << 8);
        assert!(matches!(
            too_small,
            Err(PlanError::Memory {
                available: 0x4000,
                ..
            })
        ));
        for address in [
            0xffff_8000_0000_0000,
            0xffff_ffff_0000_0000,
            0x1234_5678,
            u64::MAX - 4095,
        ] {
            let plan = Plan::new(&linux(Some(address), true), 0, 512 << 8);
            assert_eq!(plan, Err(PlanError::Address(address)));
        }
    }

    proptest::proptest! {
        #[test]
        fn sizes_agree(end in 1usize..0x1000_0000, module in 0u64..1 << 28, frames in 0u64..1 << 24, inside: bool) {
            let mut kernel = linux((!inside).then_some(0x80_0000_0000), !inside);
            kernel.end = end;
            if let Ok(plan) = Plan::new(&kernel, module, frames) {
                check(&plan);
            }
        }
    }
}
