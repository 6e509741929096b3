//! The frame table's entry: owner, references and type of one machine frame.

use crate::sync::atomic::{AtomicU32, AtomicU64};

/// What is known of a frame. Its words are only changed by [`crate::mm`]'s typed operations.
///
/// `count`: bits 0-39 general references, 40-46 flags, 48-63 the owner's domain number.
/// `types`: bits 0-39 type references, 40-51 flags, 60-63 the type.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Frame {
    pub(crate) count: AtomicU64,
    pub(crate) types: AtomicU64,
    /// Low 48 bits: TLB clock when the frame last lost its type or owner. High 16 bits: how far
    /// a partial validation got.
    pub(crate) stamp: AtomicU64,
    /// Neighbours in the owner's page list (frame numbers; `u32::MAX` = none), or in the free
    /// list. Written only with that list's lock held.
    pub(crate) next: AtomicU32,
    pub(crate) prev: AtomicU32,
}

const _: () = assert!(core::mem::size_of::<Frame>() == 32);
