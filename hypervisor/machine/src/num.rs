//! Conversions that cannot lose bits on the one architecture this crate is for.

const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// A 64-bit figure as an index or a size.
#[expect(
    clippy::cast_possible_truncation,
    reason = "usize is 64 bits wide here, as asserted above"
)]
pub const fn to_usize(value: u64) -> usize {
    value as usize
}

/// The low 32 bits of `value`.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
pub const fn low32(value: u64) -> u32 {
    value as u32
}
