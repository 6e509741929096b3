//! vCPUs: what a guest runs on.

pub mod context;

use alloc::boxed::Box;
use alloc::sync::Arc;

use oxen_abi::arch_x86::CpuUserRegs;

use crate::domain::Domain;
use crate::event::VcpuEvents;
use crate::machine::{Machine, SegmentState};
use crate::mm::left::LeftTables;
use crate::sched::VcpuSched;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU32};
use crate::time::VcpuTime;
use crate::trap::TrapState;
use crate::types::{Mfn, VcpuId};

bitflags::bitflags! {
    /// Reasons for a vCPU not to run, beside its domain's (Xen's `VPF_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Paused: u32 {
        /// Waits for an event (`SCHEDOP_block`, `SCHEDOP_poll`).
        const BLOCKED = 1;
        /// Not brought up, or taken down (`VCPUOP_up`, `VCPUOP_down`).
        const DOWN = 2;
        /// Waits in `SCHEDOP_poll` (set beside BLOCKED).
        const POLLING = 4;
    }
}

/// A vCPU's registers and the tables that the guest has registered, while it does not run; the
/// running vCPU's general registers are in its CPU's register frame instead.
pub struct Arch<M: Machine> {
    /// General registers.
    pub regs: CpuUserRegs,
    /// Segment registers and bases.
    pub segments: SegmentState,
    /// FPU state.
    pub fpu: Box<M::Fpu>,
    /// Debug registers 0-3, 6, 7 (4, 5 unused), as the guest sees them.
    pub debug: [u64; 8],
    /// CR4 and CR0 bits as the guest believes them to be; CR2 is in its `vcpu_info`.
    pub cr4: u64,
    /// Whether the guest has set TS (`fpu_taskswitch`).
    pub ts: bool,
    /// Root of the guest kernel's address space. Holds a type and a general reference.
    pub kernel_root: Option<Mfn>,
    /// Root of the current process's address space as user mode sees it.
    pub user_root: Option<Mfn>,
    /// Frames of the guest's GDT (each holds a descriptor-table type reference) and its length
    /// in entries.
    pub gdt: [Option<Mfn>; 14],
    /// GDT length in entries.
    pub gdt_entries: u32,
    /// Guest-virtual address of the LDT and its length in entries.
    pub ldt: (u64, u32),
    /// LDT pages mapped in on demand (each holds a descriptor-table type reference).
    pub ldt_pages: [Option<Mfn>; 16],
    /// Virtual IOPL (0-3).
    pub iopl: u8,
    /// Guest's I/O bitmap: address and number of ports.
    pub io_bitmap: (u64, u32),
    /// Trap table, callbacks, kernel stack.
    pub traps: TrapState,
}

/// A vCPU.
pub struct Vcpu<M: Machine> {
    /// Its number.
    pub id: VcpuId,
    /// Its domain.
    pub domain: Arc<Domain<M>>,
    /// Bits of [`Paused`].
    pub paused: AtomicU32,
    /// Reasons to keep it from running that nest (tools).
    pub pause_count: AtomicU32,
    /// Whether its context has been set.
    pub initialised: AtomicBool,
    /// Whether it is in guest-kernel mode (else in guest-user mode). Changed only by the CPU that
    /// runs it, or while it does not run.
    pub kernel_mode: AtomicBool,
    /// Registers while it does not run, and tables.
    pub arch: Mutex<Arch<M>>,
    /// Its `vcpu_info`, FIFO queues and poll state.
    pub events: VcpuEvents,
    /// Timers, runstate and the places where the guest wants them.
    pub time: VcpuTime,
    /// What the scheduler knows of it.
    pub sched: VcpuSched,
    /// Whether an NMI is to be delivered.
    pub nmi_pending: AtomicBool,
    /// Whether the NMI handler runs: until the next iret there is no further one. Only the CPU that runs the vCPU
    /// looks at it.
    pub in_nmi: AtomicBool,
    /// Page tables that this vCPU let go of and that are not yet taken apart.
    pub left: LeftTables,
}

impl<M: Machine> Vcpu<M> {
    /// A vCPU that is down and has no context yet.
    pub fn new(machine: &M, id: VcpuId, domain: Arc<Domain<M>>) -> Self {
        let mut debug = [0; 8];
        debug[6] = 0xffff_0ff0;
        debug[7] = 0x400;
        Self {
            id,
            domain,
            paused: AtomicU32::new(Paused::DOWN.bits()),
            pause_count: AtomicU32::new(0),
            initialised: AtomicBool::new(false),
            kernel_mode: AtomicBool::new(true),
            arch: Mutex::new(Arch {
                regs: crate::guest::zeroed(),
                segments: SegmentState::default(),
                fpu: Box::new(machine.new_fpu()),
                debug,
                cr4: 0,
                ts: false,
                kernel_root: None,
                user_root: None,
                gdt: [None; 14],
                gdt_entries: 0,
                ldt: (0, 0),
                ldt_pages: [None; 16],
                iopl: 0,
                io_bitmap: (0, 0),
                traps: TrapState::default(),
            }),
            events: VcpuEvents::default(),
            time: VcpuTime::default(),
            sched: VcpuSched::default(),
            nmi_pending: AtomicBool::new(false),
            in_nmi: AtomicBool::new(false),
            left: LeftTables::default(),
        }
    }
}
