//! Which vector is what.
//!
//! The LAPIC ranks interrupts by vector in classes of 16, so what must not wait is at the top.

/// Non-maskable interrupt.
pub(crate) const NMI: u32 = 2;
/// #DB.
pub(crate) const DEBUG: u32 = 1;
/// #DF.
pub(crate) const DOUBLE_FAULT: u32 = 8;
/// #PF.
pub(crate) const PAGE_FAULT: u32 = 14;
/// #MC.
pub(crate) const MACHINE_CHECK: u32 = 18;

/// First vector that is not an exception's. The legacy PICs are mapped here and masked: what comes is spurious.
pub(crate) const PIC_BASE: u8 = 0x20;
/// First vector for devices.
pub(crate) const FIRST_DEVICE: u8 = 0x30;
/// `int 0x80`, which goes straight to the guest's own handler.
pub(crate) const INT80: u8 = 0x80;
/// Last vector for devices.
pub(crate) const LAST_DEVICE: u8 = 0xef;
/// The serial console's own interrupt.
pub(crate) const SERIAL: u8 = 0xf8;
/// The LAPIC's timer.
pub(crate) const TIMER: u8 = 0xf9;
/// Another CPU asks this one to look at its work.
pub(crate) const KICK: u8 = 0xfb;
/// Another CPU asks this one to flush its TLB.
pub(crate) const FLUSH: u8 = 0xfc;
/// The LAPIC reports an error of its own.
pub(crate) const LAPIC_ERROR: u8 = 0xfe;
/// The LAPIC's spurious interrupt. Its low four bits must be ones on old LAPICs.
pub(crate) const SPURIOUS: u8 = 0xff;

/// `entry_vector` of SYSCALL from 64-bit code (no interrupt vector has this number).
pub(crate) const SYSCALL64: u32 = oxen_core::trap::ENTRY_SYSCALL;
/// `entry_vector` of SYSCALL from 32-bit code.
pub(crate) const SYSCALL32: u32 = oxen_core::trap::ENTRY_SYSCALL32;
/// `entry_vector` of SYSENTER.
pub(crate) const SYSENTER: u32 = oxen_core::trap::ENTRY_SYSENTER;

/// Whether a vector may be given to a device.
pub(crate) const fn for_devices(vector: u8) -> bool {
    vector >= FIRST_DEVICE && vector <= LAST_DEVICE && vector != INT80
}
