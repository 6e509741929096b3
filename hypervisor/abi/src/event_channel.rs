//! Event channels (event_channel.h): operations, the 2-level and the FIFO ABI.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bind to another domain's unbound port.
pub const EVTCHNOP_BIND_INTERDOMAIN: u32 = 0;
/// Bind a VIRQ.
pub const EVTCHNOP_BIND_VIRQ: u32 = 1;
/// Bind a physical interrupt.
pub const EVTCHNOP_BIND_PIRQ: u32 = 2;
/// Close a port.
pub const EVTCHNOP_CLOSE: u32 = 3;
/// Send to the other end.
pub const EVTCHNOP_SEND: u32 = 4;
/// Ask a port's state.
pub const EVTCHNOP_STATUS: u32 = 5;
/// Allocate a port for another domain to bind.
pub const EVTCHNOP_ALLOC_UNBOUND: u32 = 6;
/// Bind an inter-processor event.
pub const EVTCHNOP_BIND_IPI: u32 = 7;
/// Say which vCPU a port notifies.
pub const EVTCHNOP_BIND_VCPU: u32 = 8;
/// Unmask a port and raise it if pending.
pub const EVTCHNOP_UNMASK: u32 = 9;
/// Close all ports.
pub const EVTCHNOP_RESET: u32 = 10;
/// Give a vCPU its FIFO control block.
pub const EVTCHNOP_INIT_CONTROL: u32 = 11;
/// Add a page of FIFO event words.
pub const EVTCHNOP_EXPAND_ARRAY: u32 = 12;
/// Set a port's FIFO priority.
pub const EVTCHNOP_SET_PRIORITY: u32 = 13;

/// Arguments of `EVTCHNOP_ALLOC_UNBOUND`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AllocUnbound {
    /// Domain that gets the port.
    pub dom: u16,
    /// Domain that may bind to it.
    pub remote_dom: u16,
    /// Out: the port.
    pub port: u32,
}
crate::layout!(AllocUnbound, 8, {dom @ 0, remote_dom @ 2, port @ 4});

/// Arguments of `EVTCHNOP_BIND_INTERDOMAIN`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct BindInterdomain {
    /// The other domain.
    pub remote_dom: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// Its port.
    pub remote_port: u32,
    /// Out: the caller's port.
    pub local_port: u32,
}
crate::layout!(BindInterdomain, 12, {remote_dom @ 0, remote_port @ 4, local_port @ 8});

/// Arguments of `EVTCHNOP_BIND_VIRQ`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct BindVirq {
    /// `VIRQ_*`.
    pub virq: u32,
    /// vCPU; 0 for a global VIRQ.
    pub vcpu: u32,
    /// Out: the port.
    pub port: u32,
}
crate::layout!(BindVirq, 12, {virq @ 0, vcpu @ 4, port @ 8});

/// Arguments of `EVTCHNOP_BIND_PIRQ`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct BindPirq {
    /// Physical interrupt.
    pub pirq: u32,
    /// `BIND_PIRQ_WILL_SHARE` or 0.
    pub flags: u32,
    /// Out: the port.
    pub port: u32,
}
crate::layout!(BindPirq, 12, {pirq @ 0, flags @ 4, port @ 8});
/// The interrupt may be shared with other domains.
pub const BIND_PIRQ_WILL_SHARE: u32 = 0x1;

/// Arguments of `EVTCHNOP_BIND_IPI`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct BindIpi {
    /// vCPU that is notified.
    pub vcpu: u32,
    /// Out: the port.
    pub port: u32,
}
crate::layout!(BindIpi, 8, {vcpu @ 0, port @ 4});

/// Arguments of `EVTCHNOP_CLOSE`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Close {
    /// The port.
    pub port: u32,
}
crate::layout!(Close, 4, {port @ 0});

/// Arguments of `EVTCHNOP_SEND`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Send {
    /// The port.
    pub port: u32,
}
crate::layout!(Send, 4, {port @ 0});
/// Port is free.
pub const EVTCHNSTAT_CLOSED: u32 = 0;
/// Waits for the other end.
pub const EVTCHNSTAT_UNBOUND: u32 = 1;
/// Connected.
pub const EVTCHNSTAT_INTERDOMAIN: u32 = 2;
/// Bound to a physical interrupt.
pub const EVTCHNSTAT_PIRQ: u32 = 3;
/// Bound to a VIRQ.
pub const EVTCHNSTAT_VIRQ: u32 = 4;
/// Bound to inter-processor events.
pub const EVTCHNSTAT_IPI: u32 = 5;

