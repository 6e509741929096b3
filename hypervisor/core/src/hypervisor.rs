//! The hypervisor as one value: everything that is not some domain's or some CPU's own.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::console::Console;
use crate::control::MachineChecks;
use crate::domain::{Domain, DomainTable};
use crate::firmware::Firmware;
use crate::irq::Irqs;
use crate::machine::{CpuMask, Machine};
use crate::mm::growth::Growth;
use crate::mm::heap::Heap;
use crate::mm::low_memory::LowMemory;
use crate::options::Options;
use crate::percpu::{CpuShared, Pending};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, Once};
use crate::types::{CpuId, DomId};
use crate::vcpu::Vcpu;

/// Facts about the build and the host that tools ask for.
#[derive(Clone, Debug, Default)]
pub struct HostInfo {
    /// The hypervisor's command line, without the image's name.
    pub command_line: alloc::string::String,
    /// NUMA nodes.
    pub nodes: crate::mm::nodes::Nodes,
    /// Threads a core, cores a socket.
    pub threads_per_core: u32,
    /// Cores a socket.
    pub cores_per_socket: u32,
    /// RAM of the host in frames.
    pub total_frames: u64,
    /// The host's memory map as dom0 is to see it: LAPIC and IO-APICs reserved, the
    /// hypervisor's own memory not listed as RAM.
    pub e820: Vec<oxen_abi::memory::E820Entry>,
    /// What the BIOS told at boot.
    pub firmware: Firmware,
}

/// The hypervisor. One value, alive for ever.
pub struct Hypervisor<M: Machine> {
    /// The machine.
    pub machine: M,
    /// Boot options.
    pub options: Options,
    /// Host facts.
    pub host: HostInfo,
    /// Free frames.
    pub heap: Heap,
    /// What the byte heap grows from.
    pub growth: Growth,
    /// When dom0 is told that there are few.
    pub low_memory: LowMemory,
    /// All domains.
    pub domains: DomainTable<M>,
    /// The control domain.
    pub dom0: Once<Arc<Domain<M>>>,
    /// The owner of idle vCPUs.
    pub idle_domain: Once<Arc<Domain<M>>>,
    /// Console ring, log levels, who has the input.
    pub console: Console,
    /// Interrupt descriptors.
    pub irqs: Irqs<M>,
    /// Who gets each global VIRQ (index: VIRQ number); `None` = dom0.
    pub virq_handlers: Mutex<[Option<DomId>; 24]>,
    /// Corrected errors of the hardware that dom0 has not heard of yet.
    pub machine_checks: MachineChecks,
    /// Wall clock, as `settime` set it.
    pub wallclock: crate::time::WallClock,
    /// Held while a register of the real-time clock is chosen and used.
    pub rtc: Mutex<()>,
    /// Held by the CPU that waits for a vCPU of another CPU to stand still.
    pub standstill: Mutex<()>,
    /// Where CPUs wait for each other.
    pub meeting: crate::meeting::Meeting<M>,
    /// How many domains' writes are logged ([`crate::mm::shadow`]).
    pub shadowed: AtomicU32,
    /// The update of microcode that is being loaded.
    pub microcode: crate::microcode::Microcode,
    /// For how many vCPUs each CPU's queues have room.
    pub places: crate::sched::Places,
    /// Taking CPUs out of service.
    pub service: crate::sched::Service,
    cpus: Box<[CpuShared<M>]>,
}

impl<M: Machine> Hypervisor<M> {
    /// Puts it together for `cpu_count` CPUs. Nothing runs yet.
    pub fn new(machine: M, options: Options, host: HostInfo, heap: Heap, cpu_count: usize) -> Self {
        let cpus = (0..cpu_count).map(|_| CpuShared::default()).collect();
        let wallclock = crate::time::WallClock::new(machine.boot_wallclock());
        let console = Console::new(&options);
        Self {
            machine,
            options,
            host,
            heap,
            growth: Growth::default(),
            low_memory: LowMemory::default(),
            domains: DomainTable::default(),
            dom0: Once::new(),
            idle_domain: Once::new(),
            console,
            irqs: Irqs::default(),
            virq_handlers: Mutex::new([None; 24]),
            machine_checks: MachineChecks::default(),
            wallclock,
            rtc: Mutex::new(()),
            standstill: Mutex::new(()),
            meeting: crate::meeting::Meeting::default(),
            shadowed: AtomicU32::new(0),
            microcode: crate::microcode::Microcode::default(),
            places: crate::sched::Places::default(),
            service: crate::sched::Service::default(),
            cpus,
        }
    }

    /// The part of a CPU that others may touch. A number past the end (which the machine never
    /// produces) gives CPU 0.
    pub fn cpu(&self, cpu: CpuId) -> &CpuShared<M> {
        self.cpus.get(cpu.index()).unwrap_or(&self.cpus[0])
    }

    /// How many CPUs there are.
    pub fn cpu_count(&self) -> usize {
        self.cpus.len()
    }

    /// Gives a CPU something to do on its next way out, and wakes it if it must be woken.
    pub fn raise(&self, cpu: CpuId, work: Pending, from: CpuId) {
        let before = self
            .cpu(cpu)
            .pending
            .fetch_or(work.bits(), Ordering::AcqRel);
        if cpu != from && before & work.bits() == 0 {
            self.machine.kick(cpu);
        }
    }

    /// The CPUs on which a domain's address space may be live.
    pub fn cpus_of(&self, domain: &Domain<M>) -> CpuMask {
        domain.dirty_cpus()
    }

    /// Finds a domain by number, `DOMID_SELF` included.
    pub fn domain(&self, id: DomId, caller: &Arc<Vcpu<M>>) -> Option<Arc<Domain<M>>> {
        if id == DomId::SELF || id == caller.domain.id {
            Some(Arc::clone(&caller.domain))
        } else {
            self.domains.get(id)
        }
    }
}
