//! Debug keys: single letters that make the hypervisor describe itself, typed on the serial line
//! or sent with `xm debug-keys`.

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sync::atomic::Ordering;
use crate::types::DomId;
use crate::vcpu::Paused;

/// A key and what it does.
struct Key<M: Machine> {
    key: u8,
    what: &'static str,
    run: fn(&'static Hypervisor<M>),
}

/// All keys.
fn table<M: Machine>() -> [Key<M>; 9] {
    [
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
            what: "registers of vCPUs that do not run",
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

fn registers<M: Machine>(hv: &'static Hypervisor<M>) {
    for domain in hv.domains.from(DomId::DOM0, usize::MAX) {
        for vcpu in domain.vcpus.read().iter() {
            // A vCPU whose lock is taken is being worked on; waiting for it here could be for ever.
            let Some(arch) = vcpu.arch.try_lock() else {
                crate::log_always!(hv, "d{}v{}: busy", domain.id.0, vcpu.id.0);
                continue;
            };
            crate::log_always!(hv, "d{}v{}: as last saved", domain.id.0, vcpu.id.0);
            let r = &arch.regs;
            crate::log_always!(
                hv,
                "  rip {:016x} rsp {:016x} rflags {:08x} cs {:04x} ss {:04x}",
                r.rip,
                r.rsp,
                r.rflags,
                r.cs,
                r.ss
            );
            crate::log_always!(
                hv,
                "  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}",
                r.rax,
                r.rbx,
                r.rcx,
                r.rdx
            );
            crate::log_always!(
                hv,
                "  rsi {:016x} rdi {:016x} rbp {:016x} cr3 {:x}",
                r.rsi,
                r.rdi,
                r.rbp,
                arch.kernel_root.map_or(0, |root| root.address())
            );
        }
    }
}

fn memory<M: Machine>(hv: &'static Hypervisor<M>) {
    let free = hv.heap.free_frames();
    crate::log_always!(
        hv,
        "{} MiB of RAM, {} MiB ({free} frames) free",
        hv.host.total_frames >> 8,
        free >> 8
    );
    for domain in hv.domains.from(DomId::DOM0, usize::MAX) {
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

fn domains<M: Machine>(hv: &'static Hypervisor<M>) {
    for domain in hv.domains.from(DomId::DOM0, usize::MAX) {
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
    }
}

fn event_channels<M: Machine>(hv: &'static Hypervisor<M>) {
    for domain in hv.domains.from(DomId::DOM0, usize::MAX) {
        crate::log_always!(hv, "d{}:", domain.id.0);
        domain.events.describe(&hv.machine, &domain, &mut |line| {
            crate::log_always!(hv, "{line}")
        });
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
        let idle = if shared.idling.load(Ordering::Relaxed) {
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
    for domain in hv.domains.from(DomId::DOM0, usize::MAX) {
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