/// Arguments of `EVTCHNOP_STATUS`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Status {
    /// Whose port.
    pub dom: u16,
    /// Padding the layout asks for; zero.
    pub _pad0: [u8; 2],
    /// The port.
    pub port: u32,
    /// Out: `EVTCHNSTAT_*`.
    pub status: u32,
    /// Out: vCPU that is notified.
    pub vcpu: u32,
    /// Out, by status: unbound: remote domain; interdomain: remote domain and port; the pirq; the
    /// VIRQ.
    pub u: [u32; 2],
}
crate::layout!(Status, 24, {dom @ 0, port @ 4, status @ 8, vcpu @ 12, u @ 16});

/// Arguments of `EVTCHNOP_BIND_VCPU`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct BindVcpu {
    /// The port.
    pub port: u32,
    /// vCPU to notify.
    pub vcpu: u32,
}
crate::layout!(BindVcpu, 8, {port @ 0, vcpu @ 4});

/// Arguments of `EVTCHNOP_UNMASK`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Unmask {
    /// The port.
    pub port: u32,
}
crate::layout!(Unmask, 4, {port @ 0});

/// Arguments of `EVTCHNOP_RESET`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Reset {
    /// The domain.
    pub dom: u16,
}
crate::layout!(Reset, 2, {dom @ 0});

/// Arguments of `EVTCHNOP_INIT_CONTROL`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct InitControl {
    /// Frame of the control block.
    pub control_gfn: u64,
    /// Offset of the block in the frame, 8-byte aligned.
    pub offset: u32,
    /// vCPU.
    pub vcpu: u32,
    /// Out: bits of the link field.
    pub link_bits: u8,
    /// Zero.
    pub _pad: [u8; 7],
}
crate::layout!(InitControl, 24, {control_gfn @ 0, offset @ 8, vcpu @ 12, link_bits @ 16, _pad @ 17});

/// Arguments of `EVTCHNOP_EXPAND_ARRAY`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ExpandArray {
    /// Frame of event words.
    pub array_gfn: u64,
}
crate::layout!(ExpandArray, 8, {array_gfn @ 0});

/// Arguments of `EVTCHNOP_SET_PRIORITY`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SetPriority {
    /// The port.
    pub port: u32,
    /// 0 (highest) to 15.
    pub priority: u32,
}
crate::layout!(SetPriority, 8, {port @ 0, priority @ 4});
/// Ports of the 2-level ABI.
pub const EVTCHN_2L_NR_CHANNELS: u32 = 4096;

// FIFO ABI.
/// The highest priority.
pub const EVTCHN_FIFO_PRIORITY_MAX: u32 = 0;
/// The priority a port starts with.
pub const EVTCHN_FIFO_PRIORITY_DEFAULT: u32 = 7;
/// The lowest priority.
pub const EVTCHN_FIFO_PRIORITY_MIN: u32 = 15;
/// Event word: bit number of pending.
pub const EVTCHN_FIFO_PENDING: u32 = 31;
/// Event word: bit number of masked.
pub const EVTCHN_FIFO_MASKED: u32 = 30;
/// Event word: bit number of linked.
pub const EVTCHN_FIFO_LINKED: u32 = 29;
/// Event word: bit number of busy.
pub const EVTCHN_FIFO_BUSY: u32 = 28;
/// Event word: bits of the link field.
pub const EVTCHN_FIFO_LINK_BITS: u32 = 17;
/// Ports of the FIFO ABI.
pub const EVTCHN_FIFO_NR_CHANNELS: u32 = 131_072;
/// Event word: mask of the link field.
pub const EVTCHN_FIFO_LINK_MASK: u32 = 0x1_ffff;
/// Queues of a vCPU, one for each priority.
pub const EVTCHN_FIFO_MAX_QUEUES: usize = 16;

/// What a vCPU and the hypervisor share for FIFO events.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct FifoControlBlock {
    /// Bit for each queue that has events.
    pub ready: u32,
    /// Zero.
    pub _rsvd: u32,
    /// First port of each queue, 0 if empty.
    pub head: [u32; EVTCHN_FIFO_MAX_QUEUES],
}
crate::layout!(FifoControlBlock, 72, {ready @ 0, _rsvd @ 4, head @ 8});
