//! The common part of the ABI (xen.h): domain ids, VIRQs, assists, shared information.

use crate::arch_x86::{ArchSharedInfo, ArchVcpuInfo};
use zerocopy::{FromBytes, Immutable, IntoBytes};

// Domain ids that are no domain of their own.
/// The first reserved id; real domains are below.
pub const DOMID_FIRST_RESERVED: u16 = 0x7ff0;
/// The calling domain.
pub const DOMID_SELF: u16 = 0x7ff0;
/// Owner of I/O memory.
pub const DOMID_IO: u16 = 0x7ff1;
/// Owner of frames that the hypervisor shares.
pub const DOMID_XEN: u16 = 0x7ff2;
/// Owner of copy-on-write frames.
pub const DOMID_COW: u16 = 0x7ff3;
/// No domain.
pub const DOMID_INVALID: u16 = 0x7ff4;
/// The idle domain.
pub const DOMID_IDLE: u16 = 0x7fff;
/// The bits of a domain id.
pub const DOMID_MASK: u16 = 0x7fff;

// Virtual interrupts. Global ones have one receiver, the others one for each vCPU.
/// Per vCPU: the one-shot timer or the periodic tick.
pub const VIRQ_TIMER: u32 = 0;
/// Per vCPU: asks the guest to dump its state.
pub const VIRQ_DEBUG: u32 = 1;
/// Global, dom0: bytes came from the serial console.
pub const VIRQ_CONSOLE: u32 = 2;
/// Global, dom0: a domain died or shut down.
pub const VIRQ_DOM_EXC: u32 = 3;
/// Global, dom0: trace buffer has records.
pub const VIRQ_TBUF: u32 = 4;
/// Global, dom0: a domain is paused for its debugger.
pub const VIRQ_DEBUGGER: u32 = 6;
/// Per vCPU: profiling.
pub const VIRQ_XENOPROF: u32 = 7;
/// Global, dom0: bytes were written to the console ring.
pub const VIRQ_CON_RING: u32 = 8;
/// Global, dom0: a physical CPU changed state.
pub const VIRQ_PCPU_STATE: u32 = 9;
/// Global, dom0: a memory event happened.
pub const VIRQ_MEM_EVENT: u32 = 10;
/// Global: Argo notification.
pub const VIRQ_ARGO: u32 = 11;
/// Global, dom0: little free memory.
pub const VIRQ_ENOMEM: u32 = 12;
/// Per vCPU: performance counter.
pub const VIRQ_XENPMU: u32 = 13;
/// Architecture's own 0; on x86 [`VIRQ_MCA`].
pub const VIRQ_ARCH_0: u32 = 16;
/// Architecture's own 1.
pub const VIRQ_ARCH_1: u32 = 17;
/// Architecture's own 2.
pub const VIRQ_ARCH_2: u32 = 18;
/// Architecture's own 3.
pub const VIRQ_ARCH_3: u32 = 19;
/// Architecture's own 4.
pub const VIRQ_ARCH_4: u32 = 20;
/// Architecture's own 5.
pub const VIRQ_ARCH_5: u32 = 21;
/// Architecture's own 6.
pub const VIRQ_ARCH_6: u32 = 22;
/// Architecture's own 7.
pub const VIRQ_ARCH_7: u32 = 23;
/// Global, dom0: a machine check was logged.
pub const VIRQ_MCA: u32 = 16;
/// Number of VIRQs.
pub const NR_VIRQS: u32 = 24;

// console_io commands.
/// Write bytes.
pub const CONSOLEIO_WRITE: u32 = 0;
/// Read bytes.
pub const CONSOLEIO_READ: u32 = 1;

// vm_assist commands and types.
/// Switch an assist on.
pub const VMASST_CMD_ENABLE: u32 = 0;
/// Switch an assist off.
pub const VMASST_CMD_DISABLE: u32 = 1;
/// Segments of 4 GB (32-bit guests).
pub const VMASST_TYPE_4GB_SEGMENTS: u32 = 0;
/// Trap 15 when such a segment is used.
pub const VMASST_TYPE_4GB_SEGMENTS_NOTIFY: u32 = 1;
/// Emulate writes to page tables.
pub const VMASST_TYPE_WRITABLE_PAGETABLES: u32 = 2;
/// PAE tables above 4 GB.
pub const VMASST_TYPE_PAE_EXTENDED_CR3: u32 = 3;
/// IOPL as the architecture has it.
pub const VMASST_TYPE_ARCHITECTURAL_IOPL: u32 = 4;
/// Set `XEN_RUNSTATE_UPDATE` while the runstate area is written.
pub const VMASST_TYPE_RUNSTATE_UPDATE_FLAG: u32 = 5;
/// Keep the machine-to-physical table out of user mode's L4.
pub const VMASST_TYPE_M2P_STRICT: u32 = 32;

