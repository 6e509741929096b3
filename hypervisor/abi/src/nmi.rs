//! NMI callback (nmi.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// I/O check.
pub const XEN_NMIREASON_IO_ERROR: u64 = 0x1;
/// PCI system error.
pub const XEN_NMIREASON_PCI_SERR: u64 = 0x2;
/// Unknown.
pub const XEN_NMIREASON_UNKNOWN: u64 = 0x4;
/// Register the handler (dom0).
pub const XENNMI_REGISTER_CALLBACK: u32 = 0;
/// Remove it.
pub const XENNMI_UNREGISTER_CALLBACK: u32 = 1;

/// Arguments of `XENNMI_REGISTER_CALLBACK`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct NmiCallback {
    /// Handler.
    pub handler_address: u64,
    /// Zero.
    pub pad: u64,
}
crate::layout!(NmiCallback, 16, {handler_address @ 0, pad @ 8});
