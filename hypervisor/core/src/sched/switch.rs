//! Choosing who runs next on a CPU, and the switch to it.

use alloc::sync::Arc;
use core::cell::Cell;

use oxen_abi::arch_x86::CpuUserRegs;
use oxen_abi::vcpu::{RUNSTATE_BLOCKED, RUNSTATE_OFFLINE, RUNSTATE_RUNNABLE, RUNSTATE_RUNNING};

use crate::machine::Machine;
use crate::mm::{shadow, tlb};
use crate::percpu::{Cx, Pending, PerCpu};
use crate::sched::account;
use crate::sched::credit::{self, Priority};
use crate::sched::wake::{choose_cpu, is_runnable};
use crate::sync::atomic::Ordering;
use crate::types::{CpuId, DomId, VcpuId};
use crate::vcpu::{Paused, Vcpu};

/// What a CPU's scheduler keeps to itself.
#[derive(Debug, Default)]
pub struct CpuSched {
    /// When the running vCPU's burning of credits was last counted.
    counted: Cell<u64>,
    /// When the running vCPU's turn ends.
    pub(super) slice_end: Cell<u64>,
    /// Deadline that the CPU's timer is set to; 0 = off.
    programmed: Cell<u64>,
    /// The running vCPU gives way to others of its priority.
    pub(super) yielded: Cell<bool>,
    /// The vCPU that ran last, idle ones left out.
    guest: Cell<Option<(DomId, VcpuId)>>,
}

/// Whether [`work`] has anything to do before the running vCPU goes on. For an idle CPU it has.
#[inline]
pub fn is_due<M: Machine>(cpu: &PerCpu<M>) -> bool {
    let vcpu = cpu.current.borrow();
    cpu.shared().pending.load(Ordering::Acquire) != 0 || !is_runnable(&vcpu) || is_idle(cpu, &vcpu)
}

/// Does a CPU's pending work (softirqs), and switches vCPUs if that is due.
pub fn work<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs) {
    loop {
        let bits = if cpu.has_work() {
            cpu.shared().pending.swap(0, Ordering::AcqRel)
        } else {
            0
        };
        let mut pending = Pending::from_bits_truncate(bits);
        if pending.contains(Pending::STOP) {
            cpu.hv.machine.halt();
        }
        if pending.contains(Pending::REGISTERS) {
            crate::console::keys::running_registers(cpu, regs);
        }
        if pending.contains(Pending::MEET) {
            crate::meeting::attend(cpu);
        }
        let timer = pending.contains(Pending::TIMER);
        if pending.contains(Pending::MEMORY) || timer && cpu.hv.growth.is_short() {
            crate::mm::growth::refill(cpu);
        }
        if pending.contains(Pending::NEWS) {
            crate::console::announce(cpu.hv);
        }
        if timer {
            cpu.sched.programmed.set(0);
            crate::time::expire(cpu);
            if cpu.hv.machine.now() >= cpu.sched.slice_end.get() {
                pending |= Pending::SCHEDULE;
            }
        }
        let chooses = pending.contains(Pending::SCHEDULE) || !is_runnable(&cpu.current.borrow());
        if chooses {
            schedule(cpu, regs);
        }
        if chooses || !pending.is_empty() {
            program_timer(cpu);
        }
        if cpu.shared().pending.load(Ordering::Acquire) == 0 {
            return;
        }
    }
}

/// Sets this CPU's timer to the next thing that is due.
fn program_timer<M: Machine>(cpu: &PerCpu<M>) {
    let timer = crate::time::next_deadline(cpu).unwrap_or(u64::MAX);
    let slice = if is_idle(cpu, &cpu.current.borrow()) {
        u64::MAX
    } else {
        cpu.sched.slice_end.get()
    };
    let deadline = timer.min(slice);
    let deadline = if deadline == u64::MAX {
        0
    } else {
        deadline.max(1)
    };
    // A timer that comes too early does no harm, and to set it anew with each switch costs more than that.
    let programmed = cpu.sched.programmed.get();
    if deadline != 0 && programmed != 0 && programmed <= deadline {
        return;
    }
    if cpu.sched.programmed.replace(deadline) != deadline {
        cpu.hv
            .machine
            .set_deadline(if deadline == 0 { None } else { Some(deadline) });
    }
}

/// A timer was armed on this CPU: the hardware must not come later than it.
pub fn deadline_moved<M: Machine>(cpu: &PerCpu<M>, deadline: u64) {
    let programmed = cpu.sched.programmed.get();
    if programmed == 0 || deadline < programmed {
        cpu.sched.programmed.set(deadline);
        cpu.hv.machine.set_deadline(Some(deadline));
    }
}

pub(super) fn is_idle<M: Machine>(cpu: &PerCpu<M>, vcpu: &Arc<Vcpu<M>>) -> bool {
    Arc::ptr_eq(vcpu, &cpu.idle)
}

