//! The firmware's tables: disks, video, EFI, keyboard.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// EDD data of a disk: [`DiskInfo`].
pub const XEN_FW_DISK_INFO: u32 = 1;
/// Signature of a disk: [`DiskMbrSignature`].
pub const XEN_FW_DISK_MBR_SIGNATURE: u32 = 2;
/// EDID of the display: [`VbeDdcInfo`].
pub const XEN_FW_VBEDDC_INFO: u32 = 3;
/// EFI's tables.
pub const XEN_FW_EFI_INFO: u32 = 4;
/// Keyboard's shift flags (one byte).
pub const XEN_FW_KBD_SHIFT_FLAGS: u32 = 5;
/// EFI: version.
pub const XEN_FW_EFI_VERSION: u32 = 0;
/// EFI: configuration table.
pub const XEN_FW_EFI_CONFIG_TABLE: u32 = 1;
/// EFI: vendor.
pub const XEN_FW_EFI_VENDOR: u32 = 2;
/// EFI: memory.
pub const XEN_FW_EFI_MEM_INFO: u32 = 3;
/// EFI: version of the runtime services.
pub const XEN_FW_EFI_RT_VERSION: u32 = 4;
/// EFI: ROM of a device.
pub const XEN_FW_EFI_PCI_ROM: u32 = 5;
/// EFI: Apple's properties.
pub const XEN_FW_EFI_APPLE_PROPERTIES: u32 = 6;

/// Arguments of `XENPF_FIRMWARE_INFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct FirmwareInfo {
    /// `XEN_FW_*`.
    pub type_: u32,
    /// Which one.
    pub index: u32,
    /// [`DiskInfo`], [`DiskMbrSignature`], [`VbeDdcInfo`] or the flags.
    pub u: [u64; 4],
}
crate::layout!(FirmwareInfo, 40, {type_ @ 0, index @ 4, u @ 8});

/// EDD data of a disk.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DiskInfo {
    /// BIOS number.
    pub device: u8,
    /// EDD version.
    pub version: u8,
    /// Interfaces.
    pub interface_support: u16,
    /// Cylinders.
    pub legacy_max_cylinder: u16,
    /// Heads.
    pub legacy_max_head: u8,
    /// Sectors.
    pub legacy_sectors_per_track: u8,
    /// Handle of the parameters.
    pub edd_params: u64,
}
crate::layout!(DiskInfo, 16, {device @ 0, version @ 1, interface_support @ 2, legacy_max_cylinder @ 4, legacy_max_head @ 6, legacy_sectors_per_track @ 7, edd_params @ 8});

/// Signature of a disk.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DiskMbrSignature {
    /// BIOS number.
    pub device: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 3],
    /// Signature.
    pub mbr_signature: u32,
}
crate::layout!(DiskMbrSignature, 8, {device @ 0, mbr_signature @ 4});

/// EDID of the display.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VbeDdcInfo {
    /// Capabilities.
    pub capabilities: u8,
    /// Seconds.
    pub edid_transfer_time: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 6],
    /// Handle of 128 bytes.
    pub edid: u64,
}
crate::layout!(VbeDdcInfo, 16, {capabilities @ 0, edid_transfer_time @ 1, edid @ 8});
