//! Callback registration (callback.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Events.
pub const CALLBACKTYPE_EVENT: u16 = 0;
/// A return to the guest failed.
pub const CALLBACKTYPE_FAILSAFE: u16 = 1;
/// 64-bit SYSCALL from user mode.
pub const CALLBACKTYPE_SYSCALL: u16 = 2;
/// SYSENTER, the old number.
pub const CALLBACKTYPE_SYSENTER_DEPRECATED: u16 = 3;
/// NMI.
pub const CALLBACKTYPE_NMI: u16 = 4;
/// SYSENTER.
pub const CALLBACKTYPE_SYSENTER: u16 = 5;
/// 32-bit SYSCALL.
pub const CALLBACKTYPE_SYSCALL32: u16 = 7;
/// The callback starts with events masked.
pub const CALLBACKF_MASK_EVENTS: u16 = 0x1;
/// Register a callback.
pub const CALLBACKOP_REGISTER: u32 = 0;
/// Remove a callback.
pub const CALLBACKOP_UNREGISTER: u32 = 1;

/// Arguments of `CALLBACKOP_REGISTER`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CallbackRegister {
    /// `CALLBACKTYPE_*`.
    pub type_: u16,
    /// `CALLBACKF_*`.
    pub flags: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Virtual address of the handler.
    pub address: u64,
}
crate::layout!(CallbackRegister, 16, {type_ @ 0, flags @ 2, address @ 8});

/// Arguments of `CALLBACKOP_UNREGISTER`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CallbackUnregister {
    /// `CALLBACKTYPE_*`.
    pub type_: u16,
    /// Zero.
    pub _unused: u16,
}
crate::layout!(CallbackUnregister, 4, {type_ @ 0, _unused @ 2});
