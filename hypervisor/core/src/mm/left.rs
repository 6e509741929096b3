//! Page tables that a vCPU let go of and that are not yet taken apart.

use alloc::vec::Vec;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::Mfn;

/// A list of them. Only the CPU that runs the vCPU uses it, or one that takes a stopped vCPU apart.
#[derive(Debug, Default)]
pub struct LeftTables {
    /// There is one: known without the lock, for every page-table update asks.
    any: AtomicBool,
    list: Mutex<Vec<Mfn>>,
}

impl LeftTables {
    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// Notes one; `false` if there is no memory for that.
    pub(crate) fn push(&self, mfn: Mfn) -> bool {
        let mut list = self.list.lock();
        let fits = list.try_reserve(1).is_ok();
        if fits {
            list.push(mfn);
            self.any.store(true, Ordering::Relaxed);
        }
        fits
    }

    /// Takes the one that was noted last.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Mfn> {
        if self.is_empty() {
            return None;
        }
        let mut list = self.list.lock();
        let mfn = list.pop();
        self.any.store(!list.is_empty(), Ordering::Relaxed);
        mfn
    }
}

#[cfg(test)]
mod tests {
    use super::LeftTables;
    use crate::types::Mfn;

    #[test]
    fn what_is_noted_comes_back() {
        let left = LeftTables::default();
        assert!(left.is_empty() && left.pop().is_none());
        assert!(left.push(Mfn(1)) && left.push(Mfn(2)));
        assert_eq!(left.pop(), Some(Mfn(2)));
        assert!(!left.is_empty());
        assert_eq!(left.pop(), Some(Mfn(1)));
        assert!(left.is_empty() && left.pop().is_none());
    }
}
