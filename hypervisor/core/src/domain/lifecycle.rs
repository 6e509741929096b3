//! A domain's birth, pauses, shutdown and death.

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::errno::Errno;
use oxen_abi::sched::{
    SHUTDOWN_CRASH, SHUTDOWN_POWEROFF, SHUTDOWN_REBOOT, SHUTDOWN_SOFT_RESET, SHUTDOWN_WATCHDOG,
};
use oxen_abi::xen::VIRQ_DOM_EXC;

use crate::domain::{Domain, Life, Limits};
use crate::error::{HcResult, Stop};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::{
    Purpose, alloc_frames, growth, put_page, release_shared, relinquish, types, update,
};
use crate::percpu::{Cx, PerCpu};
use crate::sched::places;
use crate::sync::atomic::Ordering;
use crate::types::{DomId, MAX_VCPUS, Mfn, VcpuId};
use crate::vcpu::Vcpu;

/// Creates a domain, paused, with a shared page and nothing else. `ENOMEM` without a frame for
/// that; `EEXIST` if the number is taken.
pub fn create<M: Machine>(
    cpu: &PerCpu<M>,
    id: DomId,
    privileged: bool,
    limits: &Limits,
) -> Result<Arc<Domain<M>>, Errno> {
    let domain = growth::with_room(cpu, || {
        Ok::<_, Errno>(Arc::new(Domain::new(id, privileged, limits)))
    })?;
    let shared = alloc_frames(cpu, &domain, 0, 64, Purpose::Shared).ok_or(Errno::ENOMEM)?;
    domain.memory.shared_info.call_once(|| shared);
    domain.events.attach(&cpu.hv.machine, Some(shared), &[]);
    let inserted = growth::with_room(cpu, || {
        let inserted = cpu.hv.domains.insert(Arc::clone(&domain));
        inserted.map_err(|_| Errno::EEXIST)
    });
    if let Err(errno) = inserted {
        release_shared(cpu, shared);
        return Err(errno);
    }
    crate::time::update_wallclock(cpu.hv, &domain);
    Ok(domain)
}

/// Gives a domain its vCPUs, numbers 0 to `count` - 1, all down. `EINVAL` if it has some already
/// or `count` is not 1 to [`MAX_VCPUS`], `ENOMEM`.
pub fn add_vcpus<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Arc<Domain<M>>,
    count: usize,
) -> Result<(), Errno> {
    let count16 = u16::try_from(count)
        .ok()
        .filter(|n| *n >= 1 && count <= MAX_VCPUS);
    let count16 = count16.ok_or(Errno::EINVAL)?;
    let has = |number| match number {
        0 => None,
        _ if number == count => Some(Ok(())),
        _ => Some(Err(Errno::EINVAL)),
    };
    if let Some(answer) = has(domain.vcpus.read().len()) {
        return answer;
    }
    let vcpus = make_vcpus(cpu, domain, count16)?;
    places::make(cpu.hv, count)?;
    let answer = growth::with_room(cpu, || {
        let mut place = domain.vcpus.write();
        // Another vCPU of the tools' may have been faster.
        if let Some(answer) = has(place.len()) {
            places::give_back(cpu.hv, count);
            return answer;
        }
        *place = vcpus;
        let shared = domain.memory.shared_info.get().copied();
        domain.events.attach(&cpu.hv.machine, shared, &place);
        Ok(())
    });
    if answer == Err(Errno::ENOMEM) {
        places::give_back(cpu.hv, count);
    }
    answer
}

