//! From a machine that stands to one whose first domain runs.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::domain::{Domain, Limits};
use crate::hypervisor::{HostInfo, Hypervisor};
use crate::machine::Machine;
use crate::mm::heap::{Heap, Pool};
use crate::options::Options;
use crate::percpu::PerCpu;
use crate::types::{CpuId, DomId, Mfn, PAGE_SHIFT, VcpuId};
use crate::vcpu::Vcpu;

/// Makes the hypervisor. `free` are the frames that nobody uses, as first frame and frame past
/// the end; `cpu_count` CPUs are there, of which none needs to run yet. `boot_log` is what the
/// machine has printed so far: the console ring begins with it.
pub fn hypervisor<M: Machine>(
    machine: M,
    command_line: &str,
    boot_log: &[u8],
    mut host: HostInfo,
    free: impl Iterator<Item = (Mfn, Mfn)>,
    cpu_count: usize,
) -> &'static Hypervisor<M> {
    let (options, warnings) = Options::parse(command_line);
    let pool = Pool {
        bits: options.dma_bits,
        kept: options.dma_emergency_pool >> PAGE_SHIFT,
    };
    let heap = Heap::new(core::mem::take(&mut host.nodes), pool);
    for (first, end) in free {
        heap.add(&machine, first, end);
    }
    host.command_line = command_line.into();
    let hv: &'static Hypervisor<M> = Box::leak(Box::new(Hypervisor::new(
        machine, options, host, heap, cpu_count,
    )));
    hv.console.record(boot_log);
    for warning in warnings {
        crate::log_warning!(hv, "{warning}");
    }
    hv.idle_domain
        .call_once(|| Arc::new(Domain::new(DomId::IDLE, false, &Limits::default())));
    hv
}

/// Makes a CPU's data. Called once for each, before the CPU takes an interrupt.
pub fn cpu<M: Machine>(hv: &'static Hypervisor<M>, id: CpuId) -> &'static PerCpu<M> {
    let domain = hv
        .idle_domain
        .call_once(|| Arc::new(Domain::new(DomId::IDLE, false, &Limits::default())));
    let idle = Arc::new(Vcpu::new(&hv.machine, VcpuId(id.0), Arc::clone(domain)));
    idle.sched.set_cpu(id);
    hv.cpu(id).idle_time.begin(hv.machine.now());
    Box::leak(Box::new(PerCpu::new(hv, id, idle)))
}
