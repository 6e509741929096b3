//! The guest's clocks: `vcpu_time_info` (pvclock) and the wall clock in `shared_info`.

use oxen_abi::xen::{SharedInfo, VcpuTimeInfo};
use zerocopy::IntoBytes;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::vcpu::Vcpu;

const NS_PER_SEC: u64 = 1_000_000_000;
/// Index of `vcpu_time_info` in the eight words of `vcpu_info`.
const TIME_WORD: usize = core::mem::offset_of!(oxen_abi::xen::VcpuInfo, time) / 8;

/// The host's wall clock: Unix time at system time 0, in nanoseconds.
pub struct WallClock {
    at_boot: Mutex<u64>,
}

impl WallClock {
    /// A clock that stood at `seconds` (Unix time) at system time 0.
    pub fn new(seconds: u64) -> Self {
        Self {
            at_boot: Mutex::new(seconds.saturating_mul(NS_PER_SEC)),
        }
    }

    /// Sets it: Unix time `ns` at system time `system_time`.
    pub fn set(&self, ns: u64, system_time: u64) {
        *self.at_boot.lock() = ns.saturating_sub(system_time);
    }
}

/// Writes the wall clock into a domain's shared page.
pub fn update_wallclock<M: Machine>(hv: &Hypervisor<M>, domain: &Domain<M>) {
    let Some(mfn) = domain.memory.shared_info.get() else {
        return;
    };
    let Some(page) = hv.machine.page32(*mfn) else {
        return;
    };
    let word = |byte: usize| page.get(byte / 4);
    let (Some(version), Some(sec), Some(nsec), Some(high)) = (
        word(core::mem::offset_of!(SharedInfo, wc_version)),
        word(core::mem::offset_of!(SharedInfo, wc_sec)),
        word(core::mem::offset_of!(SharedInfo, wc_nsec)),
        word(core::mem::offset_of!(SharedInfo, wc_sec_hi)),
    ) else {
        return;
    };
    // Held while the words are written: of two that write at once some of both would stay.
    let at_boot = hv.wallclock.at_boot.lock();
    let offset = domain.state.lock().time_offset;
    let wall = WallWords {
        version,
        rest: [sec, nsec, high],
    };
    wall.write(
        (*at_boot / NS_PER_SEC).saturating_add_signed(offset),
        *at_boot % NS_PER_SEC,
    );
}

/// The words of the wall clock in a shared page.
#[derive(Clone, Copy)]
pub(super) struct WallWords<'a> {
    /// Odd while the others change.
    pub(super) version: &'a AtomicU32,
    /// Seconds, nanoseconds, and the upper half of the seconds.
    pub(super) rest: [&'a AtomicU32; 3],
}

impl WallWords<'_> {
    /// Writes them; no other CPU does at the time.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "halves are taken apart on purpose"
    )]
    pub(super) fn write(self, seconds: u64, nanoseconds: u64) {
        let odd = self.version.load(Ordering::Relaxed) | 1;
        self.version.store(odd, Ordering::SeqCst);
        let new = [seconds as u32, nanoseconds as u32, (seconds >> 32) as u32];
        for (word, new) in self.rest.into_iter().zip(new) {
            word.store(new, Ordering::SeqCst);
        }
        self.version.store(odd.wrapping_add(1), Ordering::SeqCst);
    }
}

/// The four words of a `vcpu_time_info` with this version.
fn words(info: &VcpuTimeInfo, version: u32) -> [u64; 4] {
    let mut words = [0; 4];
    let info = VcpuTimeInfo { version, ..*info };
    for (word, bytes) in words.iter_mut().zip(info.as_bytes().chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap_or([0; 8]));
    }
    words
}

/// Gives a vCPU that is about to run on this CPU the CPU's clock parameters, in its `vcpu_info`
/// and in the area it has registered (its address space is loaded). Nothing is written while the
/// parameters stay the same. `force` writes anyway (after the place has moved).
pub fn publish<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu<M>, force: bool) {
    let info = hv.machine.time_info();
    let plain = words(&info, 0);
    let same = |(word, new): (&AtomicU64, &u64)| word.load(Ordering::Relaxed) == *new;
    if !force && vcpu.time.published.iter().zip(&plain).all(same) {
        return;
    }
    for (word, new) in vcpu.time.published.iter().zip(plain) {
        word.store(new, Ordering::Relaxed);
    }
    if let Some(place) = crate::event::info(&hv.machine, vcpu)
        && let Some(place) = place.words().get(TIME_WORD..)
    {
        write_time(place, &info);
    }
    publish_area(hv, vcpu, &info);
}

/// Writes a `vcpu_time_info`, whose version is odd while the rest changes. Only the CPU that runs its vCPU writes it.
pub(super) fn write_time(place: &[AtomicU64], info: &VcpuTimeInfo) {
    let Some(first) = place.first() else {
        return;
    };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the version is the low half"
    )]
    let version = first.load(Ordering::Relaxed) as u32 | 1;
    first.store(u64::from(version), Ordering::Relaxed);
    fence(Ordering::Release);
    let new = words(info, version.wrapping_add(1));
    for (to, from) in place.iter().zip(new).skip(1) {
        to.store(from, Ordering::Relaxed);
    }
    first.store(new[0], Ordering::Release);
}

/// The running vCPU is in kernel mode again: writes the areas that could not be written before.
#[inline(never)]
pub fn refresh<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu<M>) {
    vcpu.time.stale.store(false, Ordering::Relaxed);
    crate::time::runstate::write_runstate_area(&hv.machine, vcpu);
    publish_area(hv, vcpu, &hv.machine.time_info());
}

/// What was published to a vCPU is to be published again when it runs next.
pub fn unpublish<M: Machine>(vcpu: &Vcpu<M>) {
    // No machine's TSC parameters look like this.
    for word in &vcpu.time.published {
        word.store(0, Ordering::Relaxed);
    }
}

/// The second copy, at a guest-virtual address, for the vDSO.
fn publish_area<M: Machine>(hv: &Hypervisor<M>, vcpu: &Vcpu<M>, info: &VcpuTimeInfo) {
    let addr = vcpu.time.time_area.load(Ordering::Acquire);
    if addr == 0 {
        return;
    }
    if !vcpu.kernel_mode.load(Ordering::Relaxed) {
        vcpu.time.stale.store(true, Ordering::Relaxed);
        return;
    }
    let machine = &hv.machine;
    let mut version = [0; 4];
    if machine.copy_from_guest(addr, &mut version).is_err() {
        return;
    }
    let odd = u32::from_le_bytes(version) | 1;
    let even = VcpuTimeInfo {
        version: odd.wrapping_add(1),
        ..*info
    };
    // A guest that has unmapped its area does without.
    let _ = machine
        .copy_to_guest(addr, &odd.to_le_bytes())
        .and_then(|()| machine.copy_to_guest(addr + 4, even.as_bytes().get(4..).unwrap_or(&[])))
        .and_then(|()| machine.copy_to_guest(addr, &even.version.to_le_bytes()));
}
