//! Physical devices and interrupts (physdev.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Unmask notification (gone).
pub const PHYSDEVOP_IRQ_UNMASK_NOTIFY: u32 = 4;
/// Ask an interrupt's status.
pub const PHYSDEVOP_IRQ_STATUS_QUERY: u32 = 5;
/// Set the virtual IOPL.
pub const PHYSDEVOP_SET_IOPL: u32 = 6;
/// Set the I/O bitmap.
pub const PHYSDEVOP_SET_IOBITMAP: u32 = 7;
/// Read an IO-APIC register.
pub const PHYSDEVOP_APIC_READ: u32 = 8;
/// Write an IO-APIC register.
pub const PHYSDEVOP_APIC_WRITE: u32 = 9;
/// Allocate a vector.
pub const PHYSDEVOP_ALLOC_IRQ_VECTOR: u32 = 10;
/// Free a vector (gone).
pub const PHYSDEVOP_FREE_IRQ_VECTOR: u32 = 11;
/// End of interrupt.
pub const PHYSDEVOP_EOI: u32 = 12;
/// Map an interrupt to a PIRQ.
pub const PHYSDEVOP_MAP_PIRQ: u32 = 13;
/// Unmap a PIRQ.
pub const PHYSDEVOP_UNMAP_PIRQ: u32 = 14;
/// Report a PCI device (old).
pub const PHYSDEVOP_MANAGE_PCI_ADD: u32 = 15;
/// Report its removal (old).
pub const PHYSDEVOP_MANAGE_PCI_REMOVE: u32 = 16;
/// Register the EOI bitmap, with automatic unmasking.
pub const PHYSDEVOP_PIRQ_EOI_GMFN_V1: u32 = 17;
/// Restore a device's MSI state (old).
pub const PHYSDEVOP_RESTORE_MSI: u32 = 19;
/// Report a PCI device with details (old).
pub const PHYSDEVOP_MANAGE_PCI_ADD_EXT: u32 = 20;
/// Set trigger and polarity of a GSI.
pub const PHYSDEVOP_SETUP_GSI: u32 = 21;
/// Get a free PIRQ.
pub const PHYSDEVOP_GET_FREE_PIRQ: u32 = 23;
/// Report an MMCONFIG range.
pub const PHYSDEVOP_PCI_MMCFG_RESERVED: u32 = 24;
/// Report a PCI device.
pub const PHYSDEVOP_PCI_DEVICE_ADD: u32 = 25;
/// Report its removal.
pub const PHYSDEVOP_PCI_DEVICE_REMOVE: u32 = 26;
/// Restore a device's MSI state.
pub const PHYSDEVOP_RESTORE_MSI_EXT: u32 = 27;
/// Register the EOI bitmap.
pub const PHYSDEVOP_PIRQ_EOI_GMFN_V2: u32 = 28;
/// Prepare a reset of the EHCI debug port.
pub const PHYSDEVOP_DBGP_OP: u32 = 29;
/// Prepare a device's MSI-X table.
pub const PHYSDEVOP_PREPARE_MSIX: u32 = 30;
/// Release it.
pub const PHYSDEVOP_RELEASE_MSIX: u32 = 31;

/// Arguments of `PHYSDEVOP_EOI`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Eoi {
    /// PIRQ.
    pub irq: u32,
}
crate::layout!(Eoi, 4, {irq @ 0});

/// Arguments of `PHYSDEVOP_PIRQ_EOI_GMFN_*`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PirqEoiGmfn {
    /// Frame of the bitmap.
    pub gmfn: u64,
}
crate::layout!(PirqEoiGmfn, 8, {gmfn @ 0});

/// Arguments of `PHYSDEVOP_IRQ_STATUS_QUERY`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IrqStatusQuery {
    /// PIRQ.
    pub irq: u32,
    /// Out: `XENIRQSTAT_*`.
    pub flags: u32,
}
crate::layout!(IrqStatusQuery, 8, {irq @ 0, flags @ 4});
/// The guest must send an EOI.
pub const XENIRQSTAT_NEEDS_EOI: u32 = 0x1;
/// The interrupt is shared.
pub const XENIRQSTAT_SHARED: u32 = 0x2;

