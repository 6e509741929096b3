//! What the C headers must say about `oxen_abi::physdev`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::physdev as abi;
    constants!(table, abi;
        PHYSDEVOP_IRQ_UNMASK_NOTIFY = "PHYSDEVOP_IRQ_UNMASK_NOTIFY",
        PHYSDEVOP_IRQ_STATUS_QUERY = "PHYSDEVOP_irq_status_query",
        PHYSDEVOP_SET_IOPL = "PHYSDEVOP_set_iopl",
        PHYSDEVOP_SET_IOBITMAP = "PHYSDEVOP_set_iobitmap",
        PHYSDEVOP_APIC_READ = "PHYSDEVOP_apic_read",
        PHYSDEVOP_APIC_WRITE = "PHYSDEVOP_apic_write",
        PHYSDEVOP_ALLOC_IRQ_VECTOR = "PHYSDEVOP_alloc_irq_vector",
        PHYSDEVOP_FREE_IRQ_VECTOR = "PHYSDEVOP_free_irq_vector",
        PHYSDEVOP_EOI = "PHYSDEVOP_eoi",
        PHYSDEVOP_MAP_PIRQ = "PHYSDEVOP_map_pirq",
        PHYSDEVOP_UNMAP_PIRQ = "PHYSDEVOP_unmap_pirq",
        PHYSDEVOP_MANAGE_PCI_ADD = "PHYSDEVOP_manage_pci_add",
        PHYSDEVOP_MANAGE_PCI_REMOVE = "PHYSDEVOP_manage_pci_remove",
        PHYSDEVOP_PIRQ_EOI_GMFN_V1 = "PHYSDEVOP_pirq_eoi_gmfn_v1",
        PHYSDEVOP_RESTORE_MSI = "PHYSDEVOP_restore_msi",
        PHYSDEVOP_MANAGE_PCI_ADD_EXT = "PHYSDEVOP_manage_pci_add_ext",
        PHYSDEVOP_SETUP_GSI = "PHYSDEVOP_setup_gsi",
        PHYSDEVOP_GET_FREE_PIRQ = "PHYSDEVOP_get_free_pirq",
        PHYSDEVOP_PCI_MMCFG_RESERVED = "PHYSDEVOP_pci_mmcfg_reserved",
        PHYSDEVOP_PCI_DEVICE_ADD = "PHYSDEVOP_pci_device_add",
        PHYSDEVOP_PCI_DEVICE_REMOVE = "PHYSDEVOP_pci_device_remove",
        PHYSDEVOP_RESTORE_MSI_EXT = "PHYSDEVOP_restore_msi_ext",
        PHYSDEVOP_PIRQ_EOI_GMFN_V2 = "PHYSDEVOP_pirq_eoi_gmfn_v2",
        PHYSDEVOP_DBGP_OP = "PHYSDEVOP_dbgp_op",
        PHYSDEVOP_PREPARE_MSIX = "PHYSDEVOP_prepare_msix",
        PHYSDEVOP_RELEASE_MSIX = "PHYSDEVOP_release_msix",
        XENIRQSTAT_NEEDS_EOI = "XENIRQSTAT_needs_eoi",
        XENIRQSTAT_SHARED = "XENIRQSTAT_shared",
        MAP_PIRQ_TYPE_MSI = "MAP_PIRQ_TYPE_MSI",
        MAP_PIRQ_TYPE_GSI = "MAP_PIRQ_TYPE_GSI",
        MAP_PIRQ_TYPE_UNKNOWN = "MAP_PIRQ_TYPE_UNKNOWN",
        MAP_PIRQ_TYPE_MSI_SEG = "MAP_PIRQ_TYPE_MSI_SEG",
        MAP_PIRQ_TYPE_MULTI_MSI = "MAP_PIRQ_TYPE_MULTI_MSI",
        XEN_PCI_MMCFG_RESERVED = "XEN_PCI_MMCFG_RESERVED",
        XEN_PCI_DEV_EXTFN = "XEN_PCI_DEV_EXTFN",
        XEN_PCI_DEV_VIRTFN = "XEN_PCI_DEV_VIRTFN",
        XEN_PCI_DEV_PXM = "XEN_PCI_DEV_PXM",
        PHYSDEVOP_DBGP_RESET_PREPARE = "PHYSDEVOP_DBGP_RESET_PREPARE",
        PHYSDEVOP_DBGP_RESET_DONE = "PHYSDEVOP_DBGP_RESET_DONE",
        PHYSDEVOP_DBGP_BUS_UNKNOWN = "PHYSDEVOP_DBGP_BUS_UNKNOWN",
        PHYSDEVOP_DBGP_BUS_PCI = "PHYSDEVOP_DBGP_BUS_PCI",
    );
    structs!(table, abi::Eoi, "struct physdev_eoi";
        irq = "irq",
    );
    structs!(table, abi::PirqEoiGmfn, "struct physdev_pirq_eoi_gmfn";
        gmfn = "gmfn",
    );
    structs!(table, abi::IrqStatusQuery, "struct physdev_irq_status_query";
        irq = "irq",
        flags = "flags",
    );
    structs!(table, abi::SetIopl, "struct physdev_set_iopl";
        iopl = "iopl",
    );
    structs!(table, abi::SetIobitmap, "struct physdev_set_iobitmap";
        bitmap = "bitmap",
        nr_ports = "nr_ports",
    );
    structs!(table, abi::Apic, "struct physdev_apic";
        apic_physbase = "apic_physbase",
        reg = "reg",
        value = "value",
    );
    structs!(table, abi::Irq, "struct physdev_irq";
        irq = "irq",
        vector = "vector",
    );
    structs!(table, abi::MapPirq, "struct physdev_map_pirq";
        domid = "domid",
        type_ = "type",
        index = "index",
        pirq = "pirq",
        bus = "bus",
        devfn = "devfn",
        entry_nr = "entry_nr",
        table_base = "table_base",
    );
    structs!(table, abi::UnmapPirq, "struct physdev_unmap_pirq";
        domid = "domid",
        pirq = "pirq",
    );
    structs!(table, abi::ManagePci, "struct physdev_manage_pci";
        bus = "bus",
        devfn = "devfn",
    );
    structs!(table, abi::RestoreMsi, "struct physdev_restore_msi";
        bus = "bus",
        devfn = "devfn",
    );
    structs!(table, abi::ManagePciExt, "struct physdev_manage_pci_ext";
        bus = "bus",
        devfn = "devfn",
        is_extfn = "is_extfn",
        is_virtfn = "is_virtfn",
        physfn_bus = "physfn.bus",
        physfn_devfn = "physfn.devfn",
    );
    structs!(table, abi::SetupGsi, "struct physdev_setup_gsi";
        gsi = "gsi",
        triggering = "triggering",
        polarity = "polarity",
    );
    structs!(table, abi::GetFreePirq, "struct physdev_get_free_pirq";
        type_ = "type",
        pirq = "pirq",
    );
    structs!(table, abi::PciMmcfgReserved, "struct physdev_pci_mmcfg_reserved";
        address = "address",
        segment = "segment",
        start_bus = "start_bus",
        end_bus = "end_bus",
        flags = "flags",
    );
    structs!(table, abi::PciDeviceAdd, "struct physdev_pci_device_add";
        seg = "seg",
        bus = "bus",
        devfn = "devfn",
        flags = "flags",
        physfn_bus = "physfn.bus",
        physfn_devfn = "physfn.devfn",
    );
    structs!(table, abi::PciDevice, "struct physdev_pci_device";
        seg = "seg",
        bus = "bus",
        devfn = "devfn",
    );
    structs!(table, abi::DbgpOp, "struct physdev_dbgp_op";
        op = "op",
        bus = "bus",
        pci = "u.pci",
    );
}