/// New vCPUs of a domain, spread over the CPUs that serve.
fn make_vcpus<M: Machine>(
    cpu: &PerCpu<M>,
    domain: &Arc<Domain<M>>,
    count: u16,
) -> Result<Vec<Arc<Vcpu<M>>>, Errno> {
    let serving = cpu.hv.serving();
    let mut vcpus = Vec::new();
    let places = vcpus.try_reserve_exact(usize::from(count));
    places.map_err(|_| Errno::ENOMEM)?;
    let mut cpus = serving.iter();
    for id in (0..count).map(VcpuId) {
        let vcpu = growth::with_room(cpu, || {
            let vcpu = Vcpu::new(&cpu.hv.machine, id, Arc::clone(domain));
            Ok::<_, Errno>(Arc::new(vcpu))
        })?;
        let on = cpus.next().or_else(|| {
            cpus = serving.iter();
            cpus.next()
        });
        vcpu.sched.set_cpu(on.unwrap_or(cpu.id));
        vcpus.push(vcpu);
    }
    Ok(vcpus)
}

/// Adds a reason for no vCPU of the domain to run. Those that run stop soon after;
/// [`crate::sched::stopped`] tells when.
pub fn pause<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    domain.pause_count.fetch_add(1, Ordering::SeqCst);
    for vcpu in domain.vcpus.read().iter() {
        crate::sched::stop(cpu, vcpu);
    }
}

/// Takes such a reason away.
pub fn unpause<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    if domain.pause_count.fetch_sub(1, Ordering::SeqCst) == 1 {
        for vcpu in domain.vcpus.read().iter() {
            crate::sched::wake_paused(cpu.hv, vcpu, cpu.id);
        }
    }
}

/// `DOMCTL_pausedomain`: pausing twice is pausing once.
pub fn pause_by_controller<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    if !domain.controller_paused.swap(true, Ordering::SeqCst) {
        pause(cpu, domain);
    }
}

/// `DOMCTL_unpausedomain`.
pub fn unpause_by_controller<M: Machine>(cpu: &PerCpu<M>, domain: &Domain<M>) {
    domain.started.store(true, Ordering::Release);
    if domain.controller_paused.swap(false, Ordering::SeqCst) {
        unpause(cpu, domain);
    }
}

/// A domain has shut down, for a reason of `SHUTDOWN_*`: its vCPUs stop and the tools hear of it.
/// For the control domain it means the machine.
pub fn shutdown<M: Machine>(cpu: &PerCpu<M>, domain: &Arc<Domain<M>>, reason: u32) {
    {
        let mut state = domain.state.lock();
        if state.shutdown.is_some() {
            return;
        }
        let reason = state.shutdown_code.unwrap_or(reason);
        state.shutdown = Some(reason);
        state.shutdown_complete = true;
    }
    if domain.id == DomId::DOM0 {
        control_domain_ended(cpu.hv, reason);
    }
    pause(cpu, domain);
    crate::event::send_global_virq(cpu.hv, VIRQ_DOM_EXC);
}

/// What becomes of the machine: it goes off, or is reset, as dom0 asks. `noreboot` has it stand still
/// where dom0 did not ask for a reboot.
fn control_domain_ended<M: Machine>(hv: &'static Hypervisor<M>, reason: u32) -> ! {
    match reason {
        SHUTDOWN_POWEROFF => {
            crate::log_info!(hv, "Domain 0 halted: the machine stands still.");
            hv.machine.power_off()
        }
        SHUTDOWN_REBOOT => crate::log_info!(hv, "Domain 0 asks for a reboot."),
        SHUTDOWN_WATCHDOG => {
            crate::log_error!(hv, "Domain 0's watchdog expired: the machine is rebooted.");
        }
        SHUTDOWN_SOFT_RESET => {
            crate::log_error!(
                hv,
                "Domain 0 asks for a soft reset, which it cannot have: the machine is rebooted."
            );
        }
        SHUTDOWN_CRASH => {
            crate::log_error!(hv, "Domain 0 crashed.");
            stand_if_asked(hv);
        }
        _ => {
            crate::log_error!(hv, "Domain 0 ended for the unknown reason {reason}.");
            stand_if_asked(hv);
        }
    }
    hv.machine.reboot()
}

fn stand_if_asked<M: Machine>(hv: &'static Hypervisor<M>) {
    if hv.options.noreboot {
        crate::log_error!(hv, "'noreboot' set: the machine stands still.");
        hv.machine.halt()
    }
}

