//! Speculative side channels: which defences a processor needs ([`Plan`]), and indexes that
//! guests supply, made safe from speculation.
//!
//! A processor that predicts a bounds check to pass goes on with whatever index the guest gave, and
//! what it reads there can show in the caches although the result is thrown away (bounds check
//! bypass, "Spectre variant 1"). Here an index is forced into its range by arithmetic, which is not
//! predicted, so that a mispredicted check reads element 0 instead.
//!
//! Every table that a guest's number selects from is read through these functions. Lookups in
//! search trees (domains, PIRQs, GSIs) need no such care: they compare, they do not index.

mod plan;

use core::hint::black_box;

pub use plan::{Ibrs, Plan, Processor};

use crate::machine::Machine;

/// `index` if it is below `length`, else 0, whatever the processor predicts. `length` is at most
/// `isize::MAX`, as that of every slice.
#[inline(always)]
pub fn clamp(index: usize, length: usize) -> usize {
    // Without the barrier the compiler, which knows what was checked before, would leave the mask
    // out.
    let index = black_box(index);
    // An index from 2^63 on would come out of the subtraction as a small one.
    let below = index.wrapping_sub(length) & !index;
    index & (below.cast_signed() >> (usize::BITS - 1)).cast_unsigned()
}

/// Element `index` of a list, if there is one.
#[inline(always)]
pub fn get<T>(list: &[T], index: usize) -> Option<&T> {
    if index >= list.len() {
        return None;
    }
    list.get(clamp(index, list.len()))
}

/// As [`get`], with the machine's own arithmetic.
#[inline(always)]
pub fn get_by<M: Machine, T>(list: &[T], index: usize) -> Option<&T> {
    if index >= list.len() {
        return None;
    }
    list.get(M::clamp(index, list.len()))
}

/// Element `index` of a list, if there is one, to be changed.
#[inline(always)]
pub fn get_mut<T>(list: &mut [T], index: usize) -> Option<&mut T> {
    if index >= list.len() {
        return None;
    }
    let index = clamp(index, list.len());
    list.get_mut(index)
}

/// As [`get_mut`], with the machine's own arithmetic.
#[inline(always)]
pub fn get_mut_by<M: Machine, T>(list: &mut [T], index: usize) -> Option<&mut T> {
    if index >= list.len() {
        return None;
    }
    let index = M::clamp(index, list.len());
    list.get_mut(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_past_the_end_becomes_the_first() {
        for length in [1, 2, 64, isize::MAX as usize] {
            assert_eq!(clamp(length - 1, length), length - 1);
            for index in [length, length + 1, isize::MAX as usize + 1, usize::MAX] {
                assert_eq!(clamp(index, length), 0, "{index} of {length}");
            }
        }
        assert_eq!(clamp(0, 0), 0);
        assert_eq!(clamp(usize::MAX, 0), 0);
    }

    proptest! {
        #[test]
        fn elements_are_the_lists_own(list in prop::collection::vec(any::<u8>(), 0..20), index in 0usize..40) {
            let mut list = list;
            prop_assert_eq!(get(&list, index), list.get(index));
            let wanted = list.get(index).copied();
            prop_assert_eq!(get_mut(&mut list, index).copied(), wanted);
        }
    }
}