/// Arguments of `PHYSDEVOP_SET_IOPL`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetIopl {
    /// 0 to 3.
    pub iopl: u32,
}
crate::layout!(SetIopl, 4, {iopl @ 0});

/// Arguments of `PHYSDEVOP_SET_IOBITMAP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetIobitmap {
    /// Handle of the bitmap.
    pub bitmap: u64,
    /// Ports, at most 65,536.
    pub nr_ports: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(SetIobitmap, 16, {bitmap @ 0, nr_ports @ 8});

/// Arguments of the IO-APIC operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Apic {
    /// Physical address of the IO-APIC.
    pub apic_physbase: u64,
    /// Register.
    pub reg: u32,
    /// In or out: value.
    pub value: u32,
}
crate::layout!(Apic, 16, {apic_physbase @ 0, reg @ 8, value @ 12});

/// Arguments of the vector operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Irq {
    /// GSI.
    pub irq: u32,
    /// Out: vector.
    pub vector: u32,
}
crate::layout!(Irq, 8, {irq @ 0, vector @ 4});
/// MSI, segment 0.
pub const MAP_PIRQ_TYPE_MSI: i32 = 0;
/// GSI.
pub const MAP_PIRQ_TYPE_GSI: i32 = 1;
/// Unknown.
pub const MAP_PIRQ_TYPE_UNKNOWN: i32 = 2;
/// MSI with a segment.
pub const MAP_PIRQ_TYPE_MSI_SEG: i32 = 3;
/// Several MSI vectors.
pub const MAP_PIRQ_TYPE_MULTI_MSI: i32 = 4;

/// Arguments of `PHYSDEVOP_MAP_PIRQ`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MapPirq {
    /// The domain.
    pub domid: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// `MAP_PIRQ_TYPE_*`.
    pub type_: i32,
    /// GSI, or -1.
    pub index: i32,
    /// In: PIRQ wanted or -1; out: the PIRQ.
    pub pirq: i32,
    /// Bus, for `MSI_SEG` with the segment in the high half.
    pub bus: i32,
    /// Device and function.
    pub devfn: i32,
    /// MSI-X entry, or number of MSI vectors.
    pub entry_nr: i32,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 4],
    /// Address of the MSI-X table, 0: MSI.
    pub table_base: u64,
}
crate::layout!(MapPirq, 40, {domid @ 0, type_ @ 4, index @ 8, pirq @ 12, bus @ 16, devfn @ 20, entry_nr @ 24, table_base @ 32});

/// Arguments of `PHYSDEVOP_UNMAP_PIRQ`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UnmapPirq {
    /// The domain.
    pub domid: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// The PIRQ.
    pub pirq: i32,
}
crate::layout!(UnmapPirq, 8, {domid @ 0, pirq @ 4});

/// Arguments of the old PCI operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ManagePci {
    /// Bus.
    pub bus: u8,
    /// Device and function.
    pub devfn: u8,
}
crate::layout!(ManagePci, 2, {bus @ 0, devfn @ 1});

/// Arguments of `PHYSDEVOP_RESTORE_MSI`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RestoreMsi {
    /// Bus.
    pub bus: u8,
    /// Device and function.
    pub devfn: u8,
}
crate::layout!(RestoreMsi, 2, {bus @ 0, devfn @ 1});

/// Arguments of `PHYSDEVOP_MANAGE_PCI_ADD_EXT`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ManagePciExt {
    /// Bus.
    pub bus: u8,
    /// Device and function.
    pub devfn: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// Extended function.
    pub is_extfn: u32,
    /// Virtual function.
    pub is_virtfn: u32,
    /// Physical function's bus.
    pub physfn_bus: u8,
    /// Physical function's device and function.
    pub physfn_devfn: u8,
    /// Padding the layout asks for; zero.
    pub _pad1: [u8; 2],
}
crate::layout!(ManagePciExt, 16, {bus @ 0, devfn @ 1, is_extfn @ 4, is_virtfn @ 8, physfn_bus @ 12, physfn_devfn @ 13});

