//! Loading an update on all CPUs while no guest runs.
//!
//! One CPU begins; if the processor refuses, the others do not try. Then each core loads it by one of its threads, all cores
//! at once, while their other threads wait. These come last: on Intel's processors they have it already, on AMD's they load
//! it too.

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;

use oxen_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Found, LONGEST, Processor, Vendor, choose};
use crate::error::Stop;
use crate::guest::GuestHandle;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::meeting;
use crate::percpu::{Cx, PerCpu};
use crate::sync::Mutex;
use crate::types::{CpuId, DomId, VcpuId};

/// The least number of bytes behind an update's first: a processor that takes it for a longer one finds zeros.
const ROOM: usize = 16 << 10;

/// Processors want updates at a multiple of 16 bytes.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
#[repr(C, align(16))]
struct Chunk([u8; 16]);

/// An update that is to be loaded.
struct Patch {
    vendor: Vendor,
    revision: u32,
    chunks: Vec<Chunk>,
}

impl Patch {
    /// How many chunks an update takes.
    fn chunks(found: &Found<'_>) -> usize {
        found.bytes.len().max(ROOM).div_ceil(size_of::<Chunk>())
    }

    /// Puts an update into `chunks`, which is empty and has room for it.
    fn new(vendor: Vendor, found: &Found<'_>, mut chunks: Vec<Chunk>) -> Self {
        chunks.resize(Self::chunks(found), Chunk([0; 16]));
        let bytes = chunks.as_mut_slice().as_mut_bytes();
        for (to, from) in bytes.iter_mut().zip(found.bytes) {
            *to = *from;
        }
        Self {
            vendor,
            revision: found.revision,
            chunks,
        }
    }
}

/// The update that is being loaded, or was.
#[derive(Default)]
pub struct Microcode(Mutex<Option<Order>>);

struct Order {
    /// Who asked for it, and with which arguments: the same hypercall takes the outcome.
    caller: (DomId, VcpuId),
    request: (u64, u32),
    /// The meeting at which it is loaded.
    meeting: u64,
    patch: Arc<Patch>,
    /// How it went on the first CPU.
    began: Option<bool>,
    /// Cores that are still to load it.
    cores: usize,
    /// CPUs that have it, and that have not.
    loaded: usize,
    failed: usize,
}

