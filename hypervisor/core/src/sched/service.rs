//! Taking physical CPUs out of service, and back (`cpu_offline`, `cpu_online`).
//!
//! A CPU that is out of service runs no vCPU and waits for interrupts. It stays one of the
//! hypervisor's: it answers other CPUs and broadcast machine checks, the timers that were set on it
//! come, and so do the interrupts that are routed to it. (Xen parks its CPUs too, for the sake of
//! machine checks.)

use oxen_abi::errno::Errno;
use oxen_abi::xen::VIRQ_PCPU_STATE;

use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Machine};
use crate::percpu::{Cx, Pending};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::types::{CpuId, DomId};
use crate::vcpu::Vcpu;

/// Which CPUs serve may be changed, and vCPUs tied to CPUs, by one caller at a time.
#[derive(Default)]
pub struct Service {
    /// Held by who changes that.
    lock: Mutex<()>,
    /// How many are out of service.
    out: AtomicU32,
}

/// Whether a vCPU with this hard affinity may use any of `cpus`.
fn usable(hard: Option<CpuMask>, cpus: &CpuMask) -> bool {
    hard.is_none_or(|mask| cpus.iter().any(|cpu| mask.contains(cpu)))
}

impl<M: Machine> Hypervisor<M> {
    /// The CPUs that run vCPUs. All that are up, but for those that dom0 has taken out of service.
    pub fn serving(&self) -> CpuMask {
        let mut cpus = self.machine.cpus();
        if self.service.out.load(Ordering::Acquire) != 0 {
            for cpu in self.machine.cpus().iter() {
                if self.cpu(cpu).out_of_service.load(Ordering::Acquire) {
                    cpus.remove(cpu);
                }
            }
        }
        cpus
    }

    /// Does something while no CPU goes out of service: `change` gets those that serve.
    pub fn with_serving<T>(&self, change: impl FnOnce(&CpuMask) -> T) -> T {
        let _held = self.service.lock.lock();
        change(&self.serving())
    }
}

/// Takes a CPU out of service: its vCPUs move on soon, and those that may use no other may use all
/// from now on, as in Xen. dom0 hears of it by `VIRQ_PCPU_STATE`. Nothing happens if it is out
/// already. `EOPNOTSUPP` for the first CPU, `EINVAL` for one that there is not, `EBUSY` while a
/// vCPU of dom0 is tied to it (`SCHEDOP_pin_override`).
pub fn take_out<M: Machine>(cx: &Cx<'_, M>, cpu: CpuId) -> Result<(), Errno> {
    if cpu == CpuId(0) {
        return Err(Errno::EOPNOTSUPP);
    }
    let shared = find(cx.hv, cpu)?;
    {
        let _held = cx.hv.service.lock.lock();
        let mut left = cx.hv.serving();
        if !left.contains(cpu) {
            return Ok(());
        }
        left.remove(cpu);
        let is_bound = |vcpu: &Vcpu<M>| !usable(vcpu.sched.affinity().0, &left);
        for domain in cx.hv.domains.from(DomId::DOM0) {
            let mut vcpus = domain.each_vcpu();
            if vcpus.any(|vcpu| is_bound(&vcpu) && vcpu.sched.is_tied()) {
                return Err(Errno::EBUSY);
            }
        }
        for domain in cx.hv.domains.from(DomId::DOM0) {
            for vcpu in domain.each_vcpu().filter(|vcpu| is_bound(vcpu)) {
                let (domain, id) = (domain.id.0, vcpu.id.0);
                crate::log_warning!(cx.hv, "Breaking affinity for d{domain}v{id}");
                vcpu.sched.set_hard_affinity(None)?;
            }
        }
        cx.hv.service.out.fetch_add(1, Ordering::AcqRel);
        shared.out_of_service.store(true, Ordering::Release);
    }
    tell(cx, cpu);
    Ok(())
}

/// Puts a CPU back into service. Nothing happens if it serves. `EINVAL` for one that there is not.
pub fn put_back<M: Machine>(cx: &Cx<'_, M>, cpu: CpuId) -> Result<(), Errno> {
    let shared = find(cx.hv, cpu)?;
    {
        let _held = cx.hv.service.lock.lock();
        if !shared.out_of_service.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        cx.hv.service.out.fetch_sub(1, Ordering::AcqRel);
    }
    tell(cx, cpu);
    Ok(())
}

fn find<M: Machine>(hv: &Hypervisor<M>, cpu: CpuId) -> Result<&crate::percpu::CpuShared<M>, Errno> {
    if hv.machine.cpus().contains(cpu) {
        Ok(hv.cpu(cpu))
    } else {
        Err(Errno::EINVAL)
    }
}

