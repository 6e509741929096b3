//! The copy's side: two vCPUs make calls and say after each how far they are.

use core::sync::atomic::{AtomicU64, Ordering};

use oxen_abi::Errno;
use oxen_abi::hypercall::{HYPERVISOR_SCHED_OP, HYPERVISOR_VCPU_OP};
use oxen_abi::sched::{SCHEDOP_BLOCK, SCHEDOP_YIELD};
use oxen_abi::vcpu::{VCPUOP_INITIALISE, VCPUOP_REGISTER_VCPU_INFO, VCPUOP_UP};

use super::material::{Material, PLAY};
use super::{calls, finale, lateness};
use crate::cmdline::CommandLine;
use crate::conformance::Table;
use crate::println;
use crate::rng::Rng;
use crate::sys::frame::{self, Frame};
use crate::sys::{self, hypercall, probe, shared, vcpu};
use crate::{pagetable, pagetable::RO};

/// Words of the shared page: the copy's number, which dom0 writes.
pub(super) const DOMAIN: usize = 0;
/// The worst lateness of the timer in nanoseconds, and how often it was measured.
pub(super) const LATE: usize = 2;
/// For each vCPU: how many calls were sent, the last one's number, its arguments.
pub(super) const SENT: [usize; 2] = [16, 32];
/// Counts of results: done, then the errors of [`COUNTED`], then all others.
pub(super) const RESULTS: usize = 64;
/// The errors that are counted one by one.
pub(super) const COUNTED: [Errno; 5] = [
    Errno::EFAULT,
    Errno::EINVAL,
    Errno::ENOSYS,
    Errno::EPERM,
    Errno::ESRCH,
];

/// The command that has the second vCPU make calls.
pub(crate) const COMMAND: u64 = 3;

/// What the first vCPU leaves for the second.
static PLACES: AtomicU64 = AtomicU64::new(0);
static GRANTS: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The pages beside the play frames.
const READ_ONLY: u64 = PLAY as u64;
const EDGE: u64 = READ_ONLY + 1;
const NOTHING: u64 = EDGE + 1;

/// Takes the frames that both vCPUs play with. They follow each other.
fn prepare(line: &CommandLine<'_>) {
    let first = Frame::new();
    let frames: [Frame; PLAY + 2] = core::array::from_fn(|_| Frame::new());
    for (at, frame) in (1..).zip(frames) {
        let _ = match at {
            // Half of them may become tables at once.
            READ_ONLY => pagetable::make_read_only(frame),
            NOTHING => pagetable::update_va(frame.address(), 0),
            _ if at % 2 == 0 => pagetable::update_va(frame.address(), frame.mfn() << 12 | RO),
            _ => Ok(0),
        };
    }
    PLACES.store(first.address(), Ordering::SeqCst);
    if let Ok(table) = Table::new() {
        GRANTS.store(table.address(), Ordering::SeqCst);
    }
    SEED.store(line.number("seed", 1), Ordering::SeqCst);
    COUNT.store(line.number("count", 1000), Ordering::SeqCst);
}

/// What the calls of a vCPU are made of.
fn material(buffers: &[Frame; 4], domain: u64) -> Material {
    let first = PLACES.load(Ordering::SeqCst);
    let places: [u64; PLAY] = core::array::from_fn(|at| first + at as u64 * frame::PAGE_SIZE);
    let info = sys::start_info();
    Material {
        buffers: buffers.map(Frame::address),
        frames: places.map(|place| Frame::at(place).map_or(0, Frame::mfn)),
        places,
        entries: places.map(|place| pagetable::entry(place, 1).map_or(0, |entry| entry.machine)),
        read_only: first + READ_ONLY * frame::PAGE_SIZE,
        edge: first + EDGE * frame::PAGE_SIZE,
        grants: GRANTS.load(Ordering::SeqCst),
        domain,
        foreign: [info.shared_info >> 12, 0x8000, 0x100, 1],
        root: probe::read_cr3().unwrap_or(0) >> 12,
    }
}

/// How a vCPU takes part.
#[derive(Clone, Copy)]
struct Role {
    vcpu: usize,
    /// Events come in while it makes its calls.
    listens: bool,
    /// How late its timer comes is measured.
    measures: bool,
}

