//! The console ring (io/console.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The page that a guest and the console daemon share.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ConsoleInterface {
    /// To the guest.
    pub in_: [u8; 1024],
    /// From the guest.
    pub out: [u8; 2048],
    /// Consumer of `in_`, counts on without end.
    pub in_cons: u32,
    /// Producer of `in_`.
    pub in_prod: u32,
    /// Consumer of `out`.
    pub out_cons: u32,
    /// Producer of `out`.
    pub out_prod: u32,
}
crate::zeroed_default!(ConsoleInterface);
crate::layout!(ConsoleInterface, 3088, {in_ @ 0, out @ 1024, in_cons @ 3072, in_prod @ 3076, out_cons @ 3080, out_prod @ 3084});