/// The CPU looks whom to run, if anyone, and dom0 how many there are.
fn tell<M: Machine>(cx: &Cx<'_, M>, cpu: CpuId) {
    cx.hv.raise(cpu, Pending::SCHEDULE, cx.cpu.id);
    crate::event::send_global_virq(cx.hv, VIRQ_PCPU_STATE);
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use oxen_abi::arch_x86::CpuUserRegs;

    use super::*;
    use crate::percpu::PerCpu;
    use crate::sched::place::Place;
    use crate::testing::{Host, Sim};
    use crate::types::VcpuId;
    use crate::vcpu::Vcpu;

    const SECOND: CpuId = CpuId(1);

    fn only(cpu: CpuId) -> Option<CpuMask> {
        let mut mask = CpuMask::EMPTY;
        mask.insert(cpu);
        Some(mask)
    }

    /// The second CPU, which the host has not at hand.
    fn second(host: &Host) -> PerCpu<Sim> {
        let idle = host.hv.idle_domain.get().unwrap();
        let idle = Vcpu::new(host.machine(), VcpuId(1), Arc::clone(idle));
        PerCpu::new(host.hv, SECOND, Arc::new(idle))
    }

    #[test]
    fn a_cpu_goes_and_comes_back() {
        let host = Host::new();
        let dom0 = host.domain(0, 1, 10);
        let vcpu = dom0.vcpu(VcpuId(0)).unwrap();
        let cx = host.cx(&vcpu);
        assert_eq!(take_out(&cx, CpuId(0)), Err(Errno::EOPNOTSUPP));
        assert_eq!(take_out(&cx, CpuId(2)), Err(Errno::EINVAL));
        assert_eq!(put_back(&cx, CpuId(2)), Err(Errno::EINVAL));
        assert_eq!(put_back(&cx, SECOND), Ok(()));
        for _ in 0..2 {
            assert_eq!(take_out(&cx, SECOND), Ok(()));
            assert_eq!(host.hv.serving(), only(CpuId(0)).unwrap());
        }
        for _ in 0..2 {
            assert_eq!(put_back(&cx, SECOND), Ok(()));
            assert_eq!(host.hv.serving(), host.machine().cpus());
        }
    }

    #[test]
    fn its_vcpus_move_on() {
        let host = Host::new();
        let dom0 = host.domain(0, 1, 10);
        let vcpu = dom0.vcpu(VcpuId(0)).unwrap();
        let cx = host.cx(&vcpu);
        let guest = host.domain(1, 2, 10);
        let [runs, waits] = [0, 1].map(|id| guest.vcpu(VcpuId(id)).unwrap());
        let (cpu, mut regs) = (second(&host), CpuUserRegs::default());
        for vcpu in [&runs, &waits] {
            vcpu.sched.set_hard_affinity(only(SECOND)).unwrap();
            crate::sched::wake(host.hv, vcpu, CpuId(0));
        }
        crate::sched::work(&cpu, &mut regs);
        assert!(Arc::ptr_eq(&cpu.current(), &runs));
        assert_eq!(waits.sched.place(), Place::Queued);

        assert_eq!(take_out(&cx, SECOND), Ok(()));
        assert!(!cpu.shared().run_queue.is_empty());
        crate::sched::work(&cpu, &mut regs);
        assert!(Arc::ptr_eq(&cpu.current(), &cpu.idle));
        assert!(cpu.shared().run_queue.is_empty());
        for vcpu in [&runs, &waits] {
            assert_eq!(vcpu.sched.affinity().0, None);
            assert_eq!(
                (vcpu.sched.place(), vcpu.sched.cpu()),
                (Place::Queued, CpuId(0))
            );
        }
        // Nobody comes while it is out, and it takes none.
        assert_eq!(host.hv.cpu(CpuId(0)).run_queue.len(), 2);
        crate::sched::yield_now(&cpu);
        crate::sched::work(&cpu, &mut regs);
        assert!(Arc::ptr_eq(&cpu.current(), &cpu.idle));

        assert_eq!(put_back(&cx, SECOND), Ok(()));
        crate::sched::work(&cpu, &mut regs);
        assert!(!Arc::ptr_eq(&cpu.current(), &cpu.idle));
    }

    #[test]
    fn a_tied_vcpu_holds_its_cpu() {
        let host = Host::new();
        let dom0 = host.domain(0, 2, 10);
        let [asks, tied] = [0, 1].map(|id| dom0.vcpu(VcpuId(id)).unwrap());
        let cx = host.cx(&asks);
        tied.sched.tie(SECOND).unwrap();
        assert_eq!(take_out(&cx, SECOND), Err(Errno::EBUSY));
        assert_eq!(host.hv.serving(), host.machine().cpus());
        tied.sched.untie().unwrap();
        assert_eq!(take_out(&cx, SECOND), Ok(()));
    }
}
