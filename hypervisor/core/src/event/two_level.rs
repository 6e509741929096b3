//! The 2-level ABI: a pending and a mask bit for each port in `shared_info`, and in each
//! `vcpu_info` one bit for each 64 ports that have news. 4096 ports, no order among them.

use oxen_abi::xen::SharedInfo;

use crate::domain::Domain;
use crate::event::Outcome;
use crate::event::info;
use crate::machine::Machine;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Port, VcpuId};

/// First words of the two bit arrays in the shared page.
const PENDING: usize = core::mem::offset_of!(SharedInfo, evtchn_pending) / 8;
const MASK: usize = core::mem::offset_of!(SharedInfo, evtchn_mask) / 8;
/// Words of each.
const WORDS: usize = 64;

/// The word of one of the arrays that has a port's bit, and the bit.
fn bit<M: Machine>(
    machine: &M,
    domain: &Domain<M>,
    array: usize,
    port: Port,
) -> Option<(&'static AtomicU64, u64)> {
    let word = port.0 as usize / 64;
    if word >= WORDS {
        return None;
    }
    let page = machine.page(*domain.memory.shared_info.get()?)?;
    Some((page.get(array + word)?, 1 << (port.0 % 64)))
}

/// Makes a port pending and tells the vCPU, unless the guest has masked it.
pub(super) fn set_pending<M: Machine>(
    machine: &M,
    domain: &Domain<M>,
    port: Port,
    vcpu: VcpuId,
) -> Outcome {
    let shared = domain.memory.shared_info.get();
    let (index, bit) = (port.0 as usize / 64, 1 << (port.0 % 64));
    let Some(page) = shared.and_then(|mfn| machine.page(*mfn)) else {
        return Outcome::Nothing;
    };
    let (Some(pending), Some(mask), true) = (
        page.get(PENDING + index),
        page.get(MASK + index),
        index < WORDS,
    ) else {
        return Outcome::Nothing;
    };
    if pending.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
        return Outcome::Nothing;
    }
    if mask.load(Ordering::Acquire) & bit != 0 {
        return Outcome::Pending;
    }
    announce(machine, domain, port, vcpu)
}

/// Clears a port's mask bit and announces what is pending on it.
pub(super) fn unmask<M: Machine>(
    machine: &M,
    domain: &Domain<M>,
    port: Port,
    vcpu: VcpuId,
) -> Outcome {
    let Some((word, bit)) = bit(machine, domain, MASK, port) else {
        return Outcome::Nothing;
    };
    let was_masked = word.fetch_and(!bit, Ordering::AcqRel) & bit != 0;
    if was_masked && is_pending(machine, domain, port) {
        announce(machine, domain, port, vcpu)
    } else {
        Outcome::Nothing
    }
}

fn announce<M: Machine>(machine: &M, domain: &Domain<M>, port: Port, vcpu: VcpuId) -> Outcome {
    let vcpus = domain.vcpus.read();
    let raised = vcpus
        .get(vcpu.index())
        .and_then(|vcpu| info::info(machine, vcpu))
        .is_some_and(|info| info.select(port.0 / 64) && info.raise());
    if raised {
        Outcome::Raised
    } else {
        Outcome::Pending
    }
}

/// Takes a port's event back, when it is closed.
pub(super) fn clear_pending<M: Machine>(machine: &M, domain: &Domain<M>, port: Port) {
    if let Some((word, bit)) = bit(machine, domain, PENDING, port) {
        word.fetch_and(!bit, Ordering::AcqRel);
    }
}

/// Whether a port is pending.
pub(super) fn is_pending<M: Machine>(machine: &M, domain: &Domain<M>, port: Port) -> bool {
    bit(machine, domain, PENDING, port)
        .is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
}