impl Order {
    fn count(&mut self, loaded: bool) {
        if loaded {
            self.loaded += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// `microcode_update`: loads the newest update for this processor of the file at `data`.
///
/// The hypercall is restarted while the CPUs meet, and takes the outcome then. `EINVAL` for a processor that cannot be
/// updated, or a malformed file; `ENOMEM` for one longer than 2 MiB; `ENOENT` without an update for this processor,
/// `EEXIST` without a newer one than it has; `EIO` if the processor refuses it; `EBUSY` if the CPUs do not come together.
pub fn update<M: Machine>(cx: &Cx<'_, M>, arg: u64, data: u64, length: u32) -> Result<(), Stop> {
    let processor = Processor::of(cx.machine()).ok_or(Errno::EINVAL)?;
    let hv = cx.hv;
    let (caller, request) = ((cx.domain().id, cx.vcpu.id), (data, length));
    if let Some(order) = finished(hv, caller, request)? {
        return outcome(hv, &order);
    }
    let patch = fetch(cx, &processor, data, length)?;
    begin(hv, caller, request, patch)?;
    Err(Stop::Restart([arg, 0, 0, 0, 0, 0]))
}

/// Calls the CPUs to load it.
fn begin<M: Machine>(
    hv: &'static Hypervisor<M>,
    caller: (DomId, VcpuId),
    request: (u64, u32),
    patch: Patch,
) -> Result<(), Errno> {
    let mut slot = hv.microcode.0.lock();
    let meeting = meeting::call_all(hv, part).ok_or(Errno::EBUSY)?;
    *slot = Some(Order {
        caller,
        request,
        meeting,
        patch: Arc::new(patch),
        began: None,
        cores: hv
            .machine
            .cpus()
            .iter()
            .filter(|cpu| first_of_core(hv, *cpu) == *cpu)
            .count(),
        loaded: 0,
        failed: 0,
    });
    Ok(())
}

/// What the same call has begun. `EBUSY` while another one's is being loaded.
fn finished<M: Machine>(
    hv: &Hypervisor<M>,
    caller: (DomId, VcpuId),
    request: (u64, u32),
) -> Result<Option<Order>, Errno> {
    let mut slot = hv.microcode.0.lock();
    let own = match slot.as_ref() {
        None => false,
        Some(order) if !hv.meeting.is_over(order.meeting) => return Err(Errno::EBUSY),
        Some(order) => (order.caller, order.request) == (caller, request),
    };
    Ok(if own { slot.take() } else { None })
}

/// Copies the file and takes the update out of it.
fn fetch<M: Machine>(
    cx: &Cx<'_, M>,
    processor: &Processor,
    data: u64,
    length: u32,
) -> Result<Patch, Errno> {
    if length > LONGEST {
        return Err(Errno::ENOMEM);
    }
    let size = usize::try_from(length).map_err(|_| Errno::ENOMEM)?;
    let mut file = reserve(cx, size)?;
    file.resize(size, 0u8);
    cx.machine()
        .copy_from_guest(GuestHandle::<u8>::new(data).addr(), &mut file)
        .map_err(|_| Errno::EFAULT)?;
    let found = choose(&file, processor)?;
    if found.revision <= cx.machine().microcode_revision(processor.vendor) {
        return Err(Errno::EEXIST);
    }
    let chunks = reserve(cx, Patch::chunks(&found))?;
    Ok(Patch::new(processor.vendor, &found, chunks))
}

/// An empty list with room for `count` items. The byte heap finds large pieces at the second try only, once it has asked
/// for them. No lock is held.
fn reserve<M: Machine, T>(cx: &Cx<'_, M>, count: usize) -> Result<Vec<T>, Errno> {
    let mut list = Vec::new();
    if list.try_reserve_exact(count).is_err() {
        crate::mm::growth::refill(cx.cpu);
        list.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    }
    Ok(list)
}

/// Says what came of it.
fn outcome<M: Machine>(hv: &'static Hypervisor<M>, order: &Order) -> Result<(), Stop> {
    let revision = order.patch.revision;
    match (order.began, order.failed) {
        (None, _) => Err(Errno::EBUSY.into()),
        (Some(true), 0) => {
            let count = order.loaded;
            crate::log_always!(hv, "Microcode: revision {revision:#x} on {count} CPUs");
            Ok(())
        }
        (Some(_), failed) => {
            let count = order.loaded;
            crate::log_error!(
                hv,
                "Microcode: revision {revision:#x} on {count} CPUs, refused by {failed}"
            );
            Err(Errno::EIO.into())
        }
    }
}

/// The lowest CPU of the same core: bits of APIC ids number the threads of a core.
fn first_of_core<M: Machine>(hv: &Hypervisor<M>, cpu: CpuId) -> CpuId {
    let threads = hv.host.threads_per_core.max(1).next_power_of_two();
    let core = |cpu| hv.machine.cpu_ids(cpu).0 / threads;
    let own = core(cpu);
    hv.machine
        .cpus()
        .iter()
        .find(|other| core(*other) == own)
        .unwrap_or(cpu)
}

/// What each CPU does at the meeting.
fn part<M: Machine>(cpu: &PerCpu<M>) {
    let hv = cpu.hv;
    let Some(patch) = with_order(hv, |order| Arc::clone(&order.patch)) else {
        return;
    };
    let leads = hv.machine.cpus().iter().next() == Some(cpu.id);
    if !leads && wait(hv, |order| order.began) != Some(true) {
        return;
    }
    if first_of_core(hv, cpu.id) == cpu.id {
        let loaded = load(cpu, &patch);
        with_order(hv, |order| {
            order.count(loaded);
            order.cores = order.cores.saturating_sub(1);
            order.began.get_or_insert(loaded);
        });
        return;
    }
    wait(hv, |order| (order.cores == 0).then_some(()));
    let loaded = match patch.vendor {
        Vendor::Intel => revision(cpu, &patch) == patch.revision,
        Vendor::Amd => load(cpu, &patch),
    };
    with_order(hv, |order| order.count(loaded));
}

fn with_order<M: Machine, T>(hv: &Hypervisor<M>, act: impl FnOnce(&mut Order) -> T) -> Option<T> {
    hv.microcode.0.lock().as_mut().map(act)
}

/// Waits for what another CPU is doing: a matter of milliseconds. The order stays as long as the meeting.
fn wait<M: Machine, T>(hv: &Hypervisor<M>, look: impl Fn(&Order) -> Option<T>) -> Option<T> {
    loop {
        if let Some(found) = with_order(hv, |order| look(order))? {
            return Some(found);
        }
        hv.machine.relax();
    }
}

fn revision<M: Machine>(cpu: &PerCpu<M>, patch: &Patch) -> u32 {
    cpu.hv.machine.microcode_revision(patch.vendor)
}

/// Loads it on this CPU; whether the processor has taken it.
fn load<M: Machine>(cpu: &PerCpu<M>, patch: &Patch) -> bool {
    let bytes = patch.chunks.as_slice().as_bytes();
    cpu.hv.machine.load_microcode(patch.vendor, bytes);
    revision(cpu, patch) == patch.revision
}
