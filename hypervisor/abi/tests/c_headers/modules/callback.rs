//! What the C headers must say about `oxen_abi::callback`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::callback as abi;
    constants!(table, abi;
        CALLBACKTYPE_EVENT = "CALLBACKTYPE_event",
        CALLBACKTYPE_FAILSAFE = "CALLBACKTYPE_failsafe",
        CALLBACKTYPE_SYSCALL = "CALLBACKTYPE_syscall",
        CALLBACKTYPE_SYSENTER_DEPRECATED = "CALLBACKTYPE_sysenter_deprecated",
        CALLBACKTYPE_NMI = "CALLBACKTYPE_nmi",
        CALLBACKTYPE_SYSENTER = "CALLBACKTYPE_sysenter",
        CALLBACKTYPE_SYSCALL32 = "CALLBACKTYPE_syscall32",
        CALLBACKF_MASK_EVENTS = "CALLBACKF_mask_events",
        CALLBACKOP_REGISTER = "CALLBACKOP_register",
        CALLBACKOP_UNREGISTER = "CALLBACKOP_unregister",
    );
    structs!(table, abi::CallbackRegister, "struct callback_register";
        type_ = "type",
        flags = "flags",
        address = "address",
    );
    structs!(table, abi::CallbackUnregister, "struct callback_unregister";
        type_ = "type",
        _unused = "_unused",
    );
}
