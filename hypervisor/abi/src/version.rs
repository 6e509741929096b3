//! xen_version sub-operations (version.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Major version in bits 16 to 31, minor in 0 to 15.
pub const XENVER_VERSION: u32 = 0;
/// Text after the version.
pub const XENVER_EXTRAVERSION: u32 = 1;
/// Compiler, who, where, when.
pub const XENVER_COMPILE_INFO: u32 = 2;
/// Kinds of guests.
pub const XENVER_CAPABILITIES: u32 = 3;
/// Change set.
pub const XENVER_CHANGESET: u32 = 4;
/// First address of the hypervisor.
pub const XENVER_PLATFORM_PARAMETERS: u32 = 5;
/// Feature bits.
pub const XENVER_GET_FEATURES: u32 = 6;
/// Page size, as the result.
pub const XENVER_PAGESIZE: u32 = 7;
/// The domain's UUID.
pub const XENVER_GUEST_HANDLE: u32 = 8;
/// The hypervisor's command line.
pub const XENVER_COMMANDLINE: u32 = 9;
/// Build id of the image.
pub const XENVER_BUILD_ID: u32 = 10;
/// Bytes of the extra version.
pub const XEN_EXTRAVERSION_LEN: usize = 16;
/// Bytes of the capabilities.
pub const XEN_CAPABILITIES_INFO_LEN: usize = 1024;
/// Bytes of the change set.
pub const XEN_CHANGESET_INFO_LEN: usize = 64;
/// Bytes of the command line.
pub const XEN_COMMANDLINE_LEN: usize = 1024;

/// Answer of `XENVER_COMPILE_INFO`; texts end with a zero byte.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CompileInfo {
    /// Compiler.
    pub compiler: [u8; 64],
    /// Who.
    pub compile_by: [u8; 16],
    /// Where.
    pub compile_domain: [u8; 32],
    /// When.
    pub compile_date: [u8; 32],
}
crate::zeroed_default!(CompileInfo);
crate::layout!(CompileInfo, 144, {compiler @ 0, compile_by @ 64, compile_domain @ 80, compile_date @ 112});

/// Answer of `XENVER_PLATFORM_PARAMETERS`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PlatformParameters {
    /// First address of the hypervisor.
    pub virt_start: u64,
}
crate::layout!(PlatformParameters, 8, {virt_start @ 0});

/// Arguments of `XENVER_GET_FEATURES`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct FeatureInfo {
    /// In: which 32 features.
    pub submap_idx: u32,
    /// Out: the bits.
    pub submap: u32,
}
crate::layout!(FeatureInfo, 8, {submap_idx @ 0, submap @ 4});
