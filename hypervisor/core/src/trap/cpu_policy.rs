//! What the tools let a domain see of the processor (`set_cpu_policy`): CPUID leaves that replace
//! or narrow what every PV guest is shown.

use alloc::vec::Vec;

use oxen_abi::arch_x86::{CpuidLeaf, XEN_CPUID_NO_SUBLEAF};

use super::cpuid::Leaf;

const NOTHING: Leaf = [0; 4];
/// Leaf 1 ECX.
const XSAVE: u32 = 1 << 26;
/// Leaf 1 ECX, of which no tool decides: the guest has a hypervisor, and OSXSAVE is its CR4's.
const NOT_CHOSEN: u32 = 1 << 31 | 1 << 27;

/// Leaves that tools have chosen for a domain, in order; none at first.
#[derive(Clone, Debug, Default)]
pub struct CpuPolicy {
    leaves: Vec<CpuidLeaf>,
}

impl CpuPolicy {
    /// No choice.
    pub const fn new() -> Self {
        Self { leaves: Vec::new() }
    }

    /// Whether a policy has such a leaf: those that Xen 4.17 keeps, which bounds their number.
    pub const fn has_place_for(leaf: u32, subleaf: u32) -> bool {
        match leaf {
            4 => subleaf < 6,
            7 => subleaf < 3,
            0xb => subleaf < 2,
            0xd => subleaf < 63,
            0..=0xd | 0x4000_0000 | 0x4000_0100 | 0x8000_0000..=0x8000_0021 => {
                subleaf == XEN_CPUID_NO_SUBLEAF
            }
            _ => false,
        }
    }

    /// Adds a leaf, or replaces it. Returns `false` without memory for it.
    pub fn set(&mut self, wanted: CpuidLeaf) -> bool {
        let key = |leaf: &CpuidLeaf| (leaf.leaf, leaf.subleaf);
        match self.leaves.binary_search_by_key(&key(&wanted), key) {
            Ok(at) => {
                if let Some(place) = self.leaves.get_mut(at) {
                    *place = wanted;
                }
            }
            Err(at) => {
                if self.leaves.try_reserve(1).is_err() {
                    return false;
                }
                self.leaves.insert(at, wanted);
            }
        }
        true
    }

    fn find(&self, leaf: u32, subleaf: u32) -> Option<Leaf> {
        let subleaf = match leaf {
            4 | 7 | 0xb | 0xd => subleaf,
            _ => XEN_CPUID_NO_SUBLEAF,
        };
        let at = self
            .leaves
            .binary_search_by_key(&(leaf, subleaf), |it| (it.leaf, it.subleaf))
            .ok()?;
        let found = self.leaves.get(at)?;
        Some([found.a, found.b, found.c, found.d])
    }

    /// The state components that the domain may see, of those that there are.
    pub fn components(&self, all: u32) -> u32 {
        if self.find(1, 0).is_some_and(|[_, _, c, _]| c & XSAVE == 0) {
            return 0;
        }
        self.find(0xd, 0).map_or(all, |[a, ..]| all & a)
    }

    /// What the domain sees of a leaf whose most is `full`. Names and numbers are as chosen,
    /// features are those of both, and what changes from moment to moment is from `full`.
    pub fn narrow(&self, leaf: u32, subleaf: u32, full: Leaf) -> Leaf {
        let last = match leaf {
            0..=0xffff => self.find(0, 0),
            0x8000_0000..=0x8000_ffff => self.find(0x8000_0000, 0),
            _ => return full,
        };
        if last.is_some_and(|[last, ..]| leaf > last) {
            return NOTHING;
        }
        let Some(wanted) = self.find(leaf, subleaf) else {
            return full;
        };
        let [a, b, c, d] = full;
        let [wa, wb, wc, wd] = wanted;
        match (leaf, subleaf) {
            (0 | 0x8000_0000, _) => [a.min(wa), wb, wc, wd],
            (1, _) => {
                let not_chosen = if wc & XSAVE == 0 { 1 << 31 } else { NOT_CHOSEN };
                [wa, wb & 0x00ff_ffff, c & (wc | not_chosen), d & wd]
            }
            (2 | 4 | 0x8000_0002..=0x8000_0006, _) => wanted,
            (7, 0) => [a.min(wa), b & wb, c & wc, d & wd],
            (7, _) => [a & wa, b & wb, c & wc, d & wd],
            // The components are chosen by subleaf 0 already.
            (0xd, 1) => [a & wa, b, c, d],
            (0xd, _) => full,
            (0x8000_0001, _) => [wa, b, c & wc, d & wd],
            (0x8000_0008, _) => [a, b & wb, c, d],
            _ => [a & wa, b & wb, c & wc, d & wd],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(leaf: u32, subleaf: u32, [a, b, c, d]: Leaf) -> CpuidLeaf {
        CpuidLeaf {
            leaf,
            subleaf,
            a,
            b,
            c,
            d,
        }
    }

    #[test]
    fn no_choice_changes_nothing() {
        let policy = CpuPolicy::new();
        assert_eq!(policy.narrow(1, 0, [1, 2, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(policy.components(7), 7);
    }

    #[test]
    fn features_are_those_of_both_and_names_as_chosen() {
        let mut policy = CpuPolicy::new();
        let plain = XEN_CPUID_NO_SUBLEAF;
        assert!(policy.set(leaf(1, plain, [0x606, u32::MAX, 1 | XSAVE, 0xff])));
        assert!(policy.set(leaf(0, plain, [7, 1, 2, 3])));
        assert!(policy.set(leaf(7, 0, [0, 0x20, 0, 0])));
        let full = [9, 0x1234_5678, 3 | XSAVE | NOT_CHOSEN, 0xf0];
        let seen = policy.narrow(1, 0, full);
        assert_eq!(seen, [0x606, 0x00ff_ffff, 1 | XSAVE | NOT_CHOSEN, 0xf0]);
        assert_eq!(policy.narrow(0, 0, [0xd, 4, 5, 6]), [7, 1, 2, 3]);
        assert_eq!(policy.narrow(0, 0, [5, 4, 5, 6]), [5, 1, 2, 3]);
        assert_eq!(policy.narrow(7, 0, [1, 0x28, 4, 4]), [0, 0x20, 0, 0]);
        assert_eq!(policy.narrow(0xd, 0, [7, 1, 1, 0]), NOTHING, "past leaf 7");
        // Replaced: no XSAVE.
        assert!(policy.set(leaf(1, plain, [0x606, 0, 1, 0])));
        assert_eq!(policy.narrow(1, 0, full)[2], 1 | 1 << 31);
        assert_eq!(policy.components(7), 0);
        // The hypervisor's own leaves are nobody's choice.
        assert!(policy.set(leaf(0x4000_0000, plain, [0; 4])));
        assert_eq!(policy.narrow(0x4000_0000, 0, [5; 4]), [5; 4]);
    }

    #[test]
    fn places() {
        let plain = XEN_CPUID_NO_SUBLEAF;
        for (leaf, subleaf) in [(0, plain), (4, 5), (7, 1), (0xd, 62), (0x8000_0021, plain)] {
            assert!(CpuPolicy::has_place_for(leaf, subleaf), "{leaf:x}");
        }
        for (leaf, subleaf) in [
            (1, 0),
            (4, 6),
            (7, plain),
            (7, 3),
            (0xe, plain),
            (0x9000_0000, plain),
        ] {
            assert!(!CpuPolicy::has_place_for(leaf, subleaf), "{leaf:x}");
        }
    }
}
