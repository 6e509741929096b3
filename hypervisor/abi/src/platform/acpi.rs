//! ACPI: sleep states, C-states and P-states.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Arguments of `XENPF_ENTER_ACPI_SLEEP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct EnterAcpiSleep {
    /// PM1a control value.
    pub val_a: u16,
    /// PM1b control value.
    pub val_b: u16,
    /// 3 or 5.
    pub sleep_state: u32,
    /// `XENPF_ACPI_SLEEP_EXTENDED` or 0.
    pub flags: u32,
}
crate::layout!(EnterAcpiSleep, 12, {val_a @ 0, val_b @ 2, sleep_state @ 4, flags @ 8});
/// The values are of the sleep registers.
pub const XENPF_ACPI_SLEEP_EXTENDED: u32 = 0x1;
/// C-states.
pub const XEN_PM_CX: u32 = 0;
/// P-states.
pub const XEN_PM_PX: u32 = 1;
/// T-states.
pub const XEN_PM_TX: u32 = 2;
/// Processor driver capabilities.
pub const XEN_PM_PDC: u32 = 3;
/// `_PCT` is valid.
pub const XEN_PX_PCT: u32 = 0x1;
/// `_PSS` is valid.
pub const XEN_PX_PSS: u32 = 0x2;
/// `_PPC` is valid.
pub const XEN_PX_PPC: u32 = 0x4;
/// `_PSD` is valid.
pub const XEN_PX_PSD: u32 = 0x8;

/// A generic address.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PowerRegister {
    /// Address space.
    pub space_id: u32,
    /// Width.
    pub bit_width: u32,
    /// Offset.
    pub bit_offset: u32,
    /// Access size.
    pub access_size: u32,
    /// Address.
    pub address: u64,
}
crate::layout!(PowerRegister, 24, {space_id @ 0, bit_width @ 4, bit_offset @ 8, access_size @ 12, address @ 16});

/// Dependency of C-states.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ProcessorCsd {
    /// Dependency domain.
    pub domain: u32,
    /// Coordination.
    pub coord_type: u32,
    /// Processors.
    pub num: u32,
}
crate::layout!(ProcessorCsd, 12, {domain @ 0, coord_type @ 4, num @ 8});

/// One C-state.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ProcessorCx {
    /// Register.
    pub reg: PowerRegister,
    /// C1, C2, C3.
    pub type_: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 3],
    /// Microseconds.
    pub latency: u32,
    /// Milliwatts.
    pub power: u32,
    /// Entries of `dp`.
    pub dpcnt: u32,
    /// Handle of [`ProcessorCsd`].
    pub dp: u64,
}
crate::layout!(ProcessorCx, 48, {reg @ 0, type_ @ 24, latency @ 28, power @ 32, dpcnt @ 36, dp @ 40});

/// C-states of a CPU.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ProcessorPower {
    /// Entries.
    pub count: u32,
    /// bm_control, bm_check, has_cst, power_setup_done, bm_rld_set from bit 0.
    pub flags: u32,
    /// Handle of [`ProcessorCx`].
    pub states: u64,
}
crate::layout!(ProcessorPower, 16, {count @ 0, flags @ 4, states @ 8});

/// A register of `_PCT`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PctRegister {
    /// Descriptor.
    pub descriptor: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 1],
    /// Length.
    pub length: u16,
    /// Address space.
    pub space_id: u8,
    /// Width.
    pub bit_width: u8,
    /// Offset.
    pub bit_offset: u8,
    /// Zero.
    pub reserved: u8,
    /// Address.
    pub address: u64,
}
crate::layout!(PctRegister, 16, {descriptor @ 0, length @ 2, space_id @ 4, bit_width @ 5, bit_offset @ 6, reserved @ 7, address @ 8});

/// One P-state.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ProcessorPx {
    /// MHz.
    pub core_frequency: u64,
    /// Milliwatts.
    pub power: u64,
    /// Microseconds.
    pub transition_latency: u64,
    /// Microseconds.
    pub bus_master_latency: u64,
    /// Value to write.
    pub control: u64,
    /// Value to read.
    pub status: u64,
}
crate::layout!(ProcessorPx, 48, {core_frequency @ 0, power @ 8, transition_latency @ 16, bus_master_latency @ 24, control @ 32, status @ 40});

/// `_PSD`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PsdPackage {
    /// Entries.
    pub num_entries: u64,
    /// Revision.
    pub revision: u64,
    /// Dependency domain.
    pub domain: u64,
    /// Coordination.
    pub coord_type: u64,
    /// Processors.
    pub num_processors: u64,
}
crate::layout!(PsdPackage, 40, {num_entries @ 0, revision @ 8, domain @ 16, coord_type @ 24, num_processors @ 32});

/// P-states of a CPU.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ProcessorPerformance {
    /// `XEN_PX_*`.
    pub flags: u32,
    /// `_PPC`.
    pub platform_limit: u32,
    /// Control register.
    pub control_register: PctRegister,
    /// Status register.
    pub status_register: PctRegister,
    /// Entries.
    pub state_count: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
    /// Handle of [`ProcessorPx`].
    pub states: u64,
    /// `_PSD`.
    pub domain_info: PsdPackage,
    /// Coordination.
    pub shared_type: u32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
}
crate::layout!(ProcessorPerformance, 104, {flags @ 0, platform_limit @ 4, control_register @ 8, status_register @ 24, state_count @ 40, states @ 48, domain_info @ 56, shared_type @ 96});

/// Arguments of `XENPF_SET_PROCESSOR_PMINFO`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetProcessorPminfo {
    /// ACPI id.
    pub id: u32,
    /// `XEN_PM_*`.
    pub type_: u32,
    /// [`ProcessorPower`], [`ProcessorPerformance`] or a handle of the PDC.
    pub u: [u64; 13],
}
crate::layout!(SetProcessorPminfo, 112, {id @ 0, type_ @ 4, u @ 8});
