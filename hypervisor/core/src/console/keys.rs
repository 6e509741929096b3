//! Debug keys: single letters that make the hypervisor describe itself, typed on the serial line
//! or sent with `xm debug-keys`.

use alloc::sync::Arc;

use oxen_abi::arch_x86::CpuUserRegs;
use oxen_abi::xen::VIRQ_DEBUG;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::audit;
use crate::percpu::{Pending, PerCpu};
use crate::sync::atomic::Ordering;
use crate::types::{CpuId, DomId, Mfn};
use crate::vcpu::{Paused, Vcpu};

/// A key and what it does.
struct Key<M: Machine> {
    key: u8,
    what: &'static str,
    run: fn(&'static Hypervisor<M>),
}

/// All keys.
fn table<M: Machine>() -> [Key<M>; 12] {
    [
        Key {
            key: b'0',
            what: "registers of dom0",
            run: dom0_registers,
        },
        Key {
            key: b'a',
            what: "timers",
            run: timers,
        },
        Key {
            key: b'h',
            what: "list the keys",
            run: help,
        },
        Key {
            key: b'd',
            what: "registers of all vCPUs",
            run: registers,
        },
        Key {
            key: b'e',
            what: "event channels",
            run: event_channels,
        },
        Key {
            key: b'm',
            what: "memory",
            run: memory,
        },
        Key {
            key: b'o',
            what: "recount the types of all frames",
            run: |hv| crate::meeting::call(hv, recount),
        },
        Key {
            key: b'q',
            what: "domains and their vCPUs",
            run: domains,
        },
        Key {
            key: b'r',
            what: "run queues",
            run: run_queues,
        },
        Key {
            key: b'C',
            what: "crash the hypervisor",
            run: crash,
        },
        Key {
            key: b'W',
            what: "hang this CPU (only with the boot option watchdog, to see it work)",
            run: hang,
        },
        Key {
            key: b'R',
            what: "reboot the machine",
            run: reboot,
        },
    ]
}

/// Does what a key stands for; an unknown one is answered with a hint.
pub fn press<M: Machine>(hv: &'static Hypervisor<M>, key: u8) {
    match table::<M>().into_iter().find(|entry| entry.key == key) {
        Some(entry) => {
            crate::log_always!(hv, "'{}' pressed -> {}", char::from(key), entry.what);
            (entry.run)(hv);
        }
        None => crate::log_always!(hv, "Key {:#x} has no meaning; 'h' lists the keys", key),
    }
}

fn help<M: Machine>(hv: &'static Hypervisor<M>) {
    for entry in table::<M>() {
        crate::log_always!(hv, " key '{}': {}", char::from(entry.key), entry.what);
    }
}

fn dom0_registers<M: Machine>(hv: &'static Hypervisor<M>) {
    if let Some(dom0) = hv.dom0.get() {
        of_domain(hv, dom0);
    }
}

fn registers<M: Machine>(hv: &'static Hypervisor<M>) {
    for domain in hv.domains.from(DomId::DOM0) {
        of_domain(hv, &domain);
    }
}

/// Prints the saved registers of the vCPUs that do not run, and has those that do printed by their
/// CPUs, on which alone they are.
fn of_domain<M: Machine>(hv: &'static Hypervisor<M>, domain: &Domain<M>) {
    for vcpu in domain.vcpus.read().iter() {
        if vcpu.sched.is_running() {
            let cpu = vcpu.sched.cpu();
            hv.cpu(cpu)
                .pending
                .fetch_or(Pending::REGISTERS.bits(), Ordering::AcqRel);
            hv.machine.kick(cpu);
            continue;
        }
        // A vCPU whose lock is taken is being worked on; waiting for it here could be for ever.
        match vcpu.arch.try_lock() {
            Some(arch) => print_registers(hv, vcpu, &arch.regs, arch.kernel_root),
            None => crate::log_always!(hv, "d{}v{}: busy", domain.id.0, vcpu.id.0),
        }
    }
}

/// Prints the registers of the vCPU that runs on this CPU ([`Pending::REGISTERS`]).
pub(crate) fn running_registers<M: Machine>(cpu: &PerCpu<M>, regs: &CpuUserRegs) {
    let vcpu = cpu.current();
    if !Arc::ptr_eq(&vcpu, &cpu.idle) {
        let root = vcpu.arch.try_lock().and_then(|arch| arch.kernel_root);
        crate::log_always!(cpu.hv, "CPU {}:", cpu.id.0);
        print_registers(cpu.hv, &vcpu, regs, root);
    }
}

fn print_registers<M: Machine>(
    hv: &Hypervisor<M>,
    vcpu: &Vcpu<M>,
    r: &CpuUserRegs,
    root: Option<Mfn>,
) {
    crate::log_always!(
        hv,
        "d{}v{}: rip {:016x} rsp {:016x} rflags {:08x} cs {:04x} ss {:04x}",
        vcpu.domain.id.0,
        vcpu.id.0,
        r.rip,
        r.rsp,
        r.rflags,
        r.cs,
        r.ss
    );
    for [(a, x), (b, y), (c, z), (d, w)] in [
        [
            ("rax", r.rax),
            ("rbx", r.rbx),
            ("rcx", r.rcx),
            ("rdx", r.rdx),
        ],
        [
            ("rsi", r.rsi),
            ("rdi", r.rdi),
            ("rbp", r.rbp),
            ("r8 ", r.r8),
        ],
        [
            ("r9 ", r.r9),
            ("r10", r.r10),
            ("r11", r.r11),
            ("r12", r.r12),
        ],
        [
            ("r13", r.r13),
            ("r14", r.r14),
            ("r15", r.r15),
            ("cr3", root.map_or(0, |root| root.address())),
        ],
    ] {
        crate::log_always!(hv, "  {a} {x:016x} {b} {y:016x} {c} {z:016x} {d} {w:016x}");
    }
}

/// Nothing more happens on this CPU, until the watchdog finds it.
fn hang<M: Machine>(hv: &'static Hypervisor<M>) {
    if hv.options.watchdog {
        loop {
            core::hint::spin_loop();
        }
    }
    crate::log_always!(hv, "The watchdog is not on");
}

fn memory<M: Machine>(hv: &'static Hypervisor<M>) {
    let free = hv.heap.free_frames();
    crate::log_always!(
        hv,
        "{} MiB of RAM, {} MiB ({free} frames) free",
        hv.host.total_frames >> 8,
        free >> 8
    );
    for domain in hv.domains.from(DomId::DOM0) {
        crate::log_always!(
            hv,
            " d{}: {} frames, at most {}, {} shared by the hypervisor",
            domain.id.0,
            domain.memory.total_frames(),
            domain.memory.max.load(Ordering::Relaxed),
            domain.memory.special.load(Ordering::Relaxed)
        );
    }
}

/// Compares what the frame table says with what page tables, pins and vCPUs refer to.
fn recount<M: Machine>(cpu: &PerCpu<M>) {
    let hv = cpu.hv;
    let Some(result) = audit::recount_all(cpu) else {
        crate::log_always!(hv, "Not enough free memory to recount types");
        return;
    };
    for wrong in &result.first {
        crate::log_always!(
            hv,
            " frame {:#x}: {:?} with {} type references, {} counted",
            wrong.frame.0,
            wrong.found.kind(),
            wrong.found.count(),
            wrong.counted
        );
    }
    let (tables, wrong) = (result.tables, result.wrong);
    crate::log_always!(
        hv,
        "{tables} page tables; {wrong} frames with a wrong count"
    );
}

fn domains<M: Machine>(hv: &'static Hypervisor<M>) {
    for domain in hv.domains.from(DomId::DOM0) {
        crate::log_always!(
            hv,
            "d{}: {} pause count {}{}",
            domain.id.0,
            if domain.privileged { "privileged," } else { "" },
            domain.pause_count.load(Ordering::Relaxed),
            if domain.is_dying() { ", dying" } else { "" }
        );
        for vcpu in domain.vcpus.read().iter() {
            let paused = Paused::from_bits_truncate(vcpu.paused.load(Ordering::Relaxed));
            crate::log_always!(
                hv,
                "  v{}: {}{}{} pause count {}, {} mode",
                vcpu.id.0,
                if paused.contains(Paused::DOWN) {
                    "down"
                } else {
                    "up"
                },
                if paused.contains(Paused::BLOCKED) {
                    ", blocked"
                } else {
                    ""
                },
                if paused.contains(Paused::POLLING) {
                    ", polling"
                } else {
                    ""
                },
                vcpu.pause_count.load(Ordering::Relaxed),
                if vcpu.kernel_mode.load(Ordering::Relaxed) {
                    "kernel"
                } else {
                    "user"
                }
            );
        }
        // The guest's kernel may have something to say as well.
        for vcpu in domain.each_vcpu() {
            crate::event::send_virq(hv, &vcpu, VIRQ_DEBUG, CpuId(u16::MAX));
        }
    }
}

fn event_channels<M: Machine>(hv: &'static Hypervisor<M>) {
    for domain in hv.domains.from(DomId::DOM0) {
        crate::log_always!(hv, "d{}:", domain.id.0);
        domain
            .events
            .describe(&hv.machine, &mut |line| crate::log_always!(hv, "{line}"));
    }
}

/// What each CPU's timer is set to, and the vCPUs' timers on it.
fn timers<M: Machine>(hv: &'static Hypervisor<M>) {
    let now = hv.machine.now();
    crate::log_always!(hv, "Timers, system time {now} ns");
    for cpu in hv.machine.cpus().iter() {
        crate::log_always!(hv, " CPU {}:", cpu.0);
        for (deadline, kind, domain, vcpu) in hv.cpu(cpu).timers.snapshot() {
            let away = deadline.cast_signed().wrapping_sub(now.cast_signed());
            crate::log_always!(hv, "  d{}v{} {kind:?} in {away} ns", domain.0, vcpu.0);
        }
    }
}

fn run_queues<M: Machine>(hv: &'static Hypervisor<M>) {
    let now = hv.machine.now();
    crate::log_always!(hv, "Credit scheduler, system time {now} ns");
    for cpu in hv.machine.cpus().iter() {
        let shared = hv.cpu(cpu);
        let idle = if shared.out_of_service.load(Ordering::Relaxed) {
            ", out of service"
        } else if shared.idling.load(Ordering::Relaxed) {
            ", idle"
        } else {
            ""
        };
        let waiting = shared.run_queue.snapshot();
        crate::log_always!(hv, " CPU {}{idle}: {} waiting", cpu.0, waiting.len());
        for vcpu in waiting {
            crate::log_always!(
                hv,
                "  d{}v{}: {:?}, {} credits",
                vcpu.domain.id.0,
                vcpu.id.0,
                vcpu.sched.priority(),
                vcpu.sched.credits()
            );
        }
    }
    for domain in hv.domains.from(DomId::DOM0) {
        for vcpu in domain
            .vcpus
            .read()
            .iter()
            .filter(|vcpu| vcpu.sched.is_running())
        {
            let (domain, id) = (domain.id.0, vcpu.id.0);
            crate::log_always!(hv, " d{domain}v{id} runs on CPU {}", vcpu.sched.cpu().0);
        }
    }
}

fn crash<M: Machine>(_: &'static Hypervisor<M>) {
    panic!("the debug key 'C' was pressed");
}

fn reboot<M: Machine>(hv: &'static Hypervisor<M>) {
    hv.machine.reboot();
}
