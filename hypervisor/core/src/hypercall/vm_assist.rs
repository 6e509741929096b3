//! `vm_assist`.

use oxen_abi::errno::Errno;
use oxen_abi::xen::*;

use crate::error::HcResult;
use crate::machine::Machine;
use crate::percpu::Cx;
use crate::sync::atomic::Ordering;

/// The assists that a 64-bit PV guest can switch on.
pub const ALLOWED: u64 = 1 << VMASST_TYPE_4GB_SEGMENTS
    | 1 << VMASST_TYPE_4GB_SEGMENTS_NOTIFY
    | 1 << VMASST_TYPE_WRITABLE_PAGETABLES
    | 1 << VMASST_TYPE_PAE_EXTENDED_CR3
    | 1 << VMASST_TYPE_ARCHITECTURAL_IOPL
    | 1 << VMASST_TYPE_RUNSTATE_UPDATE_FLAG
    | 1 << VMASST_TYPE_M2P_STRICT;

/// `HYPERVISOR_vm_assist`: switches an assist on or off. Those of 32-bit kernels are accepted and
/// have no effect, as on Xen.
#[inline(never)]
pub(super) fn vm_assist<M: Machine>(cx: &Cx<'_, M>, command: u64, kind: u64) -> HcResult {
    let bit = u32::try_from(kind)
        .ok()
        .and_then(|kind| 1u64.checked_shl(kind))
        .filter(|bit| bit & ALLOWED != 0)
        .ok_or(Errno::EINVAL)?;
    let assists = &cx.domain().vm_assist;
    match u32::try_from(command) {
        Ok(VMASST_CMD_ENABLE) => assists.fetch_or(bit, Ordering::AcqRel),
        Ok(VMASST_CMD_DISABLE) => assists.fetch_and(!bit, Ordering::AcqRel),
        _ => return Err(Errno::ENOSYS.into()),
    };
    Ok(0)
}
