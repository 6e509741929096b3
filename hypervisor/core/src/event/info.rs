//! `vcpu_info`: where each vCPU's lies, and its two event bytes.
//!
//! The structure starts in the domain's `shared_info` page (vCPUs 0 to 31) and may be moved once
//! by the guest to a page of its own (`VCPUOP_register_vcpu_info`), on which the hypervisor then
//! holds a reference and the writable type. Whoever writes on behalf of another vCPU holds the
//! domain's event lock, and the location is only given up under it.

use oxen_abi::errno::Errno;
use oxen_abi::vcpu::RegisterVcpuInfo;
use oxen_abi::xen::{VcpuInfo, XEN_LEGACY_MAX_VCPUS};

use crate::event::hold::{hold_writable, let_go};
use crate::event::poll::Polled;
use crate::machine::Machine;
use crate::mm::MmError;
use crate::percpu::{Cx, PerCpu};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::types::{Mfn, PAGE_SHIFT, PAGE_SIZE};
use crate::vcpu::{Paused, Vcpu};

/// The bytes of `evtchn_upcall_pending` and `evtchn_upcall_mask` as they lie in the first word.
const PENDING: u64 = 0xff;
const MASKED: u64 = 0xff00;
const SET_PENDING: u64 = 1;
const MASK_BYTE: usize = 1;

const SIZE: u64 = size_of::<VcpuInfo>() as u64;
const WORDS: usize = size_of::<VcpuInfo>() / 8;
const SELECTOR: usize = core::mem::offset_of!(VcpuInfo, evtchn_pending_sel) / 8;
const CR2: usize = core::mem::offset_of!(VcpuInfo, arch) / 8;

/// No location of its own.
const NOWHERE: u64 = u64::MAX;

/// What a vCPU has of its own for events.
#[derive(Debug)]
pub struct VcpuEvents {
    /// Machine address of a moved `vcpu_info`, or [`NOWHERE`].
    location: AtomicU64,
    /// The port that each VIRQ of this vCPU is bound to; 0 = none. Written under the domain's
    /// event lock.
    pub(crate) virqs: [AtomicU32; NR_VIRQS],
    /// What `SCHEDOP_poll` waits for.
    pub(super) polled: Polled,
}

pub(crate) const NR_VIRQS: usize = oxen_abi::xen::NR_VIRQS as usize;

impl Default for VcpuEvents {
    fn default() -> Self {
        Self {
            location: AtomicU64::new(NOWHERE),
            virqs: core::array::from_fn(|_| AtomicU32::new(0)),
            polled: Polled::default(),
        }
    }
}

