//! The public Xen ABI for x86-64: types and constants, no logic, no unsafe.
//!
//! One module for each public header; constants keep Xen's names in capitals
//! (`EVTCHNOP_send` is [`event_channel::EVTCHNOP_SEND`]), structs lose the prefix that the module
//! says already (`evtchn_send` is [`event_channel::Send`]). Guest handles are `u64` addresses.
//! Where C has a union of sub-operations, each sub-operation is a struct of its own and the
//! union's place and size are constants. Padding is explicit and must be zero.
//!
//! Every struct's size and offsets are asserted at compile time; `tests/c_headers` compares
//! them and the constants with Debian's libxen-dev (4.17, control interface 0x15).

#![no_std]
#![forbid(unsafe_code)]

pub mod arch_x86;
pub mod callback;
pub mod cpuid;
pub mod domctl;
pub mod elfnote;
pub mod errno;
pub mod event_channel;
pub mod features;
pub mod grant_table;
pub mod hypercall;
pub mod mca;
pub mod memory;
pub mod mmu;
pub mod nmi;
pub mod physdev;
pub mod platform;
pub mod sched;
pub mod start_info;
pub mod sysctl;
pub mod vcpu;
pub mod version;
pub mod xen;

/// Rings that guests share with dom0 (io/).
pub mod io {
    pub mod console;
    pub mod xs_wire;
}

pub use errno::Errno;

/// Asserts a struct's size and the offsets of its fields.
macro_rules! layout {
    ($name:ident, $size:literal, {$($field:ident @ $offset:literal),* $(,)?}) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
    };
}
pub(crate) use layout;

/// `Default` as all zeroes, for structs with arrays that have no `Default`.
macro_rules! zeroed_default {
    ($name:ident) => {
        impl Default for $name {
            fn default() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }
        }
    };
}
pub(crate) use zeroed_default;
