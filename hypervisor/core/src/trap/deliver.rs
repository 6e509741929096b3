//! What a guest is told of on its way back in: NMIs and events.

use oxen_abi::arch_x86::CpuUserRegs;

use super::bounce::{Target, bounce};
use super::state::{Callback, CallbackKind};
use crate::error::Stop;
use crate::event;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

/// Enters the NMI or the event callback, if one is due.
pub fn deliver_pending<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) -> Result<(), Stop> {
    if cx.vcpu.nmi_pending.load(Ordering::Relaxed) && deliver_nmi(cx, regs)? {
        return Ok(());
    }
    if !event::current_info(cx).is_some_and(event::InfoWords::ready) {
        return Ok(());
    }
    let callback = cx.vcpu.arch.lock().traps.callback(CallbackKind::Event);
    if callback.address == 0 {
        // It has not said yet where it wants to hear of events.
        return Ok(());
    }
    bounce(
        cx,
        regs,
        &Target {
            masks: true,
            ..target(callback)
        },
    )
}

/// Enters the NMI callback unless the last NMI is still being handled. Returns whether it did.
fn deliver_nmi<M: Machine>(cx: &Cx<'_, M>, regs: &mut CpuUserRegs) -> Result<bool, Stop> {
    let callback = {
        let callback = cx.vcpu.arch.lock().traps.callback(CallbackKind::Nmi);
        if cx.vcpu.in_nmi.load(Ordering::Relaxed) {
            return Ok(false);
        }
        cx.vcpu
            .in_nmi
            .store(callback.address != 0, Ordering::Relaxed);
        callback
    };
    cx.vcpu.nmi_pending.store(false, Ordering::Relaxed);
    if callback.address == 0 {
        return Ok(false);
    }
    bounce(cx, regs, &target(callback))?;
    Ok(true)
}

/// A callback without error code.
pub(super) fn target(callback: Callback) -> Target {
    Target {
        address: callback.address,
        masks: callback.masks,
        error: None,
        segments: None,
    }
}
