//! Platform control by dom0 (platform.h).
//!
//! A call passes a [`PlatformOp`]; `u` holds the bytes of the sub-operation's struct.

use zerocopy::{FromBytes, Immutable, IntoBytes};

mod acpi;
mod firmware;

pub use acpi::*;
pub use firmware::*;

/// What every `PlatformOp` starts with; the sub-operation follows at [`PLATFORM_OP_U_OFFSET`].
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PlatformOpHeader {
    /// `XENPF_*`.
    pub cmd: u32,
    /// [`XENPF_INTERFACE_VERSION`].
    pub interface_version: u32,
}
crate::layout!(PlatformOpHeader, 8, {cmd @ 0, interface_version @ 4});
/// The version that this module describes.
pub const XENPF_INTERFACE_VERSION: u32 = 0x300_0001;
/// Bytes of a whole `PlatformOp`.
pub const PLATFORM_OP_SIZE: usize = 136;
/// Where the sub-operation starts.
pub const PLATFORM_OP_U_OFFSET: usize = 8;

/// A whole call.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PlatformOp {
    /// `XENPF_*`.
    pub cmd: u32,
    /// [`XENPF_INTERFACE_VERSION`].
    pub interface_version: u32,
    /// The sub-operation.
    pub u: [u64; 16],
}
crate::layout!(PlatformOp, 136, {cmd @ 0, interface_version @ 4, u @ 8});
/// Set the wall clock, 32-bit seconds.
pub const XENPF_SETTIME32: u32 = 17;
/// Add an MTRR.
pub const XENPF_ADD_MEMTYPE: u32 = 31;
/// Remove an MTRR.
pub const XENPF_DEL_MEMTYPE: u32 = 32;
/// Read an MTRR.
pub const XENPF_READ_MEMTYPE: u32 = 33;
/// Load microcode: [`MicrocodeUpdate`].
pub const XENPF_MICROCODE_UPDATE: u32 = 35;
/// Report a quirk.
pub const XENPF_PLATFORM_QUIRK: u32 = 39;
/// Ask a CPU's model: [`PcpuVersion`].
pub const XENPF_GET_CPU_VERSION: u32 = 48;
/// EFI runtime service.
pub const XENPF_EFI_RUNTIME_CALL: u32 = 49;
/// Ask the firmware's tables: [`FirmwareInfo`].
pub const XENPF_FIRMWARE_INFO: u32 = 50;
/// Enter a sleep state: [`EnterAcpiSleep`].
pub const XENPF_ENTER_ACPI_SLEEP: u32 = 51;
/// A CPU's frequency changed.
pub const XENPF_CHANGE_FREQ: u32 = 52;
/// Ask idle times: [`GetIdleTime`].
pub const XENPF_GETIDLETIME: u32 = 53;
/// Upload C- and P-states: [`SetProcessorPminfo`].
pub const XENPF_SET_PROCESSOR_PMINFO: u32 = 54;
/// Ask about a CPU: [`PcpuInfo`].
pub const XENPF_GET_CPUINFO: u32 = 55;
/// CPU online: [`CpuOl`].
pub const XENPF_CPU_ONLINE: u32 = 56;
/// CPU offline: [`CpuOl`].
pub const XENPF_CPU_OFFLINE: u32 = 57;
/// CPU added.
pub const XENPF_CPU_HOTADD: u32 = 58;
/// Memory added.
pub const XENPF_MEM_HOTADD: u32 = 59;
/// Core parking.
pub const XENPF_CORE_PARKING: u32 = 60;
/// MSR access on a CPU: [`ResourceOp`].
pub const XENPF_RESOURCE_OP: u32 = 61;
/// Set the wall clock: [`SetTime64`].
pub const XENPF_SETTIME64: u32 = 62;
/// Ask the hypervisor's symbols: [`SymData`].
pub const XENPF_GET_SYMBOL: u32 = 63;

/// Arguments of `XENPF_SETTIME32`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetTime32 {
    /// Seconds since 1970.
    pub secs: u32,
    /// Nanoseconds.
    pub nsecs: u32,
    /// System time it belongs to.
    pub system_time: u64,
}
crate::layout!(SetTime32, 16, {secs @ 0, nsecs @ 4, system_time @ 8});

/// Arguments of `XENPF_SETTIME64`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetTime64 {
    /// Seconds since 1970.
    pub secs: u64,
    /// Nanoseconds.
    pub nsecs: u32,
    /// Zero.
    pub mbz: u32,
    /// System time it belongs to.
    pub system_time: u64,
}
crate::layout!(SetTime64, 24, {secs @ 0, nsecs @ 8, mbz @ 12, system_time @ 16});

/// Arguments of `XENPF_ADD_MEMTYPE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AddMemtype {
    /// First frame.
    pub mfn: u64,
    /// Frames.
    pub nr_mfns: u64,
    /// MTRR type.
    pub type_: u32,
    /// Out: handle.
    pub handle: u32,
    /// Out: register.
    pub reg: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(AddMemtype, 32, {mfn @ 0, nr_mfns @ 8, type_ @ 16, handle @ 20, reg @ 24});

