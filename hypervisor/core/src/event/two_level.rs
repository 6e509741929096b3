//! The 2-level ABI: a pending and a mask bit for each port in `shared_info`, and in each
//! `vcpu_info` one bit for each 64 ports that have news. 4096 ports, no order among them.

use oxen_abi::xen::SharedInfo;

use crate::event::Outcome;
use crate::event::info::InfoWords;
use crate::event::targets::Targets;
use crate::machine::Machine;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Port, VcpuId};

/// First words of the two bit arrays in the shared page.
const PENDING: usize = core::mem::offset_of!(SharedInfo, evtchn_pending) / 8;
const MASK: usize = core::mem::offset_of!(SharedInfo, evtchn_mask) / 8;
/// Words of each.
const WORDS: usize = 64;

/// A port's bit in its words.
pub(super) struct Bits {
    pub(super) pending: &'static AtomicU64,
    pub(super) mask: &'static AtomicU64,
    pub(super) bit: u64,
}

impl Bits {
    #[inline]
    fn of<M: Machine>(targets: &Targets<M>, port: Port) -> Option<Self> {
        let word = port.0 as usize / 64;
        if word >= WORDS {
            return None;
        }
        let page = targets.shared()?;
        Some(Self {
            pending: page.get(PENDING + word)?,
            mask: page.get(MASK + word)?,
            bit: 1 << (port.0 % 64),
        })
    }

    /// Sets the pending bit; `announce` tells the vCPU if the bit is new and the port not masked. The guest clears the mask
    /// and then looks for what is pending, so that one of the two sees the other.
    #[inline]
    pub(super) fn set(&self, announce: impl FnOnce() -> Outcome) -> Outcome {
        if self.pending.fetch_or(self.bit, Ordering::SeqCst) & self.bit != 0 {
            Outcome::Nothing
        } else if self.mask.load(Ordering::SeqCst) & self.bit != 0 {
            Outcome::Pending
        } else {
            announce()
        }
    }

    /// Clears the mask bit; `announce` tells the vCPU of what is pending.
    #[inline]
    pub(super) fn unmask(&self, announce: impl FnOnce() -> Outcome) -> Outcome {
        let was_masked = self.mask.fetch_and(!self.bit, Ordering::SeqCst) & self.bit != 0;
        if was_masked && self.pending.load(Ordering::SeqCst) & self.bit != 0 {
            announce()
        } else {
            Outcome::Nothing
        }
    }
}

/// Makes a port pending and tells the vCPU, unless the guest has masked it.
#[inline]
pub(super) fn set_pending<M: Machine>(targets: &Targets<M>, port: Port, vcpu: VcpuId) -> Outcome {
    match Bits::of(targets, port) {
        Some(bits) => bits.set(|| announce(targets.info(vcpu), port)),
        None => Outcome::Nothing,
    }
}

/// Clears a port's mask bit and announces what is pending on it.
pub(super) fn unmask<M: Machine>(targets: &Targets<M>, port: Port, vcpu: VcpuId) -> Outcome {
    match Bits::of(targets, port) {
        Some(bits) => bits.unmask(|| announce(targets.info(vcpu), port)),
        None => Outcome::Nothing,
    }
}

/// Tells a vCPU, by its `vcpu_info`, of a port's event.
#[inline]
pub(super) fn announce(info: Option<InfoWords>, port: Port) -> Outcome {
    let raised = info.is_some_and(|info| info.select(port.0 / 64) && info.raise());
    if raised {
        Outcome::Raised
    } else {
        Outcome::Pending
    }
}

/// Takes a port's event back, when it is closed.
pub(super) fn clear_pending<M: Machine>(targets: &Targets<M>, port: Port) {
    if let Some(bits) = Bits::of(targets, port) {
        bits.pending.fetch_and(!bits.bit, Ordering::AcqRel);
    }
}

/// Whether a port is pending.
pub(super) fn is_pending<M: Machine>(targets: &Targets<M>, port: Port) -> bool {
    Bits::of(targets, port).is_some_and(|bits| bits.pending.load(Ordering::Acquire) & bits.bit != 0)
}