/// Counts the credits that the running vCPU has burnt.
fn burn<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>, now: u64) {
    let cost = credit::cost(now.saturating_sub(cpu.sched.counted.get()));
    if cost > 0 {
        cpu.sched.counted.set(now);
        let left = vcpu
            .sched
            .credits
            .fetch_sub(cost, Ordering::Relaxed)
            .saturating_sub(cost);
        if left < 0 && vcpu.sched.priority() != Priority::Parked {
            vcpu.sched.set_priority(Priority::Over);
        }
    }
}

fn schedule<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs) {
    let now = cpu.hv.machine.now();
    let waits = is_runnable(&cpu.current.borrow());
    if let Some(next) = choose(cpu, waits, now) {
        switch(cpu, regs, next, waits, now);
    }
}

/// The vCPU to go over to; `None` if the running one stays. `waits` says whether that can run.
fn choose<M: Machine>(cpu: &PerCpu<M>, waits: bool, now: u64) -> Option<Arc<Vcpu<M>>> {
    let prev = cpu.current.borrow();
    let idling = is_idle(cpu, &prev);
    let yielded = cpu.sched.yielded.replace(false);
    if !idling {
        burn(cpu, &prev, now);
        if prev.sched.priority() == Priority::Boost && now >= cpu.sched.slice_end.get() {
            prev.sched.set_priority(Priority::Under);
        }
    }
    account::maybe_account(cpu, now);

    if cpu.shared().out_of_service.load(Ordering::Acquire) {
        send_away(cpu);
        return (!idling).then(|| Arc::clone(&cpu.idle));
    }
    let stays =
        !idling && waits && prev.sched.allows(cpu.id) && prev.sched.priority() != Priority::Parked;
    let next = if stays {
        let level = yielded || now >= cpu.sched.slice_end.get();
        // Whoever yields lets anyone go first, once.
        let than = if yielded {
            Priority::Over
        } else {
            prev.sched.priority()
        };
        take(cpu, than, level).or_else(|| {
            (than == Priority::Over)
                .then(|| steal(cpu, Priority::Under))
                .flatten()
        })
    } else {
        take(cpu, Priority::Over, true).or_else(|| steal(cpu, Priority::Over))
    };
    if next.is_none() && stays && now >= cpu.sched.slice_end.get() {
        cpu.sched.slice_end.set(now + credit::SLICE);
    }
    next.or_else(|| (!stays && !idling).then(|| Arc::clone(&cpu.idle)))
}

/// Nobody waits on a CPU that is out of service. Who comes meanwhile raises another look.
fn send_away<M: Machine>(cpu: &PerCpu<M>) {
    let queue = &cpu.shared().run_queue;
    for _ in 0..queue.len() {
        if let Some(vcpu) = queue.drain(cpu.id) {
            put_off(cpu, vcpu, false);
        }
    }
}

/// Takes a runnable vCPU off this CPU's queue.
fn take<M: Machine>(cpu: &PerCpu<M>, than: Priority, level: bool) -> Option<Arc<Vcpu<M>>> {
    loop {
        let vcpu = cpu.shared().run_queue.pop(cpu.id, than, level)?;
        if is_runnable(&vcpu) {
            return Some(vcpu);
        }
        put_off(cpu, vcpu, false);
    }
}

/// Takes a runnable vCPU off another CPU's queue, the fullest neighbours first come.
fn steal<M: Machine>(cpu: &PerCpu<M>, than: Priority) -> Option<Arc<Vcpu<M>>> {
    let count = u16::try_from(cpu.hv.cpu_count()).unwrap_or(u16::MAX);
    let others = (1..count).map(|n| CpuId((cpu.id.0 + n) % count));
    for other in others {
        if let Some(vcpu) = cpu.hv.cpu(other).run_queue.pop(cpu.id, than, true) {
            if is_runnable(&vcpu) {
                return Some(vcpu);
            }
            put_off(cpu, vcpu, false);
        }
    }
    None
}

/// A vCPU leaves this CPU (or was taken off a queue in vain): it is queued again if it can run,
/// else it is off until someone wakes it. `considered` says that it could run already before this CPU chose another one,
/// which then need not choose anew.
fn put_off<M: Machine>(cpu: &PerCpu<M>, vcpu: Arc<Vcpu<M>>, considered: bool) {
    if !vcpu.sched.leave(|| is_runnable(&vcpu)) {
        return;
    }
    let out = cpu.shared().out_of_service.load(Ordering::Acquire);
    let to = if vcpu.sched.allows(cpu.id) && !out {
        cpu.id
    } else {
        choose_cpu(cpu.hv, &vcpu)
    };
    vcpu.sched.set_cpu(to);
    cpu.hv.cpu(to).run_queue.push(vcpu);
    if to != cpu.id {
        cpu.hv.raise(to, Pending::SCHEDULE, cpu.id);
    } else {
        if !considered {
            cpu.shared()
                .pending
                .fetch_or(Pending::SCHEDULE.bits(), Ordering::AcqRel);
        }
        tickle_idle(cpu);
    }
}