/// Arguments of `XENPF_DEL_MEMTYPE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DelMemtype {
    /// Handle.
    pub handle: u32,
    /// Register.
    pub reg: u32,
}
crate::layout!(DelMemtype, 8, {handle @ 0, reg @ 4});

/// Arguments of `XENPF_READ_MEMTYPE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ReadMemtype {
    /// Register.
    pub reg: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Out: first frame.
    pub mfn: u64,
    /// Out: frames.
    pub nr_mfns: u64,
    /// Out: MTRR type.
    pub type_: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
}
crate::layout!(ReadMemtype, 32, {reg @ 0, mfn @ 8, nr_mfns @ 16, type_ @ 24});

/// Arguments of `XENPF_MICROCODE_UPDATE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MicrocodeUpdate {
    /// Handle of the data.
    pub data: u64,
    /// Bytes.
    pub length: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(MicrocodeUpdate, 16, {data @ 0, length @ 8});

/// Arguments of `XENPF_PLATFORM_QUIRK`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PlatformQuirk {
    /// Which.
    pub quirk_id: u32,
}
crate::layout!(PlatformQuirk, 4, {quirk_id @ 0});

/// Arguments of `XENPF_GETIDLETIME`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetIdleTime {
    /// Handle, in and out: CPUs.
    pub cpumap_bitmap: u64,
    /// Bits.
    pub cpumap_nr_cpus: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle, out: nanoseconds.
    pub idletime: u64,
    /// Out: system time.
    pub now: u64,
}
crate::layout!(GetIdleTime, 32, {cpumap_bitmap @ 0, cpumap_nr_cpus @ 8, idletime @ 16, now @ 24});

/// Arguments of `XENPF_GET_CPUINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PcpuInfo {
    /// In: CPU.
    pub xen_cpuid: u32,
    /// Out: highest CPU.
    pub max_present: u32,
    /// Out: `XEN_PCPU_FLAGS_*`.
    pub flags: u32,
    /// Out: APIC id.
    pub apic_id: u32,
    /// Out: ACPI id.
    pub acpi_id: u32,
}
crate::layout!(PcpuInfo, 20, {xen_cpuid @ 0, max_present @ 4, flags @ 8, apic_id @ 12, acpi_id @ 16});
/// Online.
pub const XEN_PCPU_FLAGS_ONLINE: u32 = 0x1;
/// No such CPU.
pub const XEN_PCPU_FLAGS_INVALID: u32 = 0x2;

/// Arguments of `XENPF_GET_CPU_VERSION`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PcpuVersion {
    /// In: CPU.
    pub xen_cpuid: u32,
    /// Out: highest CPU.
    pub max_present: u32,
    /// Out: vendor.
    pub vendor_id: [u8; 12],
    /// Out: family.
    pub family: u32,
    /// Out: model.
    pub model: u32,
    /// Out: stepping.
    pub stepping: u32,
}
crate::layout!(PcpuVersion, 32, {xen_cpuid @ 0, max_present @ 4, vendor_id @ 8, family @ 20, model @ 24, stepping @ 28});

/// Arguments of the CPU on- and offline operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CpuOl {
    /// CPU.
    pub cpuid: u32,
}
crate::layout!(CpuOl, 4, {cpuid @ 0});

/// One access.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ResourceEntry {
    /// In: `XEN_RESOURCE_OP_*`; out: result.
    pub cmd: u32,
    /// Zero.
    pub rsvd: u32,
    /// MSR.
    pub idx: u64,
    /// Value.
    pub val: u64,
}
crate::layout!(ResourceEntry, 24, {cmd @ 0, rsvd @ 4, idx @ 8, val @ 16});

/// Arguments of `XENPF_RESOURCE_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ResourceOp {
    /// Entries.
    pub nr_entries: u32,
    /// CPU.
    pub cpu: u32,
    /// Handle of [`ResourceEntry`].
    pub entries: u64,
}
crate::layout!(ResourceOp, 16, {nr_entries @ 0, cpu @ 4, entries @ 8});
/// Read an MSR.
pub const XEN_RESOURCE_OP_MSR_READ: u32 = 0;
/// Write an MSR.
pub const XEN_RESOURCE_OP_MSR_WRITE: u32 = 1;

/// Arguments of `XENPF_GET_SYMBOL`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SymData {
    /// In: bytes of `name`; out: bytes of the name.
    pub namelen: u32,
    /// In and out: position.
    pub symnum: u32,
    /// Handle of the bytes.
    pub name: u64,
    /// Out: address.
    pub address: u64,
    /// Out: letter of the type.
    pub type_: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 7],
}
crate::layout!(SymData, 32, {namelen @ 0, symnum @ 4, name @ 8, address @ 16, type_ @ 24});
