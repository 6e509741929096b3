//! What the C headers must say about `oxen_abi::nmi`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::nmi as abi;
    constants!(table, abi;
        XEN_NMIREASON_IO_ERROR = "XEN_NMIREASON_io_error",
        XEN_NMIREASON_PCI_SERR = "XEN_NMIREASON_pci_serr",
        XEN_NMIREASON_UNKNOWN = "XEN_NMIREASON_unknown",
        XENNMI_REGISTER_CALLBACK = "XENNMI_register_callback",
        XENNMI_UNREGISTER_CALLBACK = "XENNMI_unregister_callback",
    );
    structs!(table, abi::NmiCallback, "struct xennmi_callback";
        handler_address = "handler_address",
        pad = "pad",
    );
}