// Time.
/// The TSCs of all CPUs run together.
pub const XEN_PVCLOCK_TSC_STABLE_BIT: u8 = 0x1;
/// The guest was stopped by its host.
pub const XEN_PVCLOCK_GUEST_STOPPED: u8 = 0x2;
/// Number of `vcpu_info` in the shared page.
pub const XEN_LEGACY_MAX_VCPUS: usize = 32;
/// Bytes of the command line in `start_info`.
pub const MAX_GUEST_CMDLINE: usize = 1024;

/// A snapshot from which a guest computes the system time.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuTimeInfo {
    /// Odd while the hypervisor writes.
    pub version: u32,
    /// Zero.
    pub pad0: u32,
    /// TSC at the snapshot.
    pub tsc_timestamp: u64,
    /// Nanoseconds since boot at the snapshot.
    pub system_time: u64,
    /// Multiplier: nanoseconds = ((tsc << shift) * mul) >> 32.
    pub tsc_to_system_mul: u32,
    /// Shift before the multiplication; right if negative.
    pub tsc_shift: i8,
    /// `XEN_PVCLOCK_*`.
    pub flags: u8,
    /// Zero.
    pub pad1: [u8; 2],
}
crate::layout!(VcpuTimeInfo, 32, {version @ 0, pad0 @ 4, tsc_timestamp @ 8, system_time @ 16, tsc_to_system_mul @ 24, tsc_shift @ 28, flags @ 29, pad1 @ 30});

/// What guest and hypervisor share for each vCPU.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct VcpuInfo {
    /// Not 0: an event is pending.
    pub evtchn_upcall_pending: u8,
    /// Not 0: no upcalls (the virtual interrupt flag, inverted).
    pub evtchn_upcall_mask: u8,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 6],
    /// Which words of `evtchn_pending` have news (2-level).
    pub evtchn_pending_sel: u64,
    /// The architecture's part.
    pub arch: ArchVcpuInfo,
    /// Time.
    pub time: VcpuTimeInfo,
}
crate::layout!(VcpuInfo, 64, {evtchn_upcall_pending @ 0, evtchn_upcall_mask @ 1, evtchn_pending_sel @ 8, arch @ 16, time @ 32});

/// The page that a domain shares with the hypervisor.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SharedInfo {
    /// The first vCPUs' shared state.
    pub vcpu_info: [VcpuInfo; XEN_LEGACY_MAX_VCPUS],
    /// Pending bits of 2-level event channels.
    pub evtchn_pending: [u64; 64],
    /// Mask bits of 2-level event channels.
    pub evtchn_mask: [u64; 64],
    /// Odd while the hypervisor writes the wall clock.
    pub wc_version: u32,
    /// Wall clock at boot, seconds since 1970, low half.
    pub wc_sec: u32,
    /// Wall clock at boot, nanoseconds.
    pub wc_nsec: u32,
    /// Wall clock at boot, seconds, high half.
    pub wc_sec_hi: u32,
    /// The architecture's part.
    pub arch: ArchSharedInfo,
}
crate::zeroed_default!(SharedInfo);
crate::layout!(SharedInfo, 3136, {vcpu_info @ 0, evtchn_pending @ 2048, evtchn_mask @ 2560, wc_version @ 3072, wc_sec @ 3076, wc_nsec @ 3080, wc_sec_hi @ 3084, arch @ 3088});

/// A bitmap in the caller's memory (control interfaces).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CtlBitmap {
    /// Guest handle of the bytes.
    pub bitmap: u64,
    /// Number of bits.
    pub nr_bits: u32,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 4],
}
crate::layout!(CtlBitmap, 16, {bitmap @ 0, nr_bits @ 8});
