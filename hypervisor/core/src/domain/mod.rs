//! Domains: what a guest owns.

mod lifecycle;
mod table;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub use lifecycle::{
    add_vcpus, crash, create, destroy, finish, pause, pause_by_controller, shutdown, unpause,
    unpause_by_controller,
};
pub use table::DomainTable;

use crate::event::DomainEvents;
use crate::grant::GrantTable;
use crate::irq::DomainIrqs;
use crate::machine::{CpuMask, Machine};
use crate::mm::DomainMemory;
use crate::mm::tlb::DirtyCpus;
use crate::sched::DomainSched;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::trap::cpu_policy::CpuPolicy;
use crate::types::{CpuId, DomId, VcpuId};
use crate::vcpu::Vcpu;

/// How far a domain's life is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It exists; it may be paused or shut down.
    Alive,
    /// It is being taken apart.
    Dying,
    /// Nothing is left but references to the number.
    Dead,
}

/// What changes about a domain as a whole, under one lock.
#[derive(Debug)]
pub struct State {
    /// How far its life is.
    pub life: Life,
    /// The reason given to `SCHEDOP_shutdown`; `Some` once it has shut down.
    pub shutdown: Option<u32>,
    /// Whether a debugger's `on_crash` style shutdown is complete on all vCPUs.
    pub shutdown_complete: bool,
    /// Set by `setdomainhandle`.
    pub handle: [u8; 16],
    /// Set by `settimeoffset`: seconds between the domain's wall clock and the host's.
    pub time_offset: i64,
    /// The shared page has been given up.
    pub shared_gone: bool,
    /// `SHUTDOWN_*` code that `SCHEDOP_shutdown_code` stored beforehand.
    pub shutdown_code: Option<u32>,
}

/// I/O resources that a domain may use.
#[derive(Debug, Default)]
pub struct Permissions {
    /// Frames of I/O memory.
    pub iomem: RangeSet,
    /// I/O ports.
    pub ports: RangeSet,
    /// Interrupts (GSIs).
    pub irqs: RangeSet,
}

impl Permissions {
    /// Whether the domain may use any device's memory or ports.
    pub fn any_hardware(&self) -> bool {
        !self.iomem.is_empty() || !self.ports.is_empty()
    }
}

pub use crate::mm::ranges::RangeSet;

/// A domain.
pub struct Domain<M: Machine> {
    /// Its number.
    pub id: DomId,
    /// Whether it is the control domain.
    pub privileged: bool,
    /// Lifecycle state.
    pub state: Mutex<State>,
    /// Fast copy of `state.life != Alive`.
    pub dying: AtomicBool,
    /// Reasons to keep all vCPUs from running (`pausedomain`, crash).
    pub pause_count: AtomicU32,
    /// Whether the tool stack has paused it (it counts once in `pause_count`).
    pub controller_paused: AtomicBool,
    /// `VMASST_TYPE_*` bits.
    pub vm_assist: AtomicU64,
    /// The register of the real-time clock that it has chosen.
    pub rtc_index: AtomicU8,
    /// Memory and page list.
    pub memory: DomainMemory,
    /// Event channels.
    pub events: DomainEvents<M>,
    /// Grants given and taken.
    pub grants: GrantTable<M>,
    /// Physical interrupts bound.
    pub irqs: DomainIrqs<M>,
    /// What the tools let it see of the processor.
    pub cpu_policy: RwLock<CpuPolicy>,
    /// Whether the tools have ever let it run.
    pub started: AtomicBool,
    /// Weight and cap.
    pub sched: DomainSched,
    /// I/O resources.
    pub permissions: Mutex<Permissions>,
    /// What it has written to the hypervisor's console since its last line's end.
    pub console_line: Mutex<crate::console::GuestLine>,
    /// How many vCPUs it was created for.
    pub max_vcpus: u32,
    /// Its vCPUs, in order of number; empty before `max_vcpus`, and once dead.
    pub vcpus: RwLock<Vec<Arc<Vcpu<M>>>>,
    /// CPUs whose TLB may hold its translations.
    dirty_cpus: DirtyCpus,
}

impl<M: Machine> Domain<M> {
    /// A domain without memory or vCPUs. `max_event_port`, `grant_frames` and `maptrack_frames`
    /// are limits.
    pub fn new(id: DomId, privileged: bool, config: &Limits) -> Self {
        Self {
            id,
            privileged,
            state: Mutex::new(State {
                life: Life::Alive,
                shutdown: None,
                shutdown_complete: false,
                handle: config.handle,
                time_offset: 0,
                shared_gone: false,
                shutdown_code: None,
            }),
            dying: AtomicBool::new(false),
            pause_count: AtomicU32::new(1),
            controller_paused: AtomicBool::new(true),
            vm_assist: AtomicU64::new(0),
            rtc_index: AtomicU8::new(0),
            memory: DomainMemory::default(),
            events: DomainEvents::new(config.max_event_port),
            grants: GrantTable::new(
                config.grant_frames,
                config.maptrack_frames,
                config.grant_version,
            ),
            irqs: DomainIrqs::default(),
            cpu_policy: RwLock::new(CpuPolicy::new()),
            started: AtomicBool::new(false),
            sched: DomainSched::default(),
            permissions: Mutex::new(Permissions::default()),
            console_line: Mutex::new(crate::console::GuestLine::default()),
            max_vcpus: config.max_vcpus,
            vcpus: RwLock::new(Vec::new()),
            dirty_cpus: DirtyCpus::default(),
        }
    }

    /// One of its vCPUs.
    pub fn vcpu(&self, id: VcpuId) -> Option<Arc<Vcpu<M>>> {
        crate::speculation::get(&self.vcpus.read(), id.index()).cloned()
    }

    /// Its vCPUs, one after the other, without memory for a list of them and without the lock on theirs.
    pub fn each_vcpu(&self) -> impl Iterator<Item = Arc<Vcpu<M>>> + '_ {
        (0..).map_while(|number| self.vcpus.read().get(number).cloned())
    }

    /// Whether it is being taken apart.
    pub fn is_dying(&self) -> bool {
        self.dying.load(Ordering::SeqCst)
    }

    /// CPUs whose TLB may hold its translations.
    pub fn dirty_cpus(&self) -> CpuMask {
        self.dirty_cpus.now()
    }

    /// Notes that a CPU is going to load one of its page tables.
    pub fn mark_dirty(&self, cpu: CpuId) {
        self.dirty_cpus.mark(cpu);
    }

    /// Notes that a CPU has loaded another domain's page table.
    pub fn clear_dirty(&self, cpu: CpuId) {
        self.dirty_cpus.clear(cpu);
    }
}

/// What `createdomain` fixes for a domain's life.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its UUID.
    pub handle: [u8; 16],
    /// Highest event-channel port.
    pub max_event_port: u32,
    /// Most frames of grant entries.
    pub grant_frames: u32,
    /// Most frames' worth of maptrack entries.
    pub maptrack_frames: u32,
    /// Highest version of the grant table.
    pub grant_version: crate::grant::Version,
    /// How many vCPUs it gets.
    pub max_vcpus: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handle: [0; 16],
            max_event_port: 1023,
            grant_frames: 64,
            maptrack_frames: 1024,
            grant_version: crate::grant::Version::V2,
            max_vcpus: 1,
        }
    }
}