/// Arguments of `PHYSDEVOP_SETUP_GSI`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetupGsi {
    /// The GSI.
    pub gsi: i32,
    /// 0: edge, 1: level.
    pub triggering: u8,
    /// 0: high, 1: low.
    pub polarity: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
}
crate::layout!(SetupGsi, 8, {gsi @ 0, triggering @ 4, polarity @ 5});

/// Arguments of `PHYSDEVOP_GET_FREE_PIRQ`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GetFreePirq {
    /// `MAP_PIRQ_TYPE_*`.
    pub type_: i32,
    /// Out: the PIRQ.
    pub pirq: u32,
}
crate::layout!(GetFreePirq, 8, {type_ @ 0, pirq @ 4});

/// Arguments of `PHYSDEVOP_PCI_MMCFG_RESERVED`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PciMmcfgReserved {
    /// Physical address of bus 0.
    pub address: u64,
    /// Segment.
    pub segment: u16,
    /// First bus.
    pub start_bus: u8,
    /// Last bus.
    pub end_bus: u8,
    /// `XEN_PCI_MMCFG_RESERVED` or 0.
    pub flags: u32,
}
crate::layout!(PciMmcfgReserved, 16, {address @ 0, segment @ 8, start_bus @ 10, end_bus @ 11, flags @ 12});
/// The firmware reserves the range.
pub const XEN_PCI_MMCFG_RESERVED: u32 = 0x1;
/// The device is an extended function.
pub const XEN_PCI_DEV_EXTFN: u32 = 0x1;
/// The device is a virtual function.
pub const XEN_PCI_DEV_VIRTFN: u32 = 0x2;
/// `optarr[0]` holds the proximity domain.
pub const XEN_PCI_DEV_PXM: u32 = 0x4;

/// Arguments of `PHYSDEVOP_PCI_DEVICE_ADD`; an array of u32 may follow.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PciDeviceAdd {
    /// Segment.
    pub seg: u16,
    /// Bus.
    pub bus: u8,
    /// Device and function.
    pub devfn: u8,
    /// `XEN_PCI_DEV_*`.
    pub flags: u32,
    /// Physical function's bus.
    pub physfn_bus: u8,
    /// Physical function's device and function.
    pub physfn_devfn: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
}
crate::layout!(PciDeviceAdd, 12, {seg @ 0, bus @ 2, devfn @ 3, flags @ 4, physfn_bus @ 8, physfn_devfn @ 9});

/// A PCI device.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PciDevice {
    /// Segment.
    pub seg: u16,
    /// Bus.
    pub bus: u8,
    /// Device and function.
    pub devfn: u8,
}
crate::layout!(PciDevice, 4, {seg @ 0, bus @ 2, devfn @ 3});

/// Arguments of `PHYSDEVOP_DBGP_OP`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DbgpOp {
    /// `PHYSDEVOP_DBGP_RESET_*`.
    pub op: u8,
    /// `PHYSDEVOP_DBGP_BUS_*`.
    pub bus: u8,
    /// The device.
    pub pci: PciDevice,
}
crate::layout!(DbgpOp, 6, {op @ 0, bus @ 1, pci @ 2});
/// Before the reset.
pub const PHYSDEVOP_DBGP_RESET_PREPARE: u8 = 1;
/// After the reset.
pub const PHYSDEVOP_DBGP_RESET_DONE: u8 = 2;
/// Bus unknown.
pub const PHYSDEVOP_DBGP_BUS_UNKNOWN: u8 = 0;
/// PCI.
pub const PHYSDEVOP_DBGP_BUS_PCI: u8 = 1;