/// Makes `count` calls.
fn make_calls(role: Role, seed: u64, count: u64) {
    let (Some(page), Some(&sent)) = (shared::own_store(), SENT.get(role.vcpu)) else {
        println!("ERROR the fuzzer has no page to share");
        return;
    };
    let mut rng = Rng::new(seed);
    let mut buffers: [Frame; 4] = core::array::from_fn(|_| Frame::new());
    let mut material = material(&buffers, page[DOMAIN].load(Ordering::SeqCst));
    while page[sent].load(Ordering::Relaxed) < count {
        let plan = calls::next(&material, &mut rng);
        // Where events come in, the page in which they are announced stays where it is.
        if (role.listens || role.measures) && moves_vcpu_info(&plan.call) {
            continue;
        }
        for &(address, value) in plan.words() {
            write(address, value, &mut buffers, &mut material);
        }
        page[sent + 1].store(plan.call.number, Ordering::Relaxed);
        for (slot, arg) in page[sent + 2..].iter().zip(plan.call.args) {
            slot.store(arg, Ordering::Relaxed);
        }
        if role.measures {
            lateness::begin();
        }
        let raw = hypercall::raw(plan.call.number, plan.call.args);
        if role.measures {
            lateness::end(page);
        }
        page[RESULTS + kind(hypercall::decode(raw))].fetch_add(1, Ordering::Relaxed);
        page[sent].fetch_add(1, Ordering::Relaxed);
    }
}

fn moves_vcpu_info(call: &calls::Call) -> bool {
    call.number & 0xffff_ffff == HYPERVISOR_VCPU_OP
        && call.args[0] & 0xffff_ffff == u64::from(VCPUOP_REGISTER_VCPU_INFO)
}

/// Where a result is counted.
fn kind(result: hypercall::Result) -> usize {
    match result {
        Ok(_) => 0,
        Err(error) => COUNTED
            .iter()
            .position(|&counted| counted == error)
            .map_or(COUNTED.len() + 1, |at| at + 1),
    }
}

/// Writes a word. A call may have taken a buffer away; it is replaced then.
fn write(address: u64, value: u64, buffers: &mut [Frame; 4], material: &mut Material) {
    if frame::is_rust_memory(address) || probe::write(address, value).is_ok() {
        return;
    }
    for (buffer, noted) in buffers.iter_mut().zip(&mut material.buffers) {
        if buffer.address() == address & !0xfff
            && let Some(frame) = Frame::take()
        {
            *buffer = frame;
            *noted = frame.address();
        }
    }
}

/// Starts the second vCPU; whether there is one.
fn start_second() -> bool {
    let Ok(mut context) = vcpu::context() else {
        return false;
    };
    let op = |command: u32, address: u64| {
        hypercall::call(HYPERVISOR_VCPU_OP, [u64::from(command), 1, address])
    };
    vcpu::COMMAND.store(COMMAND, Ordering::SeqCst);
    op(VCPUOP_INITIALISE, hypercall::address(&mut context)).is_ok() && op(VCPUOP_UP, 0).is_ok()
}

/// The first vCPU's side: sends its share of the `count=` calls from `seed=`.
pub(crate) fn send(line: &CommandLine<'_>) {
    prepare(line);
    let two = start_second();
    let (seed, count) = (SEED.load(Ordering::SeqCst), COUNT.load(Ordering::SeqCst));
    let role = Role {
        vcpu: 0,
        listens: seed.is_multiple_of(4),
        measures: line.flag("late"),
    };
    if role.listens
        && let Some(info) = shared::vcpu_info(0)
    {
        info.upcall_mask.store(0, Ordering::SeqCst);
    }
    let share = if two { count - count / 2 } else { count };
    make_calls(role, seed.wrapping_mul(2), share);
    // The second one may be behind.
    if let (true, Some(page)) = (two, shared::own_store()) {
        while page[SENT[1]].load(Ordering::Relaxed) < count / 2 {
            let _ = hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_YIELD), 0]);
        }
    }
    finale::run(&mut Rng::new(seed));
}

/// The second vCPU's side: its share, then it sleeps.
pub(crate) fn second() {
    let role = Role {
        vcpu: 1,
        listens: false,
        measures: false,
    };
    let seed = SEED.load(Ordering::SeqCst);
    make_calls(
        role,
        seed.wrapping_mul(2).wrapping_add(1),
        COUNT.load(Ordering::SeqCst) / 2,
    );
    vcpu::COMMAND.store(1, Ordering::SeqCst);
    let _ = hypercall::call(HYPERVISOR_SCHED_OP, [u64::from(SCHEDOP_BLOCK), 0]);
}
