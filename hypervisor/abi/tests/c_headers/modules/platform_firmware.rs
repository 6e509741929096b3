//! What the C headers must say about `oxen_abi::platform`.

use crate::table::{Table, constants, structs};

/// Adds this module's rows.
pub(crate) fn add(table: &mut Table) {
    use oxen_abi::platform as abi;
    constants!(table, abi;
        XEN_FW_DISK_INFO = "XEN_FW_DISK_INFO",
        XEN_FW_DISK_MBR_SIGNATURE = "XEN_FW_DISK_MBR_SIGNATURE",
        XEN_FW_VBEDDC_INFO = "XEN_FW_VBEDDC_INFO",
        XEN_FW_EFI_INFO = "XEN_FW_EFI_INFO",
        XEN_FW_KBD_SHIFT_FLAGS = "XEN_FW_KBD_SHIFT_FLAGS",
        XEN_FW_EFI_VERSION = "XEN_FW_EFI_VERSION",
        XEN_FW_EFI_CONFIG_TABLE = "XEN_FW_EFI_CONFIG_TABLE",
        XEN_FW_EFI_VENDOR = "XEN_FW_EFI_VENDOR",
        XEN_FW_EFI_MEM_INFO = "XEN_FW_EFI_MEM_INFO",
        XEN_FW_EFI_RT_VERSION = "XEN_FW_EFI_RT_VERSION",
        XEN_FW_EFI_PCI_ROM = "XEN_FW_EFI_PCI_ROM",
        XEN_FW_EFI_APPLE_PROPERTIES = "XEN_FW_EFI_APPLE_PROPERTIES",
    );
    structs!(table, abi::FirmwareInfo, "struct xenpf_firmware_info";
        type_ = "type",
        index = "index",
        u = "u",
    );
    structs!(table, abi::DiskInfo, "__typeof__(((struct xenpf_firmware_info*)0)->u.disk_info)";
        device = "device",
        version = "version",
        interface_support = "interface_support",
        legacy_max_cylinder = "legacy_max_cylinder",
        legacy_max_head = "legacy_max_head",
        legacy_sectors_per_track = "legacy_sectors_per_track",
        edd_params = "edd_params",
    );
    structs!(table, abi::DiskMbrSignature, "__typeof__(((struct xenpf_firmware_info*)0)->u.disk_mbr_signature)";
        device = "device",
        mbr_signature = "mbr_signature",
    );
    structs!(table, abi::VbeDdcInfo, "__typeof__(((struct xenpf_firmware_info*)0)->u.vbeddc_info)";
        capabilities = "capabilities",
        edid_transfer_time = "edid_transfer_time",
        edid = "edid",
    );
}
