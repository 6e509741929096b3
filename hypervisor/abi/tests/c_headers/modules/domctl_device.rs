//! What the C headers must say about `oxen_abi::domctl`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::domctl as abi;
    constants!(table, abi;
        DPCI_ADD_MAPPING = "DPCI_ADD_MAPPING",
        DPCI_REMOVE_MAPPING = "DPCI_REMOVE_MAPPING",
        XEN_DOMCTL_DEV_PCI = "XEN_DOMCTL_DEV_PCI",
        XEN_DOMCTL_DEV_DT = "XEN_DOMCTL_DEV_DT",
        XEN_DOMCTL_DEV_RDM_RELAXED = "XEN_DOMCTL_DEV_RDM_RELAXED",
    );
    structs!(table, abi::IrqPermission, "struct xen_domctl_irq_permission";
        pirq = "pirq",
        allow_access = "allow_access",
        pad = "pad",
    );
    structs!(table, abi::IomemPermission, "struct xen_domctl_iomem_permission";
        first_mfn = "first_mfn",
        nr_mfns = "nr_mfns",
        allow_access = "allow_access",
    );
    structs!(table, abi::IoportPermission, "struct xen_domctl_ioport_permission";
        first_port = "first_port",
        nr_ports = "nr_ports",
        allow_access = "allow_access",
    );
    structs!(table, abi::MemoryMapping, "struct xen_domctl_memory_mapping";
        first_gfn = "first_gfn",
        first_mfn = "first_mfn",
        nr_mfns = "nr_mfns",
        add_mapping = "add_mapping",
        padding = "padding",
    );
    structs!(table, abi::AssignDevice, "struct xen_domctl_assign_device";
        dev = "dev",
        flags = "flags",
        machine_sbdf = "u.pci.machine_sbdf",
    );
}
