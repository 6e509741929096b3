//! The small types that every part of the hypervisor speaks in.

/// Size of a page frame in bytes.
pub const PAGE_SIZE: u64 = 4096;
/// Binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// A machine frame number: a 4 KiB frame of the host's physical address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mfn(pub u64);

impl Mfn {
    /// The ABI's value for "no frame".
    pub const INVALID: Self = Self(u64::MAX);

    /// The frame that holds physical address `addr` (bytes).
    pub const fn containing(addr: u64) -> Self {
        Self(addr >> PAGE_SHIFT)
    }

    /// The physical address of the frame's first byte. Frames past 2^52 wrap to nonsense, so
    /// callers check a guest's frame number against [`crate::Machine::frame`] first.
    pub const fn address(self) -> u64 {
        self.0 << PAGE_SHIFT
    }

    /// The frame `n` after this one.
    pub const fn offset(self, n: u64) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

/// A domain's number; 0 is the control domain. Ordinary domains are below `0x7ff0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomId(pub u16);

impl DomId {
    /// The control domain.
    pub const DOM0: Self = Self(0);
    /// The first number that is not an ordinary domain's (`DOMID_FIRST_RESERVED`, xen.h).
    pub const FIRST_RESERVED: u16 = 0x7ff0;
    /// The calling domain (`DOMID_SELF`).
    pub const SELF: Self = Self(0x7ff0);
    /// The owner of I/O memory (`DOMID_IO`).
    pub const IO: Self = Self(0x7ff1);
    /// The hypervisor, as owner of frames shared with privileged domains (`DOMID_XEN`).
    pub const XEN: Self = Self(0x7ff2);
    /// The owner of copy-on-write shared frames (`DOMID_COW`).
    pub const COW: Self = Self(0x7ff3);
    /// No valid domain (`DOMID_INVALID`).
    pub const INVALID: Self = Self(0x7ff4);
    /// The owner given to idle vCPUs (`DOMID_IDLE`).
    pub const IDLE: Self = Self(0x7fff);

    /// Whether this can be the number of an ordinary domain.
    pub const fn is_ordinary(self) -> bool {
        self.0 < Self::FIRST_RESERVED
    }
}

/// A vCPU's number within its domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VcpuId(pub u16);

impl VcpuId {
    /// As an index into per-vCPU arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A physical CPU's number, from 0 in order of enumeration (threads, cores, sockets).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpuId(pub u16);

impl CpuId {
    /// As an index into per-CPU arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An event channel's number within its domain; 0 is never valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port(pub u32);

/// The most physical CPUs that are supported.
pub const MAX_CPUS: usize = 256;
/// The most vCPUs of a PV domain.
pub const MAX_VCPUS: usize = 128;