/// Someone waits here: a CPU that idles may come and take him.
fn tickle_idle<M: Machine>(cpu: &PerCpu<M>) {
    let idle = cpu
        .hv
        .serving()
        .iter()
        .find(|other| *other != cpu.id && cpu.hv.cpu(*other).idling.load(Ordering::Acquire));
    if let Some(idle) = idle {
        cpu.hv.raise(idle, Pending::SCHEDULE, cpu.id);
    }
}

/// Goes over to another vCPU. `waits` says that the one that leaves could run when the other was chosen; it may be woken
/// later, and then this CPU chooses once more.
fn switch<M: Machine>(
    cpu: &PerCpu<M>,
    regs: &mut CpuUserRegs,
    next: Arc<Vcpu<M>>,
    waits: bool,
    now: u64,
) {
    // Moved, not cloned: a switch need not count references.
    let prev = cpu.current.replace(next);
    let from_idle = is_idle(cpu, &prev);
    if from_idle {
        cpu.shared().idle_time.end(now);
    } else {
        save(cpu, regs, &prev, waits, now);
    }
    let next = cpu.current.borrow();
    let next = &*next;
    cpu.info.set(crate::event::info(&cpu.hv.machine, next));
    cpu.sched.counted.set(now);
    cpu.sched.slice_end.set(now + credit::SLICE);
    if is_idle(cpu, next) {
        cpu.shared().idle_time.begin(now);
        // Nothing of the guest stays reachable from this CPU.
        cpu.hv.machine.map_gdt(&[]);
        cpu.hv.machine.set_ldt(0);
        tlb::flushed_by(cpu, || shadow::load_no_root(cpu));
    } else {
        load(cpu, regs, next, now);
    }
    if !from_idle {
        if !Arc::ptr_eq(&prev.domain, &next.domain) {
            prev.domain.clear_dirty(cpu.id);
        }
        // From here on another CPU may take it.
        put_off(cpu, prev, waits);
    }
}

/// Keeps the state of a vCPU that leaves; `waits` for a CPU, or for something else.
fn save<M: Machine>(
    cpu: &PerCpu<M>,
    regs: &CpuUserRegs,
    vcpu: &Arc<Vcpu<M>>,
    waits: bool,
    now: u64,
) {
    let machine = &cpu.hv.machine;
    let paused = Paused::from_bits_truncate(vcpu.paused.load(Ordering::Acquire));
    let state = if waits {
        RUNSTATE_RUNNABLE
    } else if paused.contains(Paused::BLOCKED) && !paused.contains(Paused::DOWN) {
        RUNSTATE_BLOCKED
    } else {
        RUNSTATE_OFFLINE
    };
    crate::time::change_runstate(machine, vcpu, state, now);
    let mut arch = vcpu.arch.lock();
    arch.regs = *regs;
    machine.save_segments(&mut arch.segments);
    machine.save_fpu(&mut arch.fpu);
    if arch.debug[7] & 0xff != 0 {
        // What DR6 has reported is in `debug` already, for the guest to read; the register has nothing.
        machine.load_debug(&[0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400]);
    }
}

fn load<M: Machine>(cpu: &PerCpu<M>, regs: &mut CpuUserRegs, vcpu: &Arc<Vcpu<M>>, now: u64) {
    let machine = &cpu.hv.machine;
    let guest = Some((vcpu.domain.id, vcpu.id));
    if cpu.sched.guest.replace(guest) != guest {
        machine.change_guest(vcpu.domain.privileged);
    }
    vcpu.domain.mark_dirty(cpu.id);
    let cx = Cx {
        hv: cpu.hv,
        cpu,
        vcpu,
    };
    let (root, segments, tsc_aux) = {
        let arch = vcpu.arch.lock();
        *regs = arch.regs;
        crate::mm::descriptor::load_gdt(&cx, &arch);
        machine.set_ldt(arch.ldt.1);
        for (index, page) in arch.ldt_pages.iter().enumerate() {
            if let Some(mfn) = page {
                machine.map_ldt_page(index, *mfn);
            }
        }
        machine.load_fpu(&arch.fpu);
        machine.set_ts(arch.ts);
        machine.set_guest_cr4(arch.cr4);
        if arch.debug[7] & 0xff != 0 {
            machine.load_debug(&arch.debug);
        }
        let kernel = vcpu.kernel_mode.load(Ordering::Relaxed);
        let root = if kernel {
            arch.kernel_root
        } else {
            arch.user_root.or(arch.kernel_root)
        };
        (root, arch.segments, arch.traps.tsc_aux)
    };
    tlb::flushed_by(cpu, || shadow::load_root(cpu, &vcpu.domain, root));
    // Descriptors are read through the new address space.
    if let Err(crate::error::Stop::Crash(reason)) = crate::trap::load_segments(&cx, regs, &segments)
    {
        crate::domain::crash(&cx, reason);
    }
    machine.wrmsr(crate::trap::TSC_AUX, u64::from(tsc_aux));
    crate::time::change_runstate(machine, vcpu, RUNSTATE_RUNNING, now);
    crate::time::publish(cpu.hv, vcpu, false);
    crate::time::start_tick(cpu, vcpu, now);
}
