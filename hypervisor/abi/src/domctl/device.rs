//! Interrupts, I/O memory, ports and devices of a domain.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Arguments of `XEN_DOMCTL_IRQ_PERMISSION`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IrqPermission {
    /// PIRQ.
    pub pirq: u32,
    /// 1: allow.
    pub allow_access: u8,
    /// Zero.
    pub pad: [u8; 3],
}
crate::layout!(IrqPermission, 8, {pirq @ 0, allow_access @ 4, pad @ 5});

/// Arguments of `XEN_DOMCTL_IOMEM_PERMISSION`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IomemPermission {
    /// First frame.
    pub first_mfn: u64,
    /// Frames.
    pub nr_mfns: u64,
    /// 1: allow.
    pub allow_access: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 7],
}
crate::layout!(IomemPermission, 24, {first_mfn @ 0, nr_mfns @ 8, allow_access @ 16});

/// Arguments of `XEN_DOMCTL_IOPORT_PERMISSION`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IoportPermission {
    /// First port.
    pub first_port: u32,
    /// Ports.
    pub nr_ports: u32,
    /// 1: allow.
    pub allow_access: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 3],
}
crate::layout!(IoportPermission, 12, {first_port @ 0, nr_ports @ 4, allow_access @ 8});

/// Arguments of `XEN_DOMCTL_MEMORY_MAPPING`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MemoryMapping {
    /// First guest frame.
    pub first_gfn: u64,
    /// First machine frame.
    pub first_mfn: u64,
    /// Frames.
    pub nr_mfns: u64,
    /// `DPCI_ADD_MAPPING` or `DPCI_REMOVE_MAPPING`.
    pub add_mapping: u32,
    /// Zero.
    pub padding: u32,
}
crate::layout!(MemoryMapping, 32, {first_gfn @ 0, first_mfn @ 8, nr_mfns @ 16, add_mapping @ 24, padding @ 28});
/// Add.
pub const DPCI_ADD_MAPPING: u32 = 1;
/// Remove.
pub const DPCI_REMOVE_MAPPING: u32 = 0;
/// A PCI device.
pub const XEN_DOMCTL_DEV_PCI: u32 = 0;
/// A device-tree node.
pub const XEN_DOMCTL_DEV_DT: u32 = 1;

/// Arguments of the device assignment operations.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AssignDevice {
    /// `XEN_DOMCTL_DEV_*`.
    pub dev: u32,
    /// `XEN_DOMCTL_DEV_RDM_RELAXED` or 0.
    pub flags: u32,
    /// Segment, bus, device and function.
    pub machine_sbdf: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 12],
}
crate::layout!(AssignDevice, 24, {dev @ 0, flags @ 4, machine_sbdf @ 8});
/// Go on despite conflicts of reserved memory.
pub const XEN_DOMCTL_DEV_RDM_RELAXED: u32 = 0x1;
