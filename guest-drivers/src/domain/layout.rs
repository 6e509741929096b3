//! Where things are in the copy's pseudo-physical memory.
//!
//! Everything is mapped at one base address, as the boot protocol of PV guests has it: the image,
//! then the P2M list, the start information, the rings, the page tables and the boot stack.

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Entries of a table.
const ENTRIES: u64 = 512;

/// Frame numbers of the copy's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Pages that the domain has.
    pub pages: u64,
    /// First frame of the P2M list.
    pub p2m: u64,
    /// The start information.
    pub start_info: u64,
    /// The console ring.
    pub console: u64,
    /// The xenstore ring; here the page in which the copy reports its progress. It lies below the
    /// image, where a copy that corrupts its memory upwards does not reach it.
    pub store: u64,
    /// First of the page tables: L4, L3, L2, then the L1s.
    pub tables: u64,
    /// Number of page tables.
    pub table_count: u64,
    /// The boot stack.
    pub stack: u64,
}

impl Layout {
    /// Lays a domain of `pages` pages out behind an image that ends at `image_end`; `None` if it
    /// does not fit, or if it needs more than one L2.
    #[must_use]
    pub fn new(pages: u64, image_end: u64) -> Option<Self> {
        let l1s = pages.div_ceil(ENTRIES);
        if l1s > ENTRIES {
            return None;
        }
        let p2m = image_end;
        let start_info = p2m.checked_add((pages * 8).div_ceil(PAGE))?;
        let tables = start_info + 2;
        let table_count = 3 + l1s;
        let layout = Layout {
            pages,
            p2m,
            start_info,
            console: start_info + 1,
            store: 1,
            tables,
            table_count,
            stack: tables + table_count,
        };
        (layout.stack < pages).then_some(layout)
    }

    /// Whether a frame is one of the page tables, which the domain must map read-only.
    #[must_use]
    pub fn is_table(&self, pfn: u64) -> bool {
        (self.tables..self.tables + self.table_count).contains(&pfn)
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn parts_follow_each_other_and_fit() {
        let layout = Layout::new(2048, 0x500).expect("fits");
        assert_eq!(layout.p2m, 0x500);
        assert_eq!(layout.start_info, 0x504);
        assert_eq!(layout.tables, 0x506);
        assert_eq!(layout.table_count, 7);
        assert_eq!(layout.stack, 0x50d);
        assert!(layout.is_table(0x506) && layout.is_table(0x50c));
        assert!(!layout.is_table(0x50d) && !layout.is_table(0x505));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Layout::new(16, 10), None);
        assert_eq!(Layout::new(1 << 20, 0x100), None);
        assert_eq!(Layout::new(2048, u64::MAX), None);
    }
}