/// The calling domain broke a rule: it is crashed.
pub fn crash<M: Machine>(cx: &Cx<'_, M>, reason: &'static str) {
    let (domain, vcpu) = (cx.domain(), cx.vcpu);
    if domain.privileged {
        // The last thing that it does.
        crate::log_error!(cx.hv, "d{}: v{} crashed: {reason}", domain.id.0, vcpu.id.0);
    } else {
        crate::guest_error!(cx.hv, domain.id, "v{} crashed: {reason}", vcpu.id.0);
    }
    shutdown(cx.cpu, domain, SHUTDOWN_CRASH);
}

/// `DOMCTL_destroydomain`: takes a domain apart. Stops where it must ([`Stop::Restart`]; the
/// caller fills in the arguments of its hypercall) and goes on when called again.
pub fn destroy<M: Machine>(cx: &Cx<'_, M>, domain: &Arc<Domain<M>>) -> HcResult {
    let cpu = cx.cpu;
    if !domain.dying.swap(true, Ordering::SeqCst) {
        domain.state.lock().life = Life::Dying;
        cpu.hv.heap.let_go(&domain.memory.claim);
        pause(cpu, domain);
    }
    let again = || Err(Stop::Restart([0; 6]));
    let vcpus: Vec<_> = domain.vcpus.read().iter().cloned().collect();
    if !vcpus.iter().all(|vcpu| crate::sched::stopped(vcpu)) {
        return again();
    }
    crate::mm::shadow::disable(cpu, domain);
    for vcpu in &vcpus {
        crate::time::cancel_all(cpu.hv, vcpu);
    }
    if !crate::irq::release_all(cpu, domain)
        || !crate::event::close_all(cpu, domain)
        || !crate::grant::release_all(cpu, domain)
    {
        return again();
    }
    for vcpu in domain.each_vcpu() {
        if !release_vcpu(cpu, &vcpu) {
            return again();
        }
    }
    if !relinquish(cpu, domain) {
        return again();
    }
    domain.events.detach();
    let shared_gone = core::mem::replace(&mut domain.state.lock().shared_gone, true);
    if let Some(shared) = domain.memory.shared_info.get().filter(|_| !shared_gone) {
        release_shared(cpu, *shared);
    }
    domain.state.lock().life = Life::Dead;
    let vcpus = core::mem::take(&mut *domain.vcpus.write());
    if !vcpus.is_empty() {
        places::give_back(cpu.hv, vcpus.len());
    }
    drop(vcpus);
    finish(cpu.hv, domain);
    crate::event::send_global_virq(cpu.hv, VIRQ_DOM_EXC);
    Ok(0)
}

/// Drops everything that a stopped vCPU holds on its domain's frames; `false` if it is to be
/// called again.
fn release_vcpu<M: Machine>(cpu: &PerCpu<M>, vcpu: &Arc<Vcpu<M>>) -> bool {
    crate::mm::descriptor::release(cpu, vcpu);
    crate::event::release(cpu, vcpu);
    loop {
        if !update::finish_left_by(cpu, vcpu) {
            return false;
        }
        let Some(root) = take_root(vcpu) else {
            return true;
        };
        update::leave(cpu, vcpu, types::put_type(cpu, root).err());
        put_page(cpu.hv, root);
    }
}

fn take_root<M: Machine>(vcpu: &Vcpu<M>) -> Option<Mfn> {
    let mut arch = vcpu.arch.lock();
    arch.user_root.take().or_else(|| arch.kernel_root.take())
}

/// A dead domain leaves the table once no frame is left, in its own hands or in others'.
pub fn finish<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>) {
    if domain.state.lock().life == Life::Dead
        && domain.memory.total_frames() == 0
        && domain.memory.special.load(Ordering::Acquire) == 0
    {
        hv.domains.remove(domain);
    }
}