/// The eight words of a `vcpu_info` that the guest shares. The guest may write them at any time.
#[derive(Clone, Copy)]
pub struct InfoWords(&'static [AtomicU64; WORDS]);

impl InfoWords {
    /// The words at a byte offset of a frame; `None` if that is not all in one frame of RAM.
    fn at<M: Machine>(machine: &M, mfn: Mfn, offset: u64) -> Option<Self> {
        let first = usize::try_from(offset / 8).ok()?;
        machine.page(mfn)?.get(first..)?.first_chunk().map(Self)
    }

    /// Those of a model.
    #[cfg(loom)]
    pub(super) const fn of(words: &'static [AtomicU64; WORDS]) -> Self {
        Self(words)
    }

    /// A guest in a model does what its interrupt handler begins with: it writes 0 to `evtchn_upcall_pending`.
    #[cfg(loom)]
    pub(super) fn guest_accepts(self) {
        self.0[0].fetch_and(!PENDING, Ordering::AcqRel);
    }

    /// A guest in a model writes 1 to `evtchn_upcall_mask`, as the hypervisor does for it.
    #[cfg(loom)]
    pub(super) fn guest_masks(self) {
        self.0[0].fetch_or(1 << (8 * MASK_BYTE), Ordering::Release);
    }

    /// Its handler takes what `evtchn_pending_sel` says.
    #[cfg(loom)]
    pub(super) fn guest_takes_selector(self) -> u64 {
        self.0[SELECTOR].swap(0, Ordering::SeqCst)
    }

    /// Whether there is something for it to take.
    #[cfg(loom)]
    pub(super) fn selected(self) -> bool {
        self.0[SELECTOR].load(Ordering::Acquire) != 0
    }

    /// Whether an upcall is pending.
    pub fn pending(self) -> bool {
        self.0[0].load(Ordering::Acquire) & PENDING != 0
    }

    /// Whether upcalls are masked.
    pub fn masked(self) -> bool {
        self.0[0].load(Ordering::Acquire) & MASKED != 0
    }

    /// Whether an upcall is pending and not masked.
    pub fn ready(self) -> bool {
        let word = self.0[0].load(Ordering::Acquire);
        word & PENDING != 0 && word & MASKED == 0
    }

    /// Masks or unmasks upcalls. Another CPU may see it late: whoever raises an upcall therefore kicks the vCPU's CPU
    /// whether it is masked or not.
    pub fn set_masked<M: Machine>(self, machine: &M, masked: bool) {
        machine.store_byte(&self.0[0], MASK_BYTE, u8::from(masked));
    }

    /// Makes an upcall pending; returns whether none was.
    pub(crate) fn raise(self) -> bool {
        self.0[0].fetch_or(SET_PENDING, Ordering::AcqRel) & PENDING == 0
    }

    /// Sets a bit of `evtchn_pending_sel`; returns whether it was clear.
    pub(crate) fn select(self, bit: u32) -> bool {
        let bit = 1u64 << (bit % 64);
        self.0[SELECTOR].fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Sets `arch.cr2`, the address of a page fault.
    pub fn set_cr2(self, addr: u64) {
        self.0[CR2].store(addr, Ordering::Release);
    }

    /// Reads `arch.cr2`.
    pub fn cr2(self) -> u64 {
        self.0[CR2].load(Ordering::Acquire)
    }

    /// All the words; `time` is the last four of them.
    pub fn words(self) -> &'static [AtomicU64; WORDS] {
        self.0
    }
}

/// The frame of the `vcpu_info` that a vCPU has registered; `None` while it is in the shared page.
pub fn info_frame<M: Machine>(vcpu: &Vcpu<M>) -> Option<Mfn> {
    let location = vcpu.events.location.load(Ordering::Acquire);
    (location != NOWHERE).then(|| Mfn::containing(location))
}

/// A vCPU's `vcpu_info`; `None` for vCPUs past the 32nd that have not registered one, and for
/// domains without shared information.
pub fn info<M: Machine>(machine: &M, vcpu: &Vcpu<M>) -> Option<InfoWords> {
    let location = vcpu.events.location.load(Ordering::Acquire);
    let (mfn, offset) = if location != NOWHERE {
        (Mfn::containing(location), location % PAGE_SIZE)
    } else if vcpu.id.index() < XEN_LEGACY_MAX_VCPUS {
        (
            *vcpu.domain.memory.shared_info.get()?,
            u64::from(vcpu.id.0) * SIZE,
        )
    } else {
        return None;
    };
    InfoWords::at(machine, mfn, offset)
}

/// The `vcpu_info` of the vCPU that runs here.
pub fn current_info<M: Machine>(cx: &Cx<'_, M>) -> Option<InfoWords> {
    cx.cpu.info.get().or_else(|| info(cx.machine(), cx.vcpu))
}

/// Whether the vCPU has a `vcpu_info` at all, without which it must not be brought up.
pub fn has_info<M: Machine>(machine: &M, vcpu: &Vcpu<M>) -> bool {
    info(machine, vcpu).is_some()
}

/// Whether an upcall is to be delivered now: pending and not masked.
pub fn upcall_ready<M: Machine>(machine: &M, vcpu: &Vcpu<M>) -> bool {
    info(machine, vcpu).is_some_and(InfoWords::ready)
}

/// Whether an upcall is pending, masked or not.
pub fn has_pending<M: Machine>(machine: &M, vcpu: &Vcpu<M>) -> bool {
    info(machine, vcpu).is_some_and(InfoWords::pending)
}

/// The upcall mask: the vCPU's virtual interrupt flag, inverted.
pub fn upcall_mask<M: Machine>(machine: &M, vcpu: &Vcpu<M>) -> bool {
    info(machine, vcpu).is_some_and(InfoWords::masked)
}

/// Sets the upcall mask.
pub fn set_upcall_mask<M: Machine>(machine: &M, vcpu: &Vcpu<M>, masked: bool) {
    if let Some(info) = info(machine, vcpu) {
        info.set_masked(machine, masked);
    }
}

/// `VCPUOP_register_vcpu_info`: moves a vCPU's `vcpu_info` to a page of the guest's. It can be
/// done once, by the vCPU itself or for one that is down. Afterwards everything is marked pending
/// so that no event is lost on the way.
pub fn register<M: Machine>(
    cx: &Cx<'_, M>,
    vcpu: &Vcpu<M>,
    arg: &RegisterVcpuInfo,
) -> Result<(), MmError> {
    let machine = cx.machine();
    let offset = u64::from(arg.offset);
    let itself = core::ptr::eq(vcpu, &**cx.vcpu);
    let down = vcpu.paused.load(Ordering::Acquire) & Paused::DOWN.bits() != 0;
    if offset > PAGE_SIZE - SIZE {
        return Err(Errno::ENXIO.into());
    }
    if !offset.is_multiple_of(8) || !(itself || down) {
        return Err(Errno::EINVAL.into());
    }
    let mfn = Mfn(arg.mfn);
    hold_writable(cx.cpu, cx.domain(), mfn)?;
    let moved = {
        let mut state = cx.domain().events.lock();
        let moved = move_to(machine, vcpu, mfn, arg.offset);
        state.targets.moved(machine, vcpu);
        moved
    };
    if moved.is_err() {
        let_go(cx.cpu, mfn);
    } else if itself {
        cx.cpu.info.set(info(machine, vcpu));
    }
    moved.map_err(MmError::from)
}

fn move_to<M: Machine>(machine: &M, vcpu: &Vcpu<M>, mfn: Mfn, offset: u32) -> Result<(), Errno> {
    if vcpu.events.location.load(Ordering::Acquire) != NOWHERE {
        return Err(Errno::EINVAL);
    }
    let words = InfoWords::at(machine, mfn, u64::from(offset)).ok_or(Errno::EINVAL)?;
    if let Some(old) = info(machine, vcpu) {
        for (to, from) in words.0.iter().zip(old.0) {
            to.store(from.load(Ordering::Acquire), Ordering::Release);
        }
    } else {
        words
            .0
            .iter()
            .for_each(|word| word.store(0, Ordering::Release));
        words.set_masked(machine, true);
    }
    vcpu.events
        .location
        .store((mfn.0 << PAGE_SHIFT) | u64::from(offset), Ordering::Release);
    words.0[SELECTOR].store(u64::MAX, Ordering::Release);
    words.raise();
    Ok(())
}

/// Gives a moved `vcpu_info` up, when the domain dies or the vCPU is reset. The caller does not
/// hold the domain's event lock.
pub fn release<M: Machine>(cpu: &PerCpu<M>, vcpu: &Vcpu<M>) {
    let location = {
        let mut state = vcpu.domain.events.lock();
        let location = vcpu.events.location.swap(NOWHERE, Ordering::AcqRel);
        state.targets.moved(&cpu.hv.machine, vcpu);
        location
    };
    if location != NOWHERE {
        let_go(cpu, Mfn::containing(location));
    }
}
